//! Does every stored byte verify? Walks all records and holds them against everything they claim.
//!
//! Reads only: what to do about a finding is the caller's decision. Invariant: the walk never stops at damage
//! in a zip, only at damage that hides records from it.

use std::ops::ControlFlow;

use bytes::Bytes;
use gomod::ModuleVersion;
use gomod::dirhash::go_mod_h1;
use sha2::{Digest as _, Sha256};

use super::commit::decode_blob;
use super::error::StoreError;
use super::types::{BlobId, Scope, VersionRecord, ZipManifest};
use super::{Inner, Store, go_on, keys};

/// Records read at once.
const PAGE_RECORDS: usize = 256;
/// Chunk keys read at once.
const PAGE_CHUNKS: usize = 1024;

/// One thing that does not verify.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The version it concerns.
    pub version: ModuleVersion,
    /// Whether dropping the zip suffices, or the record itself is wrong.
    pub scope: Scope,
    /// What was found, for people.
    pub detail: String,
}

/// What a scrub went through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScrubReport {
    /// Records looked at.
    pub records: u64,
    /// Zips read through.
    pub zips: u64,
    /// Bytes read of zips.
    pub bytes: u64,
    /// Findings reported.
    pub findings: u64,
}

/// What was found of a zip.
enum ZipState {
    Good,
    Bad(String),
    /// The walk was to end.
    Stopped,
}

/// What is stored to no purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Orphans {
    /// Chunks that neither a version nor a marker accounts for.
    pub chunks: u64,
    /// Blob manifests that no version refers to.
    pub manifests: u64,
}

impl Store {
    /// Verifies everything. `pace` is called with how far it is before each read of a chunk, and may sleep; when it breaks, the walk
    /// ends there. `on_finding` is called for each thing that is wrong. A version that is removed meanwhile is no finding.
    pub fn scrub(
        &self,
        pace: &mut dyn FnMut(&ScrubReport) -> ControlFlow<()>,
        on_finding: &mut dyn FnMut(Finding),
    ) -> Result<ScrubReport, StoreError> {
        let mut report = ScrubReport::default();
        let mut after: Option<ModuleVersion> = None;
        loop {
            let mut page = Vec::with_capacity(PAGE_RECORDS);
            self.see_records_after(after.as_ref(), PAGE_RECORDS, |mv, record| {
                page.push((mv, record));
                true
            })?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            for (mv, record) in page {
                report.records += 1;
                let found = match record {
                    Ok(record) => self.check(&mv, &record, pace, &mut report)?,
                    // What it named cannot be told any more.
                    Err(error) => Some(vec![(Scope::Record, error.to_string())]),
                };
                let Some(found) = found else { return Ok(report) };
                for (scope, detail) in found {
                    report.findings += 1;
                    on_finding(Finding { version: mv.clone(), scope, detail });
                }
            }
        }
        if report.findings == 0 {
            self.inner.heat.all_verifies();
        }
        Ok(report)
    }

    /// Verifies what is held of one version; nothing if nothing is. Gives back what is wrong, and the bytes read.
    pub fn scrub_one(&self, mv: &ModuleVersion) -> Result<Option<(Vec<Finding>, u64)>, StoreError> {
        let mut report = ScrubReport::default();
        let found = match self.record(mv) {
            Ok(None) => return Ok(None),
            Ok(Some(record)) => self.check(mv, &record, &mut |_| ControlFlow::Continue(()), &mut report)?,
            Err(StoreError::Corrupt { detail, .. }) => Some(vec![(Scope::Record, detail)]),
            Err(error) => return Err(error),
        };
        let finding = |(scope, detail)| Finding { version: mv.clone(), scope, detail };
        Ok(Some((found.unwrap_or_default().into_iter().map(finding).collect(), report.bytes)))
    }

    /// Looks for what takes up space to no purpose; there should be nothing. Reads every chunk.
    pub fn orphans(&self) -> Result<Orphans, StoreError> {
        let (chunks, manifests) = (self.inner.orphan_chunks()?, self.inner.orphan_manifests()?);
        Ok(Orphans { chunks, manifests })
    }

    fn check(
        &self,
        mv: &ModuleVersion,
        record: &VersionRecord,
        pace: &mut dyn FnMut(&ScrubReport) -> ControlFlow<()>,
        report: &mut ScrubReport,
    ) -> Result<Option<Vec<(Scope, String)>>, StoreError> {
        let mut found = Vec::new();
        let go_mod = record.go_mod.as_ref().map(|go_mod| go_mod_h1(go_mod));
        if go_mod.is_some() && go_mod != record.go_mod_h1 {
            found.push((Scope::Record, "go.mod does not have the hash it is bound to".to_owned()));
        }
        if record.held_us.is_none() && record.zip.is_some() {
            found.push((Scope::Record, "a held zip is not in the index feed".to_owned()));
        }
        if let Some(held_us) = record.held_us {
            let entry = self.inner.rocks.get("index feed", &keys::index(held_us))?;
            if entry.as_deref() != Some(&keys::version_text(mv)) && self.still(mv, record)? {
                found.push((Scope::Record, "its entry in the index feed is missing".to_owned()));
            }
        }
        if let Some(zip) = &record.zip {
            match self.check_zip(mv, zip, pace, report)? {
                ZipState::Stopped => return Ok(None),
                ZipState::Bad(detail) if self.still(mv, record)? => found.push((Scope::Zip, detail)),
                ZipState::Bad(_) | ZipState::Good => {}
            }
        }
        Ok(Some(found))
    }

    /// Whether the version is still as it was read: else a finding may only be a removal.
    fn still(&self, mv: &ModuleVersion, record: &VersionRecord) -> Result<bool, StoreError> {
        let now = self.record(mv)?;
        Ok(now.is_some_and(|now| now.zip == record.zip && now.held_us == record.held_us))
    }

    fn check_zip(
        &self,
        mv: &ModuleVersion,
        zip: &ZipManifest,
        pace: &mut dyn FnMut(&ScrubReport) -> ControlFlow<()>,
        report: &mut ScrubReport,
    ) -> Result<ZipState, StoreError> {
        let bad = |detail: &str| Ok(ZipState::Bad(detail.to_owned()));
        if self.inner.rocks.get("back-reference", &keys::reference(zip.blob, mv))?.is_none() {
            return bad("its back-reference is missing");
        }
        let manifest = self.inner.rocks.get("blob manifest", &keys::blob(&zip.sha256))?;
        match manifest.map(|value| decode_blob(&value)).transpose()? {
            Some(manifest) if manifest.blob == zip.blob && manifest.size == zip.size => {}
            _ => return bad("its blob manifest is missing or another's"),
        }
        let Some(reader) = self.open_zip(mv)?.filter(|reader| reader.manifest() == zip) else {
            return bad("it was removed");
        };
        let mut sum = Sha256::new();
        for number in 0..zip.chunks() {
            if pace(report).is_break() {
                return Ok(ZipState::Stopped);
            }
            match reader.chunk(number) {
                Ok(chunk) => sum.update(&chunk),
                Err(StoreError::Corrupt { detail, .. }) => return Ok(ZipState::Bad(detail)),
                Err(error @ StoreError::NoChunk { .. }) => return Ok(ZipState::Bad(error.to_string())),
                Err(error) => return Err(error),
            }
            report.bytes += zip.chunk_len(number) as u64;
        }
        report.zips += 1;
        let matches = sum.finalize().as_slice() == zip.sha256;
        if matches { Ok(ZipState::Good) } else { bad("its bytes do not have its SHA-256") }
    }
}

impl Inner {
    /// Counts chunks whose blob has neither a back-reference nor a marker.
    fn orphan_chunks(&self) -> Result<u64, StoreError> {
        let mut orphans = 0;
        let mut start = Vec::new();
        loop {
            let mut chunks = Vec::with_capacity(PAGE_CHUNKS);
            let mut strange = 0;
            let mut last = Vec::new();
            self.rocks.scan_chunks(&start, |key| {
                last.clear();
                last.extend_from_slice(key);
                match keys::parse_chunk(key) {
                    Some(chunk) => chunks.push(chunk),
                    None => strange += 1,
                }
                go_on(chunks.len() < PAGE_CHUNKS)
            })?;
            orphans += strange;
            let full = chunks.len() == PAGE_CHUNKS;
            // The next page begins behind the last key.
            last.push(0);
            start = last;
            for page in chunks.chunk_by(|a, b| a.0 == b.0) {
                if let Some(&(blob, number)) = page.first()
                    && !self.accounted(blob, number)?
                {
                    orphans += page.len() as u64;
                }
            }
            if !full {
                return Ok(orphans);
            }
        }
    }

    fn accounted(&self, blob: BlobId, number: u32) -> Result<bool, StoreError> {
        let marker = self.rocks.get("blob marker", &keys::transient(blob))?;
        if marker.is_some() || !self.references(blob)?.is_empty() {
            return Ok(true);
        }
        // The scan saw the past: the blob may have been deleted since.
        Ok(self.rocks.chunk(keys::chunk(blob, number))?.is_none())
    }

    /// Counts blob manifests that no version refers to.
    fn orphan_manifests(&self) -> Result<u64, StoreError> {
        let mut orphans = 0;
        let mut start = keys::blobs();
        loop {
            let mut page = Vec::with_capacity(PAGE_RECORDS);
            self.rocks.scan("blob manifest", &keys::blobs(), &start, |key, value| {
                page.push((key.to_vec(), Bytes::copy_from_slice(value)));
                go_on(page.len() < PAGE_RECORDS)
            })?;
            let Some((last, _)) = page.last() else { return Ok(orphans) };
            start.clone_from(last);
            start.push(0);
            for (key, value) in page {
                let blob = decode_blob(&value)?.blob;
                // One that is gone by now was removed since it was scanned.
                let orphan =
                    self.references(blob)?.is_empty() && self.rocks.get("blob manifest", &key)?.is_some();
                orphans += u64::from(orphan);
            }
        }
    }
}

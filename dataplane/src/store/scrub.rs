//! Does every stored byte verify? Walks all records and holds them against everything they claim.
//!
//! Reads only: what to do about a finding is the caller's decision. Invariant: the walk never stops at damage
//! in a zip, only at damage that hides records from it.

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
    /// Bytes of these.
    pub bytes: u64,
    /// Findings reported.
    pub findings: u64,
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
    /// Verifies everything. `pace` is called with the number of bytes before each read of a chunk and may sleep;
    /// `on_finding` is called for each thing that is wrong. A version that is removed meanwhile is no finding.
    pub fn scrub(
        &self,
        pace: &mut dyn FnMut(u64),
        on_finding: &mut dyn FnMut(Finding),
    ) -> Result<ScrubReport, StoreError> {
        let mut report = ScrubReport::default();
        let mut after: Option<ModuleVersion> = None;
        loop {
            let page = self.records_after(after.as_ref(), PAGE_RECORDS)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            for (mv, record) in page {
                report.records += 1;
                for (scope, detail) in self.check(&mv, &record, pace, &mut report)? {
                    report.findings += 1;
                    on_finding(Finding { version: mv.clone(), scope, detail });
                }
            }
        }
        Ok(report)
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
        pace: &mut dyn FnMut(u64),
        report: &mut ScrubReport,
    ) -> Result<Vec<(Scope, String)>, StoreError> {
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
        if let Some(zip) = &record.zip
            && let Some(detail) = self.check_zip(mv, zip, pace, report)?
            && self.still(mv, record)?
        {
            found.push((Scope::Zip, detail));
        }
        Ok(found)
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
        pace: &mut dyn FnMut(u64),
        report: &mut ScrubReport,
    ) -> Result<Option<String>, StoreError> {
        if self.inner.rocks.get("back-reference", &keys::reference(zip.blob, mv))?.is_none() {
            return Ok(Some("its back-reference is missing".to_owned()));
        }
        let manifest = self.inner.rocks.get("blob manifest", &keys::blob(&zip.sha256))?;
        match manifest.map(|value| decode_blob(&value)).transpose()? {
            Some(manifest) if manifest.blob == zip.blob && manifest.size == zip.size => {}
            _ => return Ok(Some("its blob manifest is missing or another's".to_owned())),
        }
        let Some(reader) = self.open_zip(mv)?.filter(|reader| reader.manifest() == zip) else {
            return Ok(Some("it was removed".to_owned()));
        };
        let mut sum = Sha256::new();
        for number in 0..zip.chunks() {
            pace(zip.chunk_len(number) as u64);
            match reader.chunk(number) {
                Ok(chunk) => sum.update(&chunk),
                Err(StoreError::Corrupt { detail, .. }) => return Ok(Some(detail)),
                Err(error) => return Err(error),
            }
        }
        report.zips += 1;
        report.bytes += zip.size;
        let matches = sum.finalize().as_slice() == zip.sha256;
        Ok((!matches).then(|| "its bytes do not have its SHA-256".to_owned()))
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

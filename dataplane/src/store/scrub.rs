//! Does every stored byte verify? Walks all records and holds them against everything they claim.
//!
//! Reads only, but for the sum of records: what to do about a finding is the caller's decision. Invariant: the walk never stops at
//! damage. Where that hides records, it goes on behind it, and looks for them where else they are told of.

mod orphans;

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use bytes::Bytes;
use gomod::ModuleVersion;
use gomod::dirhash::go_mod_h1;
use sha2::{Digest as _, Sha256};

use super::commit::decode_blob;
use super::error::StoreError;
use super::types::{Scope, VersionRecord, ZipManifest};
use super::{Inner, Store, decode_record, go_on, keys};

pub use orphans::Orphans;

/// Records read at once.
const PAGE_RECORDS: usize = 256;

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
    /// Places where it cannot be read which records there are.
    pub hidden: u64,
}

/// A version, and what there is of it.
type Seen = (ModuleVersion, Result<VersionRecord, StoreError>);

/// What was found of a zip.
enum ZipState {
    Good,
    Bad(String),
    /// The walk was to end.
    Stopped,
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
        let mut unreadable = BTreeSet::new();
        let mut start = keys::records();
        loop {
            let page = self.inner.records_page(&mut start, &mut report)?;
            if page.is_empty() {
                break;
            }
            for (mv, record) in page {
                report.records += 1;
                let found = match record {
                    Ok(record) => self.check(&mv, &record, pace, &mut report)?,
                    // What it named cannot be told any more.
                    Err(error) => {
                        unreadable.insert(mv.clone());
                        Some(vec![(Scope::Record, error.to_string())])
                    }
                };
                let Some(found) = found else { return Ok(report) };
                for (scope, detail) in found {
                    report.findings += 1;
                    on_finding(Finding { version: mv.clone(), scope, detail });
                }
            }
        }
        if report.hidden > 0 {
            tracing::error!(
                places = report.hidden,
                "stored records cannot be read, nor which they are; those whose zip was held once are known all the same"
            );
            self.find_hidden(&unreadable, &mut report, on_finding)?;
        }
        if report.findings == 0 && report.hidden == 0 {
            self.inner.heat.all_verifies();
            if let Err(error) = self.inner.recount() {
                tracing::debug!(%error, "the records are counted anew after another walk");
            }
        }
        Ok(report)
    }

    /// Looks in the index feed for versions whose records the walk did not come by because they cannot be read.
    fn find_hidden(
        &self,
        known: &BTreeSet<ModuleVersion>,
        report: &mut ScrubReport,
        on_finding: &mut dyn FnMut(Finding),
    ) -> Result<(), StoreError> {
        let mut start = keys::indexes();
        loop {
            let mut page = Vec::with_capacity(PAGE_RECORDS);
            let mut last = None;
            self.inner.rocks.scan_past(
                "index feed",
                &keys::indexes(),
                &start,
                |key, value| {
                    page.extend(keys::parse_version_text(value));
                    last = Some(key.to_vec());
                    go_on(page.len() < PAGE_RECORDS)
                },
                |_| {},
            )?;
            for mv in page {
                if known.contains(&mv) {
                    continue;
                }
                match self.record(&mv) {
                    Err(StoreError::Corrupt { detail, .. }) => {
                        report.findings += 1;
                        on_finding(Finding { version: mv, scope: Scope::Record, detail });
                    }
                    other => drop(other?),
                }
            }
            let Some(last) = last else { return Ok(()) };
            start = behind(last);
        }
    }

    /// Verifies what is held of one version; nothing if nothing is. Gives back what is wrong, and the bytes read.
    pub fn scrub_one(&self, mv: &ModuleVersion) -> Result<Option<(Vec<Finding>, u64)>, StoreError> {
        let mut report = ScrubReport::default();
        let found = match self.record(mv) {
            Ok(None) => return Ok(None),
            Ok(Some(record)) if record.is_stub() => return Ok(None),
            Ok(Some(record)) => self.check(mv, &record, &mut |_| ControlFlow::Continue(()), &mut report)?,
            Err(StoreError::Corrupt { detail, .. }) => Some(vec![(Scope::Record, detail)]),
            Err(error) => return Err(error),
        };
        let finding = |(scope, detail)| Finding { version: mv.clone(), scope, detail };
        Ok(Some((found.unwrap_or_default().into_iter().map(finding).collect(), report.bytes)))
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
            match self.inner.rocks.get("index feed", &keys::index(held_us)) {
                Err(StoreError::Corrupt { detail, .. }) => found.push((Scope::Record, detail)),
                entry => {
                    let is_there = entry?.as_deref() == Some(&keys::version_text(mv));
                    if !is_there && self.still(mv, record)? {
                        found.push((Scope::Record, "its entry in the index feed is missing".to_owned()));
                    }
                }
            }
        }
        if let Some(zip) = &record.zip {
            let state = match self.check_zip(mv, zip, pace, report) {
                Err(StoreError::Corrupt { detail, .. }) => ZipState::Bad(detail),
                state => state?,
            };
            match state {
                ZipState::Stopped => return Ok(None),
                ZipState::Bad(detail) if self.still(mv, record)? => found.push((Scope::Zip, detail)),
                ZipState::Bad(_) | ZipState::Good => {}
            }
        }
        Ok(Some(found))
    }

    /// Whether the version is still as it was read: else a finding may only be a removal.
    fn still(&self, mv: &ModuleVersion, record: &VersionRecord) -> Result<bool, StoreError> {
        let now = match self.record(mv) {
            // Nobody has removed it.
            Err(StoreError::Corrupt { .. }) => return Ok(true),
            now => now?,
        };
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
    /// The records from `start` on, which moves behind them; none at the end.
    fn records_page(&self, start: &mut Vec<u8>, report: &mut ScrubReport) -> Result<Vec<Seen>, StoreError> {
        let mut page = Vec::with_capacity(PAGE_RECORDS);
        let mut last = None;
        self.rocks.scan_past(
            "version record",
            &keys::records(),
            start,
            |key, value| {
                if let Some(mv) = keys::parse_record(key) {
                    page.push((mv, decode_record(&Bytes::copy_from_slice(value))));
                }
                last = Some(key.to_vec());
                go_on(page.len() < PAGE_RECORDS)
            },
            |_| report.hidden += 1,
        )?;
        if let Some(last) = last {
            *start = behind(last);
        }
        Ok(page)
    }
}

/// The first key that may follow.
fn behind(mut key: Vec<u8>) -> Vec<u8> {
    key.push(0);
    key
}

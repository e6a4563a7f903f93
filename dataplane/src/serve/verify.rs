//! Is what is held of a version what it must be? Everything is read from the disk and hashed again, up to `h1:`, and held against
//! the hashes that the version is bound to and those of the checksum database.

use std::sync::Arc;

use gomod::zip::EntryDigests;
use gomod::{H1, ModuleVersion};

use super::checks::{Expected, Part};
use super::error::ServeError;
use super::proxy::{Proxy, forget};
use crate::store::{Finding, Scope, Store, StoreError, VersionRecord};

/// What the checksum database says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It lists these very hashes.
    Listed,
    /// It is not asked about the module.
    NotAsked,
    /// It lists other hashes, or none.
    Refused,
    /// It cannot be asked.
    Unavailable,
}

/// What was found of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// Bytes read.
    pub bytes: u64,
    /// What is wrong.
    pub problems: Vec<String>,
    /// What the checksum database says.
    pub verdict: Verdict,
}

impl Proxy {
    /// Verifies what is held of `version`; nothing if nothing is. What is bad is set aside.
    pub async fn verify(
        self: &Arc<Self>,
        version: &ModuleVersion,
    ) -> Result<Option<Verification>, ServeError> {
        let wanted = version.clone();
        let read = self.with_store("verify a version", move |store| read_all(store, &wanted)).await?;
        let Some(Read { record, findings, bytes }) = read else { return Ok(None) };
        let mut problems: Vec<String> = findings.iter().map(|finding| finding.detail.clone()).collect();
        let (verdict, said) = self.ask_database(version, &record).await;
        problems.extend(said);
        for finding in findings {
            self.take_out(finding).await?;
        }
        Ok(Some(Verification { bytes, problems, verdict }))
    }

    async fn take_out(&self, finding: Finding) -> Result<bool, ServeError> {
        let version = finding.version.clone();
        let taken =
            self.with_store("set damaged content aside", move |store| store.take_out(&finding)).await?;
        if taken {
            self.layers.metrics.damaged.inc();
            forget(&self.layers.memory, &version);
        }
        Ok(taken)
    }

    async fn ask_database(
        &self,
        version: &ModuleVersion,
        record: &VersionRecord,
    ) -> (Verdict, Option<String>) {
        if !self.layers.checks.asks_about(&version.module) {
            return (Verdict::NotAsked, None);
        }
        let expected = match self.layers.checks.expected(version).await {
            Ok(Expected::Anything) => return (Verdict::Unavailable, None),
            Ok(expected) => expected,
            Err(error @ ServeError::Refused { .. }) => return (Verdict::Refused, Some(error.to_string())),
            Err(_) => return (Verdict::Unavailable, None),
        };
        let check = |part, found: Option<H1>| found.and_then(|h1| expected.check(version, part, &h1).err());
        let refused = check(Part::Zip, record.zip_h1).or_else(|| check(Part::GoMod, record.go_mod_h1));
        match refused {
            Some(error) => (Verdict::Refused, Some(error.to_string())),
            None => (Verdict::Listed, None),
        }
    }
}

/// What was read of a version.
struct Read {
    record: VersionRecord,
    findings: Vec<Finding>,
    bytes: u64,
}

fn read_all(store: &Store, version: &ModuleVersion) -> Result<Option<Read>, StoreError> {
    let Some((mut findings, bytes)) = store.scrub_one(version)? else { return Ok(None) };
    let record = match store.record(version) {
        Err(StoreError::Corrupt { .. }) => None,
        record => record?,
    };
    if findings.is_empty()
        && let Some(reader) = store.open_zip(version)?
    {
        let detail = match gomod::zip::verify(&reader, version, &EntryDigests::default()) {
            Ok(summary) if summary.h1 == reader.manifest().h1 => None,
            Ok(summary) => Some(format!(
                "its zip has {}, not {}, which it is bound to",
                summary.h1,
                reader.manifest().h1
            )),
            Err(error) => Some(format!("its zip is not one of a module: {error}")),
        };
        let finding = |detail| Finding { version: version.clone(), scope: Scope::Zip, detail };
        findings.extend(detail.map(finding));
    }
    Ok(Some(Read { record: record.unwrap_or_default(), findings, bytes }))
}

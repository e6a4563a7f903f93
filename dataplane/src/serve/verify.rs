//! Is what is held of a version what it must be? Everything is read from the disk and hashed again, up to `h1:`, and held against
//! the hashes that the version is bound to and those of the checksum database.

use std::sync::Arc;

use gomod::ModuleVersion;
use gomod::zip::EntryDigests;

use super::error::ServeError;
use super::proxy::{Proxy, forget};
use crate::store::{Finding, Scope, Store, StoreError, Unvouched, Verified, VersionRecord};
use crate::sumdb::SumDbError;

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
    /// Whether any of its files is held; of what was evicted the hashes are known on.
    pub held: bool,
    /// Bytes read.
    pub bytes: u64,
    /// What is wrong.
    pub problems: Vec<String>,
    /// Whether what is wrong was set aside.
    pub set_aside: bool,
    /// What the checksum database says.
    pub verdict: Verdict,
}

/// What the checksum database says, and what follows.
struct Said {
    verdict: Verdict,
    /// Why it does not vouch for the version.
    problem: Option<String>,
    /// Whether the copy is to go for it.
    is_bad: bool,
}

impl Proxy {
    /// Verifies what is held of `version`; nothing if nothing is known of it. What is bad is set aside, if it can be fetched anew.
    pub async fn verify(
        self: &Arc<Self>,
        version: &ModuleVersion,
    ) -> Result<Option<Verification>, ServeError> {
        let wanted = version.clone();
        let read = self.with_store("verify a version", move |store| read_all(store, &wanted)).await?;
        let Some(Read { record, findings, bytes }) = read else { return Ok(None) };
        let held = !findings.is_empty() || holds_anything(&record);
        let mut problems: Vec<String> = findings.iter().map(|finding| finding.detail.clone()).collect();
        let mut set_aside = false;
        let mut told = |done: Result<bool, ServeError>, problems: &mut Vec<String>| match done {
            Ok(done) => set_aside |= done,
            Err(error) => problems.push(format!("it is not set aside: {error}")),
        };
        // At once: while the database is asked a good copy may come in its place.
        if let Some(finding) = as_one(findings) {
            told(self.take_out(finding).await, &mut problems);
        }
        let said = self.ask_database(version, &record).await;
        if let Some(detail) = said.problem {
            if said.is_bad {
                // With the hashes that it is bound to: what the database lists is other content.
                let (zip_h1, go_mod_h1) = (record.zip_h1, record.go_mod_h1);
                let bound = Unvouched { version: version.clone(), zip_h1, go_mod_h1 };
                told(self.disown(&bound, &detail).await, &mut problems);
            }
            problems.push(detail);
        }
        Ok(Some(Verification { held, bytes, problems, set_aside, verdict: said.verdict }))
    }

    /// Sets aside what was found, if it can be fetched anew; whether it was.
    pub(super) async fn take_out(&self, finding: Finding) -> Result<bool, ServeError> {
        let version = finding.version.clone();
        let taken =
            self.with_store("set damaged content aside", move |store| store.take_out(&finding)).await?;
        if taken {
            self.layers.metrics.damaged.inc();
            forget(&self.layers.memory, &version);
        }
        Ok(taken)
    }

    async fn ask_database(&self, version: &ModuleVersion, record: &VersionRecord) -> Said {
        let said = |verdict| Said { verdict, problem: None, is_bad: false };
        if !self.layers.checks.asks_about(&version.module) {
            return said(Verdict::NotAsked);
        }
        let expected = match self.layers.checks.listed(version).await {
            Ok(expected) => expected,
            Err(error @ SumDbError::NotFound { .. }) => {
                // The log forgets nothing. Where it vouched for the version before, whoever answers now is in the wrong.
                let is_bad = record.verified != Verified::ChecksumDatabase;
                return Said { verdict: Verdict::Refused, problem: Some(error.to_string()), is_bad };
            }
            Err(_) => return said(Verdict::Unavailable),
        };
        let (zip_h1, go_mod_h1) = (record.zip_h1, record.go_mod_h1);
        match expected.contradiction(&Unvouched { version: version.clone(), zip_h1, go_mod_h1 }) {
            Some(error) => Said { verdict: Verdict::Refused, problem: Some(error.to_string()), is_bad: true },
            None => said(Verdict::Listed),
        }
    }
}

fn holds_anything(record: &VersionRecord) -> bool {
    record.info.is_some() || record.go_mod.is_some() || record.zip.is_some()
}

/// All that is wrong with a version as one finding. What concerns its record concerns all of it.
fn as_one(findings: Vec<Finding>) -> Option<Finding> {
    findings.into_iter().reduce(|one, other| Finding {
        scope: if one.scope == Scope::Record { one.scope } else { other.scope },
        detail: format!("{}; {}", one.detail, other.detail),
        version: one.version,
    })
}

/// What was read of a version.
struct Read {
    record: VersionRecord,
    findings: Vec<Finding>,
    bytes: u64,
}

fn read_all(store: &Store, version: &ModuleVersion) -> Result<Option<Read>, StoreError> {
    let Some((found, bytes)) = store.scrub_one(version)? else { return Ok(None) };
    let mut findings = Vec::new();
    for finding in found {
        // What is only lost from the index feed is told there again.
        if !store.mend_feed(&finding)? {
            findings.push(finding);
        }
    }
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

#[cfg(test)]
mod tests {
    use gomod::{H1, ModulePath, Version};

    use super::*;

    #[test]
    fn what_is_wrong_with_a_record_takes_its_zip_along() {
        let module = ModulePath::parse("example.com/a").unwrap();
        let version = ModuleVersion { module, version: Version::parse("v1.0.0").unwrap() };
        let finding =
            |scope, detail: &str| Finding { version: version.clone(), scope, detail: detail.to_owned() };
        let (zip, record) = (finding(Scope::Zip, "one"), finding(Scope::Record, "two"));
        assert_eq!(as_one(Vec::new()), None);
        assert_eq!(as_one(vec![zip.clone()]), Some(zip.clone()));
        assert_eq!(as_one(vec![zip.clone(), record.clone()]), Some(finding(Scope::Record, "one; two")));
        assert_eq!(as_one(vec![record, zip]), Some(finding(Scope::Record, "two; one")));
    }

    #[test]
    fn what_was_evicted_is_not_held_though_its_hashes_are_known() {
        let known = VersionRecord { zip_h1: Some(H1::from_bytes([1; 32])), ..VersionRecord::default() };
        assert!(!holds_anything(&known));
        assert!(holds_anything(&VersionRecord { info: Some("{}".into()), ..known }));
    }
}

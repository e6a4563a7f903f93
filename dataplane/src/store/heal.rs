//! Getting out of states in which nothing can be written, without a restart.
//!
//! There are two: the database was opened on a full disk, for reading; or its background work met damage, upon
//! which it stops all writing. (For want of space alone it resumes by itself.) Opening it again in place ends
//! both; what is damaged is then looked for, and taken out of service where it can be fetched anew.

use std::sync::atomic::Ordering;

use gomod::ModuleVersion;

use super::error::StoreError;
use super::scrub::Finding;
use super::types::Class;
use super::{Inner, Store};

/// What healing did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Healed {
    /// The database was opened again.
    pub reopened: bool,
    /// Versions that were taken out of service.
    pub quarantined: Vec<ModuleVersion>,
}

impl Store {
    /// Heals if that is needed; [`super::evict::run_once`] begins with it. Reads wait while the database is
    /// opened again, and looking for damage reads everything.
    pub fn heal(&self) -> Result<Healed, StoreError> {
        let _pass = self.inner.heat.pass();
        let mut healed = Healed::default();
        self.heal_in_pass(&mut healed)?;
        Ok(healed)
    }

    /// What was done before an error is in `healed` too.
    pub(super) fn heal_in_pass(&self, healed: &mut Healed) -> Result<(), StoreError> {
        let inner = &self.inner;
        let stopped = inner.stopped.load(Ordering::Acquire);
        if !stopped && (!inner.rocks.is_read_only() || inner.check_space().is_err()) {
            return Ok(());
        }
        inner.rocks.reopen()?;
        inner.stopped.store(false, Ordering::Release);
        healed.reopened = true;
        if !stopped {
            return Ok(());
        }
        tracing::error!("background work met damage and stopped all writing; looking for it");
        let mut findings = Vec::new();
        self.scrub(&mut |_| {}, &mut |finding| findings.push(finding))?;
        if findings.is_empty() {
            // It is in what no version tells of. Collecting garbage would meet it again and again.
            inner.heat.stop_collecting();
            tracing::error!("no version is damaged; garbage is not collected until the next start");
        }
        for finding in findings {
            if inner.is_replaceable(&finding) {
                self.quarantine(&finding.version, finding.scope, &finding.detail)?;
                healed.quarantined.push(finding.version);
            }
        }
        Ok(())
    }
}

impl Inner {
    fn is_replaceable(&self, finding: &Finding) -> bool {
        let Finding { version, scope, detail } = finding;
        let shown = self.options.private.shown(&version.module, version);
        let class = self.record(version).ok().flatten().map(|record| record.class);
        if class == Some(Class::Cache) {
            tracing::warn!(version = %shown, ?scope, detail, "damaged, to be fetched anew");
            return true;
        }
        tracing::error!(version = %shown, ?scope, detail, "damaged, and not to be replaced by fetching");
        false
    }
}

//! Taking out of service what a reader found bad, but only what is bad: a disk may fail for a moment, and two who meet the same damage must not
//! undo what the first one has had fetched anew.

use gomod::ModuleVersion;

use super::Store;
use super::error::StoreError;
use super::scrub::Finding;
use super::types::{Class, Scope};

/// What came of damage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetAside {
    /// Everything reads well, or is not there any more.
    Fine,
    /// It is out of service, and fetched anew when it is asked for.
    Out,
    /// It was published, so it stays: it may be the only copy, and another one has to be there before it leaves.
    Stays(Finding),
}

impl Store {
    /// Reads all that is held of `mv` again, and takes what is bad out of service, unless it was published.
    pub fn set_aside(&self, mv: &ModuleVersion) -> Result<SetAside, StoreError> {
        let Some((findings, _)) = self.scrub_one(mv)? else { return Ok(SetAside::Fine) };
        let Some(finding) = worst(findings) else { return Ok(SetAside::Fine) };
        let record = match self.record(mv) {
            Err(StoreError::Corrupt { .. }) if self.inner.may_be_published(mv)? => {
                return Ok(SetAside::Stays(finding));
            }
            // Nothing that it says can be kept.
            Err(StoreError::Corrupt { .. }) => {
                self.quarantine(mv, Scope::Record, &finding.detail)?;
                return Ok(SetAside::Out);
            }
            record => record?,
        };
        let Some(record) = record else { return Ok(SetAside::Fine) };
        if record.class == Class::Published {
            return Ok(SetAside::Stays(finding));
        }
        let removed = match (finding.scope, record.zip) {
            // Another blob than the one that was read is another one's doing.
            (Scope::Zip, Some(zip)) => self.quarantine_blob(mv, zip.blob, &finding.detail)?,
            (Scope::Zip, None) => return Ok(SetAside::Fine),
            (Scope::Record, _) => self.quarantine(mv, Scope::Record, &finding.detail)?,
        };
        Ok(if removed.existed { SetAside::Out } else { SetAside::Fine })
    }
}

/// A bad record takes its zip along.
fn worst(findings: Vec<Finding>) -> Option<Finding> {
    let mut findings = findings.into_iter();
    let first = findings.next()?;
    Some(findings.fold(first, |worst, next| if worst.scope == Scope::Record { worst } else { next }))
}

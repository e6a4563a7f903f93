//! What nobody vouched for when it came is held against the checksum database once that can be asked: it could not be reached then and
//! was to be done without, or there was none.
//!
//! Content that the database lists otherwise is set aside with all that its version is bound to. Where the database has no record
//! nothing contradicts what is held, and it stays as it is.

use std::sync::Arc;
use std::time::Duration;

use gomod::ModuleVersion;
use tokio_util::sync::CancellationToken;

use super::checks::{Expected, Part};
use super::error::ServeError;
use super::proxy::Proxy;
use crate::store::{Class, Finding, Scope, Store, StoreError, Verified, VersionRecord};

/// Records that are looked at before others have their turn.
const PAGE_RECORDS: usize = 512;
/// After a start, and between two looks for which there was no reason.
const FIRST_PAUSE: Duration = Duration::from_mins(2);
const PAUSE: Duration = Duration::from_hours(6);

/// What a look at everything came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Rechecked {
    /// Versions that the database vouches for now.
    vouched: u64,
    /// Versions that it contradicts.
    set_aside: u64,
}

impl Proxy {
    /// Looks again and again until `stop`: soon after the database can be asked again, else every few hours.
    pub(crate) async fn keep_rechecking(self: Arc<Self>, stop: CancellationToken) {
        if self.settings.offline || self.layers.checks.sumdb().is_none() {
            return;
        }
        let mut pause = FIRST_PAUSE;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.layers.checks.is_back() => {}
                () = tokio::time::sleep(pause) => {}
            }
            pause = PAUSE;
            match stop.run_until_cancelled(self.recheck()).await {
                None => return,
                Some(Ok(Rechecked { vouched: 0, set_aside: 0 })) => {}
                Some(Ok(Rechecked { vouched, set_aside })) => {
                    tracing::info!(vouched, set_aside, "what nobody had vouched for was checked");
                }
                Some(Err(error)) => {
                    tracing::debug!(%error, "what nobody had vouched for could not be checked");
                }
            }
        }
    }

    async fn recheck(self: &Arc<Self>) -> Result<Rechecked, ServeError> {
        let (mut done, mut after) = (Rechecked::default(), None);
        loop {
            let from = after.take();
            let page =
                self.with_store("read what is stored", move |store| unvouched(store, from.as_ref())).await?;
            for (version, record) in page.unvouched {
                if !self.recheck_one(&version, &record, &mut done).await? {
                    return Ok(done);
                }
            }
            let Some(last) = page.last else { return Ok(done) };
            after = Some(last);
        }
    }

    /// Whether the database could be asked.
    async fn recheck_one(
        self: &Arc<Self>,
        version: &ModuleVersion,
        record: &VersionRecord,
        done: &mut Rechecked,
    ) -> Result<bool, ServeError> {
        if !self.layers.checks.asks_about(&version.module) {
            return Ok(true);
        }
        let expected = match self.layers.checks.listed(version).await {
            Ok(expected) => expected,
            // It has no record of it, or says what cannot be believed, which is told where it is met.
            Err(error) => return Ok(!error.is_outage()),
        };
        if let Some(error) = contradiction(&expected, version, record) {
            let shown = |what| self.shown(&version.module, what);
            tracing::error!(version = %shown(version), error = %shown(&error), "what nobody had vouched for is not what the checksum database lists");
            let finding =
                Finding { version: version.clone(), scope: Scope::Record, detail: error.to_string() };
            done.set_aside += u64::from(self.take_out(finding).await?);
        } else {
            let (wanted, zip_h1, go_mod_h1) = (version.clone(), record.zip_h1, record.go_mod_h1);
            let vouched = self
                .with_store("note who vouches", move |store| store.vouch(&wanted, zip_h1, go_mod_h1))
                .await?;
            done.vouched += u64::from(vouched);
        }
        Ok(true)
    }
}

/// What the database lists otherwise than `record` has it.
fn contradiction(expected: &Expected, version: &ModuleVersion, record: &VersionRecord) -> Option<ServeError> {
    let check = |part, h1| expected.check(version, part, &h1).err();
    let zip = record.zip_h1.and_then(|h1| check(Part::Zip, h1));
    zip.or_else(|| record.go_mod_h1.and_then(|h1| check(Part::GoMod, h1)))
}

/// A page of records.
struct Page {
    unvouched: Vec<(ModuleVersion, VersionRecord)>,
    /// The last that was looked at, unless it was the last of all.
    last: Option<ModuleVersion>,
}

fn unvouched(store: &Store, after: Option<&ModuleVersion>) -> Result<Page, StoreError> {
    let mut page = Page { unvouched: Vec::new(), last: None };
    let seen = store.see_records_after(after, PAGE_RECORDS, |version, record| {
        page.last = Some(version.clone());
        if let Ok(record) = record
            && record.verified == Verified::Unchecked
            // Somebody vouched for that by publishing it.
            && record.class != Class::Published
            && (record.zip_h1.is_some() || record.go_mod_h1.is_some())
        {
            page.unvouched.push((version, record));
        }
        true
    })?;
    if seen < PAGE_RECORDS {
        page.last = None;
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    use gomod::{H1, ModulePath, Version};

    use super::*;

    #[test]
    fn each_part_that_is_bound_has_to_be_the_listed_one() {
        let module = ModulePath::parse("example.com/a").unwrap();
        let version = ModuleVersion { module, version: Version::parse("v1.0.0").unwrap() };
        let h1 = |byte| Some(H1::from_bytes([byte; 32]));
        let expected = Expected::Listed { zip: h1(1), go_mod: h1(2) };
        let contradicted = |zip_h1, go_mod_h1| {
            let record = VersionRecord { go_mod_h1, zip_h1, ..VersionRecord::default() };
            contradiction(&expected, &version, &record).is_some()
        };
        assert!(!contradicted(h1(1), h1(2)) && !contradicted(None, h1(2)) && !contradicted(h1(1), None));
        assert!(contradicted(h1(3), h1(2)) && contradicted(h1(1), h1(3)) && contradicted(None, h1(1)));
    }
}

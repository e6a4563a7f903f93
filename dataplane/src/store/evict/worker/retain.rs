//! Retention: a scan over all records that goes on from pass to pass, module by module, and rests between two rounds.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use gomod::{ModulePath, ModuleVersion};

use super::super::super::error::StoreError;
use super::super::super::types::{Class, VersionRecord};
use super::super::super::{Store, decode_record, go_on, keys};
use super::super::report::{Evicted, Report, Why};
use super::super::retention::{Known, Newest, is_expired};
use super::{Policy, pass_over};

/// Records that one pass looks at; all of a module that has more.
const RECORDS_MAX: usize = 2_000;
/// Pause after a round, µs: nothing that retention goes by changes faster than in days.
const REST_US: i64 = 3_600_000_000;

/// A record as retention needs it.
struct Seen {
    version: ModuleVersion,
    class: Class,
    /// Nothing is held of it any more.
    is_stub: bool,
    has_zip: bool,
    /// Its zip is held, or was.
    had_zip: bool,
    /// Since when it is there, µs since the epoch.
    since_us: i64,
}

impl Seen {
    fn new(version: ModuleVersion, record: &VersionRecord) -> Self {
        Self {
            version,
            class: record.class,
            is_stub: record.is_stub(),
            has_zip: record.zip.is_some(),
            had_zip: record.zip.is_some() || record.held_us.is_some(),
            since_us: record.held_us.unwrap_or(record.first_seen_us),
        }
    }

    /// What the rules go by.
    fn known(&self) -> Known<'_> {
        Known { version: &self.version.version, had_zip: self.had_zip, since_us: self.since_us }
    }

    /// Takes it up among those of which the newest are kept.
    fn count_in(&self, newest: &mut Newest) {
        if !self.is_stub {
            newest.see(self.known());
        }
    }
}

/// Whether a round is under way, or it is time for one: what has come since the last one may have made others one too many.
pub(super) fn is_due(store: &Store, policy: &Policy, now_us: i64) -> bool {
    let heat = &store.inner.heat;
    let from_us = heat.memory.retention_from_us.load(Ordering::Relaxed);
    // A clock that was set back does not put a round off for longer.
    let has_rested = now_us >= from_us || from_us > now_us.saturating_add(REST_US);
    let has_come = heat.order() != heat.memory.retention_order.load(Ordering::Relaxed);
    policy.keep.any() && (has_rested || has_come || heat.retention_cursor.lock().is_some())
}

/// Goes on with the scan. `pressed` says that records without a zip leave as well.
pub(super) fn retain(
    store: &Store,
    policy: &Policy,
    pressed: bool,
    now_us: i64,
    report: &mut Report,
) -> Result<(), StoreError> {
    let heat = &store.inner.heat;
    let mut cursor = heat.retention_cursor.lock();
    let mut judge = Judge { store, policy, pressed, now_us, report };
    if cursor.is_none() {
        heat.memory.retention_order.store(heat.order(), Ordering::Relaxed);
    }
    let start = cursor.as_ref().and_then(|last| keys::after(&keys::records_of(&last.module)));
    let mut page = judge.page(&keys::records(), &start.unwrap_or_else(keys::records))?;
    let ended = page.len() < RECORDS_MAX;
    if !ended && let Some(last) = page.last().map(|seen| seen.version.clone()) {
        // The rest of the last module lies behind the page.
        page.retain(|seen| seen.version.module != last.module);
        if page.is_empty() {
            judge.long_module(&last.module)?;
            *cursor = Some(last);
            return Ok(());
        }
    }
    for module in page.chunk_by(|a, b| a.version.module == b.version.module) {
        let mut newest = Newest::new(policy.keep);
        for seen in module {
            seen.count_in(&mut newest);
        }
        judge.judge(module, &newest)?;
    }
    *cursor = if ended { None } else { page.pop().map(|seen| seen.version) };
    if ended {
        heat.memory.retention_from_us.store(now_us.saturating_add(REST_US), Ordering::Relaxed);
    }
    Ok(())
}

struct Judge<'a> {
    store: &'a Store,
    policy: &'a Policy,
    pressed: bool,
    now_us: i64,
    report: &'a mut Report,
}

impl Judge<'_> {
    /// Records from `start` on, of those whose keys begin with `prefix`; what cannot be read is passed over.
    fn page(&mut self, prefix: &[u8], start: &[u8]) -> Result<Vec<Seen>, StoreError> {
        let (mut page, mut odd, mut places) = (Vec::new(), Vec::new(), Vec::new());
        self.store.inner.rocks.scan_past(
            "version record",
            prefix,
            start,
            |key, value| {
                let Some(version) = keys::parse_record(key) else { return go_on(true) };
                match decode_record(&Bytes::copy_from_slice(value)) {
                    Ok(record) => page.push(Seen::new(version, &record)),
                    Err(error) => odd.push(error),
                }
                go_on(page.len() < RECORDS_MAX)
            },
            |error| places.push(error),
        )?;
        for error in odd.into_iter().chain(places) {
            pass_over(self.store, self.report, error)?;
        }
        Ok(page)
    }

    /// Judges a module with more versions than a page has: which are the newest is found first.
    fn long_module(&mut self, module: &ModulePath) -> Result<(), StoreError> {
        let prefix = keys::records_of(module);
        let mut newest = Newest::new(self.policy.keep);
        self.store.inner.rocks.scan_past(
            "version record",
            &prefix,
            &prefix,
            |key, value| {
                let record = decode_record(&Bytes::copy_from_slice(value));
                if let (Some(version), Ok(record)) = (keys::parse_record(key), record) {
                    Seen::new(version, &record).count_in(&mut newest);
                }
                go_on(true)
            },
            // What cannot be read is told of where the records are judged.
            |_| {},
        )?;
        let mut start = prefix.clone();
        loop {
            let page = self.page(&prefix, &start)?;
            self.judge(&page, &newest)?;
            let Some(last) = page.last().filter(|_| page.len() == RECORDS_MAX) else { return Ok(()) };
            start = keys::record(&last.version);
            start.push(0);
        }
    }

    /// Removes what no rule keeps; what it is bound to stays.
    fn judge(&mut self, module: &[Seen], newest: &Newest) -> Result<(), StoreError> {
        for seen in module {
            let removed = match self.why(seen, newest) {
                Ok(None) => continue,
                Ok(Some(why)) => self.store.remove_content(&seen.version).map(|removed| (removed, why)),
                Err(error) => Err(error),
            };
            match removed {
                Ok((removed, why)) if removed.existed => {
                    let (version, bytes) = (seen.version.clone(), removed.freed_bytes);
                    self.report.evicted.push(Evicted { version, bytes, why });
                }
                Ok(_) => {}
                // It stays, and the others are none the worse for it.
                Err(error) => pass_over(self.store, self.report, error)?,
            }
        }
        Ok(())
    }

    fn why(&self, seen: &Seen, newest: &Newest) -> Result<Option<Why>, StoreError> {
        let Seen { version, class, is_stub, has_zip, .. } = seen;
        if *is_stub || *class != Class::Cache || (self.policy.pinned)(version) {
            return Ok(None);
        }
        if self.is_expired(seen, newest)? {
            return Ok(Some(Why::Retention));
        }
        Ok((self.pressed && !has_zip).then_some(Why::Pressure))
    }

    /// Whether no rule keeps it. Since when it is there says nothing where the clock has not reached that: one that was ahead has told it,
    /// and the index feed goes on from there. Then it goes by when it was asked for; what never was, as if it had come now.
    fn is_expired(&self, seen: &Seen, newest: &Newest) -> Result<bool, StoreError> {
        let known = seen.known();
        let is_ahead = known.since_us > self.now_us;
        let used_us = |any_us| if is_ahead && any_us == 0 { self.now_us } else { any_us };
        let used = || self.store.last_access(&seen.version).map(|access| used_us(access.any_us));
        let since_us = if is_ahead { i64::MIN } else { known.since_us };
        is_expired(self.policy.keep, newest, Known { since_us, ..known }, self.now_us, used)
    }
}

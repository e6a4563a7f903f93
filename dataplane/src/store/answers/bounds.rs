//! What keeps small things from growing for ever: whoever asks can have an answer stored for each name that comes to his mind.
//!
//! Answers to queries are bounded by module; answers of modules of which nothing is held, by age; notes of what was
//! quarantined, by number. Nothing that is dropped is needed for serving what is held.

use bytes::Bytes;
use gomod::ModulePath;

use super::super::error::StoreError;
use super::super::keys::{self, AnswerKind};
use super::super::records;
use super::super::rocks::Batch;
use super::super::types::Durability;
use super::super::{Inner, Store, go_on};

/// Answers to queries that are kept of a module: branches in use are fewer, and a commit is asked for once.
const QUERIES_MAX: usize = 64;
/// Notes of what was quarantined that are kept. The oldest go.
const NOTES_MAX: usize = 10_000;

/// Answers that were looked at, and where to go on.
struct Page {
    /// Keys and modules of those that are old.
    old: Vec<(Vec<u8>, ModulePath)>,
    /// The next key; none at the end.
    next: Option<Vec<u8>>,
}

impl Store {
    /// Drops answers that were fetched before `before_us` (µs since the epoch) of modules that have no record but stubs, of the `limit` from `from` on. Gives back
    /// where to go on; [`None`] at the end.
    pub(in super::super) fn drop_unused_answers(
        &self,
        from: Option<Vec<u8>>,
        before_us: i64,
        limit: usize,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let Page { old, next } = self.inner.old_answers(from, before_us, limit)?;
        let mut batch = Batch::default();
        for of_module in old.chunk_by(|a, b| a.1 == b.1) {
            if let Some((_, module)) = of_module.first()
                && !self.inner.has_records(module)?
            {
                for (key, _) in of_module {
                    batch.delete(key.clone());
                }
            }
        }
        self.inner.write_if_any("cached answer", batch)?;
        Ok(next)
    }

    /// Drops the oldest notes of what was quarantined where there are too many; how many.
    pub(in super::super) fn drop_old_notes(&self) -> Result<usize, StoreError> {
        let (mut notes, mut count) = (Vec::new(), 0_usize);
        self.inner.rocks.scan("quarantine record", &keys::quarantines(), &[], |key, _| {
            count += 1;
            // As many as may have to go in one batch; the rest goes the next time.
            if notes.len() < NOTES_MAX {
                notes.push(key.to_vec());
            }
            go_on(true)
        })?;
        notes.truncate(count.saturating_sub(NOTES_MAX));
        let dropped = notes.len();
        let mut batch = Batch::default();
        for key in notes {
            batch.delete(key);
        }
        self.inner.write_if_any("quarantine record", batch)?;
        Ok(dropped)
    }
}

impl Inner {
    /// Has the oldest answers to queries of a module leave in the batch that adds one to `query`.
    pub(super) fn make_room_for_query(
        &self,
        batch: &mut Batch,
        module: &ModulePath,
        query: &str,
    ) -> Result<(), StoreError> {
        let (own, all) =
            (keys::answer(AnswerKind::Query, module, query), keys::answer(AnswerKind::Query, module, ""));
        let mut others = Vec::new();
        self.rocks.scan_past(
            "cached answer",
            &all,
            &all,
            |key, value| {
                if key != own {
                    others.push((fetched_us(value), key.to_vec()));
                }
                go_on(true)
            },
            // It is overwritten, or grows old.
            |_| {},
        )?;
        others.sort_unstable();
        let too_many = (others.len() + 1).saturating_sub(QUERIES_MAX);
        others.into_iter().take(too_many).for_each(|(_, key)| batch.delete(key));
        Ok(())
    }

    fn old_answers(&self, from: Option<Vec<u8>>, before_us: i64, limit: usize) -> Result<Page, StoreError> {
        let (mut old, mut next, mut seen) = (Vec::new(), None, 0);
        let Some(all) = answers() else { return Ok(Page { old, next }) };
        self.rocks.scan_past(
            "cached answer",
            &all,
            &from.unwrap_or_default(),
            |key, value| {
                if seen == limit {
                    next = Some(key.to_vec());
                    return go_on(false);
                }
                seen += 1;
                if let Some(module) = module_of(key).filter(|_| fetched_us(value) < before_us) {
                    old.push((key.to_vec(), module));
                }
                go_on(true)
            },
            |_| {},
        )?;
        Ok(Page { old, next })
    }

    /// Whether anything is known of a module but what its versions are bound to.
    fn has_records(&self, module: &ModulePath) -> Result<bool, StoreError> {
        let (prefix, mut found) = (keys::records_of(module), false);
        self.rocks.scan("version record", &prefix, &prefix, |_, value| {
            let record = records::decode_record(&Bytes::copy_from_slice(value));
            // One that cannot be read may be of anything.
            found = record.map_or(true, |record| !record.is_stub());
            go_on(!found)
        })?;
        Ok(found)
    }

    fn write_if_any(&self, what: &'static str, batch: Batch) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        self.note(self.rocks.write(what, batch, Durability::Buffered))
    }
}

/// When an answer was fetched; what cannot be read is as old as can be.
fn fetched_us(value: &[u8]) -> i64 {
    records::decode_answer(&Bytes::copy_from_slice(value)).map_or(i64::MIN, |answer| answer.fetched_us)
}

/// First part of the keys of all answers: the tag of their table, with which that of any answer begins.
fn answers() -> Option<Vec<u8>> {
    let any = ModulePath::parse("example.com").ok()?;
    let mut key = keys::answer(AnswerKind::List, &any, "");
    key.truncate(1);
    Some(key)
}

/// The module in the key of an answer: behind the tag and the kind, up to a zero byte.
fn module_of(key: &[u8]) -> Option<ModulePath> {
    let module = key.get(2..)?.split(|&byte| byte == 0).next()?;
    ModulePath::parse(std::str::from_utf8(module).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_known_by_their_keys() {
        let module = ModulePath::parse("example.com/a/b").expect("module path");
        for (kind, query) in [(AnswerKind::List, ""), (AnswerKind::Latest, ""), (AnswerKind::Query, "main")] {
            let key = keys::answer(kind, &module, query);
            assert!(key.starts_with(&answers().expect("a prefix")));
            assert_eq!(module_of(&key), Some(module.clone()), "{kind:?}");
        }
        assert!(!keys::records_of(&module).starts_with(&answers().expect("a prefix")));
        assert_eq!(module_of(b"a"), None);
    }
}

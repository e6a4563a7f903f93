//! Small things kept beside the versions: upstream answers, checksum-database facts, and the index feed.

mod bounds;

use bytes::Bytes;
use gomod::ModulePath;

use super::error::StoreError;
use super::keys::{self, AnswerKind};
use super::records;
use super::rocks::Batch;
use super::types::{CachedAnswer, Durability, IndexEntry};
use super::{Inner, Store, go_on, undecodable};

impl Store {
    /// The cached `/@v/list` of a module.
    pub fn list(&self, module: &ModulePath) -> Result<Option<CachedAnswer>, StoreError> {
        self.inner.answer(AnswerKind::List, module, "")
    }

    /// Caches a module's `/@v/list`.
    pub fn put_list(&self, module: &ModulePath, answer: &CachedAnswer) -> Result<(), StoreError> {
        self.inner.put_answer(AnswerKind::List, module, "", answer)
    }

    /// The cached `/@latest` of a module.
    pub fn latest(&self, module: &ModulePath) -> Result<Option<CachedAnswer>, StoreError> {
        self.inner.answer(AnswerKind::Latest, module, "")
    }

    /// Caches a module's `/@latest`.
    pub fn put_latest(&self, module: &ModulePath, answer: &CachedAnswer) -> Result<(), StoreError> {
        self.inner.put_answer(AnswerKind::Latest, module, "", answer)
    }

    /// The cached answer to a query that is no version, such as a branch.
    pub fn query(&self, module: &ModulePath, query: &str) -> Result<Option<CachedAnswer>, StoreError> {
        self.inner.answer(AnswerKind::Query, module, query)
    }

    /// Caches the answer to a query that is no version. Of a module with many of them the oldest leave.
    pub fn put_query(
        &self,
        module: &ModulePath,
        query: &str,
        answer: &CachedAnswer,
    ) -> Result<(), StoreError> {
        self.inner.put_answer(AnswerKind::Query, module, query, answer)
    }

    /// Forgets what origins said of a module: its list, its latest version, its branches.
    pub fn forget_answers(&self, module: &ModulePath) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        for kind in [AnswerKind::List, AnswerKind::Latest, AnswerKind::Query] {
            let prefix = keys::answer(kind, module, "");
            self.inner.rocks.scan("cached answer", &prefix, &prefix, |key, _| {
                batch.delete(key.to_vec());
                go_on(true)
            })?;
        }
        self.inner.note_new(self.inner.rocks.write("cached answer", batch, Durability::Buffered))
    }

    /// A stored fact of a checksum database, by the name its user gave it.
    pub fn sumdb_get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        self.inner.rocks.get("checksum-database fact", &keys::sumdb(key))
    }

    /// Stores facts of a checksum database, all or none.
    pub fn sumdb_put(&self, facts: &[(String, Bytes)], durability: Durability) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        for (key, value) in facts {
            batch.put(keys::sumdb(key), &value[..]);
        }
        self.inner.note_new(self.inner.rocks.write("checksum-database fact", batch, durability))
    }

    /// At most `limit` versions in the order in which their zips were first held, from `since_us` (µs since the
    /// epoch, inclusive) on. Reading on from the last entry's time plus one never misses any.
    pub fn index_since(&self, since_us: i64, limit: usize) -> Result<Vec<IndexEntry>, StoreError> {
        // Taken first: what is settled now is all there when the scan begins.
        let settled_before = self.inner.feed.settled_before();
        let mut entries = Vec::new();
        let mut failed = None;
        self.inner.rocks.scan("index feed", &keys::indexes(), &keys::index(since_us), |key, value| {
            match (keys::parse_index(key), keys::parse_version_text(value)) {
                (Some(held_us), _) if held_us >= settled_before || entries.len() >= limit => {
                    return go_on(false);
                }
                (Some(held_us), Some(version)) => entries.push(IndexEntry { version, held_us }),
                _ => failed = Some(StoreError::corrupt("index feed", "unreadable entry")),
            }
            go_on(failed.is_none())
        })?;
        failed.map_or(Ok(entries), Err)
    }
}

impl Inner {
    fn answer(
        &self,
        kind: AnswerKind,
        module: &ModulePath,
        query: &str,
    ) -> Result<Option<CachedAnswer>, StoreError> {
        let Some(value) = self.rocks.get("cached answer", &keys::answer(kind, module, query))? else {
            return Ok(None);
        };
        let answer = records::decode_answer(&value);
        answer.map(Some).map_err(|error| undecodable("cached answer", &error))
    }

    fn put_answer(
        &self,
        kind: AnswerKind,
        module: &ModulePath,
        query: &str,
        answer: &CachedAnswer,
    ) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        if kind == AnswerKind::Query {
            self.make_room_for_query(&mut batch, module, query)?;
        }
        batch.put(keys::answer(kind, module, query), records::encode_answer(answer));
        self.note_new(self.rocks.write("cached answer", batch, Durability::Buffered))
    }
}

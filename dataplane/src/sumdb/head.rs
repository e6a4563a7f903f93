//! Owns the timeline of tree heads: the newest one vouched for, how it moves on, and the alarm when there are two.
//!
//! Invariants: a head is adopted together with the tiles that prove that the one before it is its beginning, in one
//! write; it never goes back; while the alarm is raised nothing is adopted.

use std::sync::Arc;

use bytes::Bytes;
use gomod::sumdb::{HeadCheck, SignedHead, VerifiedTile, VerifierKey, check_head};
use parking_lot::{Mutex, RwLock};

use super::error::{SumDbError, SumDbOpenError};
use super::metrics::SumDbMetrics;
use super::store::{Keys, SumStore, SumStoreError};
use super::tiles::Tiles;

/// Two signed tree heads that contradict each other, for the operator (and the database's) to look into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fork {
    /// The signed note that this server had vouched for.
    pub ours: Bytes,
    /// The signed note that contradicts it.
    pub theirs: Bytes,
}

/// The newest head, and where it is kept.
#[derive(Debug)]
pub(super) struct Timeline {
    key: VerifierKey,
    keys: Keys,
    store: Arc<dyn SumStore>,
    metrics: SumDbMetrics,
    state: RwLock<State>,
    /// Held around each write, so that a comparison and the write it decides are one.
    writing: Mutex<()>,
    /// Held by whoever moves the head on after having been overtaken once.
    advancing: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct State {
    newest: Option<Arc<SignedHead>>,
    forked: bool,
}

/// Whether something could be adopted.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Adopted {
    /// It is kept.
    Yes,
    /// Another head was adopted in the meantime: check again against that one.
    Overtaken,
}

impl Timeline {
    /// Reads what is kept. Blocks.
    pub(super) fn open(
        key: VerifierKey,
        store: Arc<dyn SumStore>,
        metrics: SumDbMetrics,
    ) -> Result<Self, SumDbOpenError> {
        let keys = Keys::new(key.name());
        let newest = match store.get(&keys.head())? {
            None => None,
            Some(note) => {
                let head = SignedHead::open(&note, &key).map_err(|source| SumDbOpenError::Head {
                    name: key.name().to_owned(),
                    source: Box::new(source),
                })?;
                metrics.head(head.head().size);
                Some(Arc::new(head))
            }
        };
        let forked = store.get(&keys.alarm())?.is_some_and(|alarm| !alarm.is_empty());
        metrics.alarm(forked);
        let state = RwLock::new(State { newest, forked });
        Ok(Self {
            key,
            keys,
            store,
            metrics,
            state,
            writing: Mutex::new(()),
            advancing: tokio::sync::Mutex::default(),
        })
    }

    pub(super) fn key(&self) -> &VerifierKey {
        &self.key
    }

    pub(super) fn newest(&self) -> Option<Arc<SignedHead>> {
        self.state.read().newest.clone()
    }

    /// Fails while the alarm is raised.
    pub(super) fn check_alarm(&self) -> Result<(), SumDbError> {
        if self.state.read().forked { Err(SumDbError::Fork) } else { Ok(()) }
    }

    /// Waits for the right to move the head on without being overtaken.
    pub(super) async fn alone(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.advancing.lock().await
    }

    /// Keeps `tiles` and `pairs`, and `newest` as the newest head, if `known` is still the newest one. Blocks.
    pub(super) fn adopt(
        &self,
        known: Option<&Arc<SignedHead>>,
        newest: SignedHead,
        tiles: Vec<VerifiedTile>,
        mut pairs: Vec<(String, Bytes)>,
    ) -> Result<Adopted, SumDbError> {
        let _writing = self.writing.lock();
        self.check_alarm()?;
        let moves = known.is_none_or(|known| newest.head().size > known.head().size);
        if moves {
            let current = self.newest();
            let same = match (known, &current) {
                (None, None) => true,
                (Some(known), Some(current)) => Arc::ptr_eq(known, current),
                _ => false,
            };
            if !same {
                return Ok(Adopted::Overtaken);
            }
            pairs.push((self.keys.head(), Bytes::copy_from_slice(newest.note().as_bytes())));
        }
        self.put_wider(tiles, pairs)?;
        if moves {
            self.metrics.head(newest.head().size);
            tracing::debug!(size = newest.head().size, "adopted a tree head");
            self.state.write().newest = Some(Arc::new(newest));
        }
        Ok(Adopted::Yes)
    }

    /// Keeps tiles that were proven by themselves. Blocks.
    pub(super) fn keep(
        &self,
        tiles: Vec<VerifiedTile>,
        pairs: Vec<(String, Bytes)>,
    ) -> Result<(), SumDbError> {
        let _writing = self.writing.lock();
        Ok(self.put_wider(tiles, pairs)?)
    }

    /// Of each tile the widest part is kept: it begins with all narrower ones.
    fn put_wider(
        &self,
        tiles: Vec<VerifiedTile>,
        mut pairs: Vec<(String, Bytes)>,
    ) -> Result<(), SumStoreError> {
        for verified in tiles {
            let key = self.keys.tile(&verified.tile);
            let wider =
                self.store.get_replaceable(&key).is_none_or(|held| held.len() < verified.hashes.len());
            if wider {
                pairs.push((key, verified.hashes));
            }
        }
        if pairs.is_empty() { Ok(()) } else { self.store.put_where_there_is_place(pairs) }
    }

    /// Two signed heads contradict each other: keeps both, raises the alarm, refuses everything new from here on. Blocks.
    pub(super) fn raise(&self, known: Option<&SignedHead>, theirs: &str) -> SumDbError {
        let ours = known.map(SignedHead::note).unwrap_or_default();
        tracing::error!(
            database = self.key.name(),
            ours,
            theirs,
            "the checksum database has signed two tree heads that contradict each other; nothing new is accepted until \
             this server was stopped and `goproxyd sumdb fork --clear` run with its settings"
        );
        self.state.write().forked = true;
        self.metrics.alarm(true);
        let pairs = vec![
            (self.keys.fork_ours(), Bytes::copy_from_slice(ours.as_bytes())),
            (self.keys.fork_theirs(), Bytes::copy_from_slice(theirs.as_bytes())),
            (self.keys.alarm(), Bytes::from_static(b"raised")),
        ];
        if let Err(error) = self.store.put(pairs) {
            tracing::error!(%error, "failed to keep the contradicting tree heads");
        }
        SumDbError::Fork
    }

    /// The contradiction, while its alarm is raised. Blocks.
    pub(super) fn fork(&self) -> Result<Option<Fork>, SumDbError> {
        if self.check_alarm().is_ok() {
            return Ok(None);
        }
        let ours = self.store.get(&self.keys.fork_ours())?.unwrap_or_default();
        let theirs = self.store.get(&self.keys.fork_theirs())?.unwrap_or_default();
        Ok(Some(Fork { ours, theirs }))
    }

    /// An operator has looked into it. Both heads stay in the store. Blocks.
    pub(super) fn clear(&self) -> Result<(), SumDbError> {
        self.store.put(vec![(self.keys.alarm(), Bytes::new())])?;
        self.state.write().forked = false;
        self.metrics.alarm(false);
        tracing::warn!(database = self.key.name(), "the alarm about contradicting tree heads was cleared");
        Ok(())
    }
}

/// Moves the timeline on to a signed head, if it is newer; checks that it lies on it in any case.
pub(super) async fn merge(tiles: &Tiles, note: Bytes) -> Result<(), SumDbError> {
    let timeline = tiles.timeline();
    let mut alone = None;
    loop {
        timeline.check_alarm()?;
        let known = timeline.newest();
        let checked = {
            let (known, note) = (known.clone(), note.clone());
            let key = timeline.key().clone();
            tiles.settle(move |source| check_head(&note, &key, known.as_deref(), source)).await
        };
        let HeadCheck { newest, tiles: mut proof } = match checked {
            Ok(checked) => checked,
            Err(refused) => return Err(tiles.judge(refused, None, known, &note).await),
        };
        if known.is_none() {
            // Nothing has been proven of a first head but its signature.
            proof = tiles.prove_edge(*newest.head()).await?;
        }
        let adopted = {
            let timeline = Arc::clone(timeline);
            super::tiles::blocking(move || timeline.adopt(known.as_ref(), newest, proof, Vec::new())).await?
        };
        match adopted {
            Adopted::Yes => return Ok(()),
            Adopted::Overtaken => {
                if alone.is_none() {
                    alone = Some(timeline.alone().await);
                }
            }
        }
    }
}

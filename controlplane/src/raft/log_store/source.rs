//! A state held fast for sending. A snapshot of `RocksDB` borrows its database, so a thread of its own holds both, and
//! gives records when it is asked.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use rocksdb::{IteratorMode, SnapshotWithThreadMode};

use super::super::disk::{AppliedState, DiskError, Pinned, RecordSource};
use super::super::machine::Record;
use super::error::{damaged, failed};
use super::{APPLIED, Db, IN_USE, META, Side, codec, family};

const ACTION: &str = "read snapshot";

type Given = Result<Vec<Record>, DiskError>;

/// Holds the state fast as it is now.
pub(super) fn pin(db: &Arc<Db>) -> Result<Pinned, DiskError> {
    let (ask, asks) = channel();
    let (give, given) = sync_channel(1);
    let (tell, told) = sync_channel(1);
    let db = Arc::clone(db);
    let thread = std::thread::Builder::new().name("raft-snapshot".to_owned());
    let spawned = thread.spawn(move || hold(&db, &tell, &asks, &give));
    spawned.map_err(|error| DiskError::Lost { action: ACTION, source: Arc::new(error) })?;
    let applied = told.recv().unwrap_or_else(|_| Err(damaged(ACTION, "its thread ended")))?;
    Ok(Pinned { applied, source: Box::new(Source { ask, given }) })
}

struct Source {
    ask: Sender<usize>,
    given: Receiver<Given>,
}

impl RecordSource for Source {
    fn next_records(&mut self, bytes: usize) -> Given {
        let gone = || damaged(ACTION, "its thread ended");
        self.ask.send(bytes).map_err(|_| gone())?;
        self.given.recv().unwrap_or_else(|_| Err(gone()))
    }
}

/// Lives until nobody asks any more.
fn hold(
    db: &Db,
    tell: &SyncSender<Result<AppliedState, DiskError>>,
    asks: &Receiver<usize>,
    give: &SyncSender<Given>,
) {
    let snapshot = db.snapshot();
    let side = match describe(db, &snapshot) {
        Ok((applied, side)) => {
            if tell.send(Ok(applied)).is_err() {
                return;
            }
            side
        }
        Err(error) => {
            // Whoever asked is gone, or hears of it.
            let _ = tell.send(Err(error));
            return;
        }
    };
    let Ok(state) = family(db, side.family()) else { return };
    let mut records = snapshot.iterator_cf(&state, IteratorMode::Start);
    while let Ok(bytes) = asks.recv() {
        let (mut next, mut given) = (Vec::new(), 0);
        let mut result = Ok(());
        while given < bytes {
            match records.next() {
                None => break,
                Some(Ok((key, value))) => {
                    given += key.len() + value.len();
                    next.push((key.into_vec(), value.into_vec()));
                }
                Some(Err(error)) => {
                    result = Err(failed(ACTION)(error));
                    break;
                }
            }
        }
        if give.send(result.map(|()| next)).is_err() {
            return;
        }
    }
}

fn describe(db: &Db, snapshot: &SnapshotWithThreadMode<'_, Db>) -> Result<(AppliedState, Side), DiskError> {
    let meta = family(db, META)?;
    let get = |key: &[u8]| snapshot.get_cf(&meta, key).map_err(failed(ACTION));
    let applied = get(APPLIED)?.as_deref().and_then(codec::applied);
    let side = get(IN_USE)?.as_deref().and_then(Side::of);
    applied.zip(side).ok_or_else(|| damaged(ACTION, "what it is a snapshot of cannot be read"))
}

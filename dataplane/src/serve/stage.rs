//! Taking in what somebody publishes: verified like any zip, stored where nobody sees it until the cluster has bound its name.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _};
use gomod::dirhash::go_mod_h1;
use gomod::{H1, ModuleVersion, Request, modfile};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::convert::from_store;
use super::error::ServeError;
use super::hasher::Hasher;
use super::proxy::{Proxy, forget, key};
use super::sink::Sink;
use crate::store::{CHUNK_BYTES, CommitError, Patch, Staged, Staging, Store};

/// Versions that may wait, so that a client that never gets to the end of publishing fills no memory.
pub(super) const WAITING_MAX: usize = 10_000;
/// Where a published version says that it came from.
const ORIGIN: &str = "published";

/// What is published, but its zip.
#[derive(Clone, Debug)]
pub struct Publication {
    /// The version.
    pub version: Arc<ModuleVersion>,
    /// The go.mod in its zip; empty if that has none.
    pub go_mod: Bytes,
    /// The length of its zip in bytes.
    pub zip_size: u64,
}

/// What a staged version hashes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StagedHashes {
    /// Its zip.
    pub zip: H1,
    /// Its go.mod.
    pub go_mod: H1,
}

/// Why something cannot be published.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StageError {
    /// Public origins may have it, and what they have would win or lose by chance.
    #[error("{0} is not private here: only what no public origin is asked for is published")]
    NotPrivate(String),
    /// It is not a module.
    #[error("{0}")]
    Invalid(String),
    /// The name has other content already.
    #[error("{0}")]
    Conflict(String),
    /// It cannot be stored.
    #[error("it can store nothing just now: its disk is full, or takes no writes")]
    NoRoom,
    /// Anything else, as it is told to clients.
    #[error(transparent)]
    Failed(#[from] ServeError),
}

/// What waits, and since when, in µs since the Unix epoch.
pub(crate) type Waiting = BTreeMap<(ModuleVersion, [u8; 32]), i64>;

impl Proxy {
    /// Stores what is published on stable storage, to be shown by [`Self::reveal`].
    pub async fn stage(
        self: &Arc<Self>,
        publication: Publication,
        pieces: impl Stream<Item = Result<Bytes, ServeError>> + Send + Unpin,
    ) -> Result<StagedHashes, StageError> {
        let Publication { version, go_mod, zip_size } = publication;
        let go_mod = if go_mod.is_empty() { modfile::synthesize(&version.module) } else { go_mod };
        if !self.is_private(&version.module) {
            return Err(StageError::NotPrivate(version.module.to_string()));
        }
        modfile::module_line(&go_mod)
            .map_err(|error| StageError::Invalid(format!("its go.mod cannot be read: {error}")))?;
        if self.waiting.lock().len() >= WAITING_MAX {
            return Err(StageError::Failed(ServeError::Unavailable {
                what: version.to_string().into(),
                why: "too many versions wait here for their names to be bound".to_owned(),
                next: "try again later".into(),
            }));
        }
        if zip_size == 0 || zip_size > gomod::zip::ZIP_BYTES_MAX {
            return Err(StageError::Invalid(format!("a zip of {zip_size} bytes is no module")));
        }
        let mut sink = Sink::open(self.places(), Some(zip_size)).await?;
        to_disk(&sink)?;
        let (sha256, digests) = self.take_pieces(&version, zip_size, pieces, &mut sink).await?;
        let summary = self.verify_zip(&version, sink.received(), digests).await.map_err(of_zip)?;
        let go_mod_hash = go_mod_h1(&go_mod);
        let belongs = summary
            .go_mod
            .map_or_else(|| go_mod == modfile::synthesize(&version.module), |in_zip| in_zip == go_mod_hash);
        if !belongs {
            return Err(StageError::Invalid("the go.mod is not the one in the zip".to_owned()));
        }
        let hashes = StagedHashes { zip: summary.h1, go_mod: go_mod_hash };
        let wanted = Arc::clone(&version);
        let look = move |store: &Store| store.unsound(&wanted, &sha256, zip_size);
        let unsound = self.with_store("read what is stored of a version", look).await?;
        let (proxy, wanted) = (Arc::clone(self), Arc::clone(&version));
        let staging = self.clerk.run(move |store| {
            let sealed = sink.seal(store, sha256)?.ok_or(StageError::NoRoom)?;
            let patch = Patch {
                go_mod: Some(go_mod),
                go_mod_h1: Some(hashes.go_mod),
                zip: Some((sealed, hashes.zip)),
                origin: ORIGIN.to_owned(),
                ..Patch::default()
            };
            let staged = store.stage(&wanted, patch, &unsound);
            // Here, for whoever asked for it may have given up.
            proxy.note_staged(&wanted, hashes.zip, &staged);
            staged.map_err(of_commit)
        });
        let died = || ServeError::Internal { what: "stage a version".to_owned() };
        staging.await.ok_or_else(died)??;
        Ok(hashes)
    }

    /// Takes up what came of staging.
    fn note_staged(&self, version: &ModuleVersion, zip_h1: H1, staged: &Result<Staging, CommitError>) {
        match staged {
            // A write that failed may be there all the same once the database was opened again.
            Ok(Staging::Staged) | Err(CommitError::Store(_)) => {
                let now_us = self.now_us();
                self.waiting.lock().insert((version.clone(), *zip_h1.as_bytes()), now_us);
            }
            // Its bytes may have taken the place of bad ones, which nobody is to be given any more.
            Ok(Staging::Held) => forget(&self.layers.memory, version),
            Err(CommitError::Conflict { .. }) => {}
        }
    }

    /// Takes the zip's bytes into `sink`, and hashes them.
    async fn take_pieces(
        &self,
        version: &ModuleVersion,
        zip_size: u64,
        mut pieces: impl Stream<Item = Result<Bytes, ServeError>> + Send + Unpin,
        sink: &mut Sink,
    ) -> Result<super::hasher::Hashes, StageError> {
        let (mut hasher, mut open, mut received) = (Hasher::start(), BytesMut::new(), 0);
        while let Some(piece) = pieces.next().await {
            let mut piece = piece?;
            received += piece.len() as u64;
            if received > zip_size {
                return Err(StageError::Invalid("the zip is longer than was said".to_owned()));
            }
            while !piece.is_empty() {
                open.extend_from_slice(&piece.split_to(piece.len().min(CHUNK_BYTES - open.len())));
                if open.len() < CHUNK_BYTES {
                    break;
                }
                let chunk = std::mem::take(&mut open).freeze();
                let place = self.transit.place().await;
                if !hasher.push(chunk.clone(), place.clone()).await {
                    return hasher.finish(version).await.map_err(of_zip);
                }
                sink.append(chunk).await?;
                drop(place);
                sink.settle().await?;
                to_disk(sink)?;
            }
        }
        if received < zip_size {
            return Err(StageError::Invalid("the zip is shorter than was said".to_owned()));
        }
        if !open.is_empty() {
            let chunk = open.freeze();
            hasher.push(chunk.clone(), None).await;
            sink.append(chunk).await?;
            sink.settle().await?;
        }
        hasher.finish(version).await.map_err(of_zip)
    }

    /// Shows a staged version, whose name is bound to this content since `published_us`, in µs since the Unix epoch. False when it is
    /// not here.
    pub async fn reveal(
        &self,
        version: &ModuleVersion,
        zip_h1: H1,
        published_us: i64,
    ) -> Result<bool, StageError> {
        let info = info_of(version, published_us);
        let (store, wanted) = (Arc::clone(&self.layers.store), version.clone());
        let revealed = tokio::task::spawn_blocking(move || store.reveal(&wanted, zip_h1, info)).await;
        let died = |_| ServeError::Internal { what: "reveal a version".to_owned() };
        let record = revealed.map_err(died)?.map_err(of_commit)?;
        self.waiting.lock().remove(&(version.clone(), *zip_h1.as_bytes()));
        forget(&self.layers.memory, version);
        for request in [Request::List(version.module.clone()), Request::Latest(version.module.clone())] {
            self.layers.memory.forget(&key(&request));
        }
        if record.is_some() {
            self.offer(version);
        }
        Ok(record.is_some())
    }

    /// Gives up what is staged of a version with this content, unless whoever publishes it has staged it again after `since_us`, in µs
    /// since the Unix epoch: he counts on that copy.
    pub async fn unstage(
        &self,
        version: &ModuleVersion,
        zip_h1: H1,
        since_us: i64,
    ) -> Result<(), ServeError> {
        let wanted = version.clone();
        let giving_up = move |store: &Store| store.unstage(&wanted, zip_h1, since_us);
        self.with_store("give up a staged version", giving_up).await?;
        let key = (version.clone(), *zip_h1.as_bytes());
        let mut waiting = self.waiting.lock();
        if waiting.get(&key).is_some_and(|since| *since <= since_us) {
            waiting.remove(&key);
        }
        Ok(())
    }

    /// At most `limit` versions that wait for their names to be bound since before `before_us`: the oldest, which may have waited for
    /// long enough, and the newest, which are likely to be bound.
    pub fn waiting(&self, before_us: i64, limit: usize) -> Vec<(ModuleVersion, H1, i64)> {
        let waiting = self.waiting.lock();
        let old = waiting.iter().filter(|(_, since_us)| **since_us < before_us);
        let mut old: Vec<_> = old.collect();
        if old.len() > limit {
            old.sort_unstable_by_key(|(_, since_us)| **since_us);
            old.drain(limit / 2..old.len() - limit.div_ceil(2));
        }
        old.into_iter()
            .map(|((version, h1), since_us)| (version.clone(), H1::from_bytes(*h1), *since_us))
            .collect()
    }

    /// When a version with this content was staged, in µs since the Unix epoch.
    pub fn waits_since(&self, version: &ModuleVersion, zip_h1: H1) -> Option<i64> {
        self.waiting.lock().get(&(version.clone(), *zip_h1.as_bytes())).copied()
    }
}

/// What waited in the store when it was opened.
pub(crate) fn waiting_of(staged: Vec<Staged>) -> Waiting {
    let of = |staged: Staged| {
        let zip_h1 = staged.record.zip_h1?;
        Some(((staged.version, *zip_h1.as_bytes()), staged.record.first_seen_us))
    };
    staged.into_iter().filter_map(of).collect()
}

/// The `.info` of a version that was published at `published_us`.
fn info_of(version: &ModuleVersion, published_us: i64) -> Bytes {
    let seconds = published_us.div_euclid(1_000_000);
    let time = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let time = time.format(&Rfc3339).unwrap_or_default();
    // Neither a version nor a time has anything that JSON escapes.
    format!("{{\"Version\":\"{}\",\"Time\":\"{time}\"}}", version.version).into()
}

/// A zip that does not verify is the publisher's fault, not an origin's.
fn of_zip(error: ServeError) -> StageError {
    if let ServeError::BadContent { why, .. } = error {
        StageError::Invalid(why)
    } else {
        StageError::Failed(error)
    }
}

/// What passes through memory is kept nowhere.
fn to_disk(sink: &Sink) -> Result<(), StageError> {
    if sink.is_in_memory() { Err(StageError::NoRoom) } else { Ok(()) }
}

fn of_commit(error: CommitError) -> StageError {
    match error {
        CommitError::Conflict { .. } => StageError::Conflict(error.to_string()),
        CommitError::Store(error) if error.takes_nothing() => StageError::NoRoom,
        CommitError::Store(error) => StageError::Failed(from_store("stage a version", &error)),
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::Write as _;
    use std::task::Poll;
    use std::time::Duration;

    use futures_util::stream;

    use super::super::tests::{new_clock, proxy};
    use super::*;
    use crate::private::Private;
    use crate::serve::Ready;
    use crate::serve::tag::Kind;
    use crate::store::{StoreError, bed};

    /// A module zip that the clerk leaves to others to verify.
    fn module_zip() -> Bytes {
        let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        let options =
            zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        writer.start_file("example.com/a@v1.1.0/filler", options).expect("entry");
        writer.write_all(&vec![7; 100_000]).expect("content");
        writer.finish().expect("zip").into_inner().into()
    }

    #[tokio::test]
    async fn what_is_staged_for_somebody_who_has_given_up_waits_as_well() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let mut proxy = proxy(dir.path(), &new_clock());
        let settings = &mut Arc::get_mut(&mut proxy).expect("nobody else has it").settings;
        settings.private = Private::new("example.com/a".parse().expect("pattern"));
        let (version, zip) = (Arc::new(bed::version(1)), module_zip());
        let zip_size = zip.len() as u64;
        let publication = Publication { version: Arc::clone(&version), go_mod: Bytes::new(), zip_size };

        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let (release, released) = std::sync::mpsc::channel::<()>();
        let clerk = Arc::clone(&proxy.clerk);
        let occupied = tokio::spawn(async move {
            let work = clerk.run(move |_| {
                let _ = begun.send(());
                let _ = released.recv();
            });
            work.await
        });
        has_begun.await.expect("the clerk is at work");
        let mut staging = Box::pin(proxy.stage(publication, stream::iter([Ok(zip)])));
        let alone = Arc::strong_count(&proxy);
        let handing_in = async {
            while Arc::strong_count(&proxy) == alone {
                let polled = poll_fn(|context| Poll::Ready(staging.as_mut().poll(context))).await;
                assert!(polled.is_pending(), "the clerk does nothing else meanwhile");
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), handing_in).await.expect("the clerk is asked for it");
        drop(staging);
        drop(release);
        occupied.await.expect("join").expect("the clerk");
        // What was handed in before is done by then.
        proxy.clerk.run(|_| ()).await.expect("the clerk");
        let staged = proxy.layers.store.staged(10).expect("staged");
        let zip_h1 = staged.first().and_then(|staged| staged.record.zip_h1).expect("it is staged");
        assert!(proxy.waits_since(&version, zip_h1).is_some());
    }

    #[tokio::test]
    async fn what_may_be_staged_after_all_waits_and_what_is_held_is_read_again() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let proxy = proxy(dir.path(), &new_clock());
        let zip_h1 = H1::from_bytes([1; 32]);
        let (memory, held) = (&proxy.layers.memory, key(&Request::Zip(bed::version(3))));
        let ready = Ready::inline(Kind::Zip, Bytes::from_static(b"zip"), &[3; 32], false);
        memory.put_ready(&held, Arc::new(ready));
        for (number, staged, waits) in [
            (1, Ok(Staging::Staged), true),
            (2, Err(CommitError::Store(StoreError::Unwritable { what: "test", why: "test".into() })), true),
            (3, Ok(Staging::Held), false),
        ] {
            proxy.note_staged(&bed::version(number), zip_h1, &staged);
            assert_eq!(proxy.waits_since(&bed::version(number), zip_h1).is_some(), waits, "{number}");
        }
        assert!(memory.ready(&held).is_none());
    }
}

//! Taking in a zip: fetched in pieces, stored in chunks, hashed as it comes, verified before its tail leaves and
//! before its record becomes visible.

use std::sync::Arc;

use bytes::BytesMut;
use fail::fail_point;
use gomod::zip::{EntryDigests, ReadAt as _, ZipError, ZipSummary};
use gomod::{H1, ModuleVersion};

use super::checks::{Asked, Part};
use super::convert::from_fetch;
use super::error::ServeError;
use super::hasher::Hasher;
use super::metrics::RefusedContent;
use super::overflow::{Whole, no_room};
use super::prepare;
use super::proof::Proof;
use super::proxy::Proxy;
use super::ready::Ready;
use super::received::Received;
use super::search::Search;
use super::sink::{Places, Sink};
use super::spool::Spool;
use crate::store::{CHUNK_BYTES, Class, Patch, Verified, ZipManifest};
use crate::upstream::{FallThrough, FetchError, ZipStream};

/// Zips up to this size are verified in a few milliseconds, whatever they unpack to.
const SHORT_BYTES_MAX: u64 = 16 * 1024;

impl Proxy {
    /// Fetches the zip of `version`; `live` is told of the spool as soon as clients may read along.
    pub(super) async fn ingest(
        self: &Arc<Self>,
        version: &Arc<ModuleVersion>,
        live: &(dyn Fn(Arc<Spool>) + Send + Sync),
    ) -> Result<Arc<Ready>, ServeError> {
        let mut expected = Asked::begin(self, version);
        let mut search = Search::begin_zip(self, version);
        while search.goes_on() {
            let stream = match self.layers.upstream.fetch_zip(version, search.avoid()).await {
                Ok(stream) => stream,
                Err(error) => {
                    search.failed(&error)?;
                    continue;
                }
            };
            let (origin, then) = (stream.origin.clone(), stream.then);
            let mut reading = Reading { spool: None, is_open: false, broken: None, live };
            let outcome = self.take_in(version, stream, &mut expected, &mut reading).await;
            if let Some(spool) = &reading.spool {
                spool.end(outcome.as_ref().map(drop).map_err(Clone::clone));
            }
            let error = match outcome {
                Err(error @ ServeError::BadContent { .. }) => {
                    // Only what came whole would be refused again.
                    let has_changed = matches!(reading.broken, Some(FetchError::Changed { .. }));
                    let what = if has_changed { "part of a zip" } else { "zip" };
                    search.refuse(RefusedContent::Zip, what, origin, error.clone());
                    error
                }
                Err(error) if reading.broken.is_some() && then == FallThrough::OnAnyError => {
                    search.broke_off(origin, error.clone());
                    error
                }
                other => return other,
            };
            // Bytes that left cannot be taken back: those clients see a short body, the next request asks another
            // origin.
            if reading.has_released() {
                return Err(error);
            }
        }
        Err(search.end(|| ServeError::Internal { what: "fetch a zip".to_owned() }))
    }

    async fn take_in(
        self: &Arc<Self>,
        version: &Arc<ModuleVersion>,
        mut stream: ZipStream,
        expected: &mut Asked,
        reading: &mut Reading<'_>,
    ) -> Result<Arc<Ready>, ServeError> {
        let mut sink = expected.beside(Sink::open(self.places(), stream.length)).await??;
        if let (Some(length), Some(blob)) = (stream.length, sink.blob())
            && length > CHUNK_BYTES as u64
        {
            let lease = self.layers.store.lease(blob);
            reading.spool = Some(Arc::new(Spool::new(Arc::clone(version), lease, length)));
        }
        let mut hasher = Hasher::start();
        let mut open = BytesMut::new();
        'receiving: loop {
            // No more is fetched than it takes to know that nobody will vouch for it.
            let piece = reading.beside(expected, stream.next()).await?;
            let piece = piece.map_err(|error| {
                let told = from_fetch(&version.to_string(), &error);
                reading.broken = Some(error);
                told
            })?;
            let Some(mut piece) = piece else { break };
            while !piece.is_empty() {
                let part = piece.split_to(piece.len().min(CHUNK_BYTES - open.len()));
                if open.capacity() == 0 {
                    open.reserve(first_capacity(stream.length));
                }
                open.extend_from_slice(&part);
                if let Some(spool) = &reading.spool {
                    spool.push(part).await;
                }
                if open.len() == CHUNK_BYTES {
                    let chunk = std::mem::take(&mut open).freeze();
                    // Nothing more is read from the origin until there is a place for what was.
                    let place = self.transit.place().await;
                    let wanted = hasher.push(chunk.clone(), place.clone()).await;
                    sink.append(chunk).await?;
                    drop(place);
                    let kept = sink.settle().await?;
                    if let Some(spool) = &reading.spool {
                        spool.chunk_is_there(kept);
                    }
                    if !wanted {
                        break 'receiving;
                    }
                }
            }
        }
        if !open.is_empty() {
            let chunk = open.freeze();
            hasher.push(chunk.clone(), None).await;
            sink.append(chunk).await?;
            let kept = sink.settle().await?;
            if let Some(spool) = &reading.spool {
                spool.last_chunk(kept);
            }
        }
        let (sha256, digests) = hasher.finish(version).await?;
        let verifying = self.verify_zip(version, sink.received(), digests);
        let summary = reading.beside(expected, verifying).await??;
        let verified = expected.get().await?.check(version, Part::Zip, &summary.h1)?;
        // Where the checksum database vouches for both, they need not agree; where nobody does, a tag that moved
        // between two requests would show here.
        let go_mod_h1 = summary.go_mod.filter(|_| verified == Verified::Unchecked);
        let proof = Proof {
            sha256,
            h1: summary.h1,
            verified,
            origin: stream.origin.to_string(),
            class: Class::Cache,
        };
        if let Some(spool) = &reading.spool {
            sink.join().inspect(|whole| spool.is_joined(whole));
            spool.prove(proof.clone());
        }
        self.keep(version, sink, proof, go_mod_h1).await
    }

    pub(super) fn places(&self) -> Places {
        Places {
            store: Arc::clone(&self.layers.store),
            clerk: Arc::clone(&self.clerk),
            memory: Arc::clone(&self.layers.memory),
            overflow: self.overflow.clone(),
        }
    }

    pub(super) async fn verify_zip(
        &self,
        version: &Arc<ModuleVersion>,
        received: Received,
        digests: EntryDigests,
    ) -> Result<ZipSummary, ServeError> {
        let version = Arc::clone(version);
        let short = received.len() <= SHORT_BYTES_MAX;
        let work = move || {
            gomod::zip::verify(&received, &version, &digests)
                .map_err(|error| not_a_module_zip(&version, &error))
        };
        let verified = if short {
            self.clerk.run(move |_| work()).await
        } else {
            tokio::task::spawn_blocking(work).await.ok()
        };
        verified.unwrap_or_else(|| Err(ServeError::Internal { what: "verify a zip".to_owned() }))
    }

    /// Makes the zip visible, and ready.
    pub(super) async fn keep(
        self: &Arc<Self>,
        version: &Arc<ModuleVersion>,
        mut sink: Sink,
        proof: Proof,
        go_mod_h1: Option<H1>,
    ) -> Result<Arc<Ready>, ServeError> {
        let private = self.is_private(&version.module);
        let (whole, size) = (sink.whole(), sink.bytes());
        let Proof { sha256, h1, verified, origin, class: told } = proof;
        let class = self.class_of_copy(&version.module, told);
        let mut patch = Patch { go_mod_h1, verified, origin, class, ..Patch::default() };
        let wanted = Arc::clone(version);
        let sealed = self.clerk.run(move |store| {
            let Some(sealed) = sink.seal(store, sha256)? else { return Ok(None) };
            // Before anything names the blob, so that eviction never comes first.
            let (removals, lease) = (store.removals(), store.lease(sealed.id()));
            patch.zip = Some((sealed, h1));
            Ok(Some((removals, lease, store.commit(&wanted, patch, class.durability()))))
        });
        let sealed =
            sealed.await.unwrap_or_else(|| Err(ServeError::Internal { what: "store a zip".to_owned() }))?;
        let stored = match sealed {
            Some((removals, lease, committed)) => {
                Some((removals, lease, self.committed(version, Some(committed))?))
            }
            None => None,
        };
        let (removals, lease, record) = match stored {
            Some((removals, lease, Some(record))) => (removals, lease, record),
            // It was not stored: it is served this once, from where its bytes are.
            Some((_, lease, None)) if whole.is_none() => {
                let manifest = ZipManifest { blob: lease.blob(), size, sha256, h1 };
                return Ok(prepare::zip(version, &manifest, lease, None, private));
            }
            _ => {
                let bytes = self.overflow.hold(whole.ok_or_else(no_room)?).await?;
                return Ok(Arc::new(Ready::inline(super::tag::Kind::Zip, bytes, &sha256, private)));
            }
        };
        let gone =
            || ServeError::Internal { what: format!("the zip of {version} was evicted as it was stored") };
        fail_point!("serve::ingest::after_commit");
        if told != Class::Published {
            self.layers.checks.stored(version, verified);
        }
        let (manifest, lease) = match record.zip {
            Some(manifest) if manifest.blob == lease.blob() => (manifest, lease),
            // The same bytes were stored before, as another blob.
            _ => {
                let wanted = Arc::clone(version);
                let opened = self.with_store("open a zip", move |store| store.open_zip(&wanted)).await?;
                let zip = opened.ok_or_else(gone)?;
                (zip.manifest().clone(), zip.lease().clone())
            }
        };
        let ready = prepare::zip(version, &manifest, lease, whole.map(Whole::into_bytes), private);
        // Whoever reads a longer one along as it arrives does so without this.
        if ready.content.slice().is_some() {
            ready.waits_for_first_use();
        }
        self.remember_zip(version, &ready, manifest.blob, removals).await;
        Ok(ready)
    }
}

/// Who reads along while a zip arrives: nobody before it is known what it must be. To whom an answer has begun nothing can be said any
/// more, and that nobody vouches for a version has to be said.
struct Reading<'a> {
    /// Of a zip that is long enough.
    spool: Option<Arc<Spool>>,
    /// Whether it is known what the zip must be, and clients were told of the spool.
    is_open: bool,
    /// Why the origin did not send all of it.
    broken: Option<FetchError>,
    live: &'a (dyn Fn(Arc<Spool>) + Send + Sync),
}

impl Reading<'_> {
    /// Does `work`, and opens the spool as soon as it is known that there is something to compare the zip with; if there is nothing,
    /// that is the end.
    async fn beside<T>(
        &mut self,
        expected: &mut Asked,
        work: impl Future<Output = T>,
    ) -> Result<T, ServeError> {
        tokio::pin!(work);
        if !self.is_open {
            tokio::select! {
                // What is known already is heeded before any more work is done.
                biased;
                known = expected.get() => {
                    known?;
                    self.open();
                }
                done = &mut work => return Ok(done),
            }
        }
        Ok(work.await)
    }

    fn open(&mut self) {
        self.is_open = true;
        if let Some(spool) = &self.spool {
            (self.live)(Arc::clone(spool));
        }
    }

    /// Whether any byte may have left for a client.
    fn has_released(&self) -> bool {
        self.is_open && self.spool.as_ref().is_some_and(|spool| spool.has_released())
    }
}

pub(super) fn not_a_module_zip(version: &ModuleVersion, error: &ZipError) -> ServeError {
    ServeError::BadContent {
        what: version.to_string().into(),
        why: format!("its zip is not a module zip: {error}"),
    }
}

/// Small zips come whole in their first chunk; do not reserve a chunk for each of them.
fn first_capacity(length: Option<u64>) -> usize {
    length
        .and_then(|length| usize::try_from(length).ok())
        .map_or(CHUNK_BYTES, |length| length.min(CHUNK_BYTES))
}

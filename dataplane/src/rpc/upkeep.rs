//! What control nodes have this node do with its store, for operators. Only control nodes are answered.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use gomod::{GlobPatterns, ModulePath, ModuleVersion, Version};
use identity::Caller;
use parking_lot::Mutex;
use proto::data::v1 as pb;
use proto::data::v1::store_service_server::StoreService;
use proto::{ErrorCode, Fault};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::scrubbing::scrub_and_tell;
use super::staging;
use crate::housekeeping::Housekeeping;
use crate::peers::{Peers, of_name, to_name};
use crate::replicate::{Repaired, SlotSync};
use crate::serve::{Proxy, ServeError, Spared, Verdict, Wanted};
use crate::store::evict::begin_reclaiming;
use crate::store::{Class, Store, StoreError, Verified, VersionRecord};

/// Bytes a second that a scrub reads, unless it is told otherwise.
const SCRUB_RATE: u64 = 100 << 20;
/// Versions on a page, unless it is told otherwise, and at most.
const PAGE: usize = 500;
const PAGE_MAX: usize = 1000;
/// Records that are looked at for one page.
const LOOKED_AT_MAX: usize = 20_000;
/// Between two words on how far a repair is.
const TELL_INTERVAL: Duration = Duration::from_millis(500);
/// Why a repair ended before its end.
const LAYOUT_CHANGED: &str = "the layout changed meanwhile: repair again";
/// How long a scrub waits for the end of another one, whose listener may be gone.
const TURN_WAIT: Duration = Duration::from_secs(2);

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// See the head of this file.
pub struct Upkeep {
    pub(crate) proxy: Arc<Proxy>,
    pub(crate) peers: Arc<Peers>,
    pub(crate) store: Arc<Store>,
    pub(crate) housekeeping: Arc<Housekeeping>,
    pub(crate) sync: Arc<SlotSync>,
    /// Held by the scrub that runs for operators.
    pub(crate) scrubbing: Arc<Semaphore>,
}

impl Upkeep {
    fn check<T>(&self, request: &Request<T>) -> Result<(), Status> {
        match request.extensions().get::<Caller>() {
            Some(Caller::Member(id)) if self.peers.knows_member(*id) => Ok(()),
            Some(Caller::Member(id)) => {
                let why = format!(
                    "control node {id} is not known here; it was removed, or this node has not heard of it yet"
                );
                Err(Fault::new(ErrorCode::PermissionDenied, why).into())
            }
            Some(Caller::Node(_) | Caller::Operator(_) | Caller::Anonymous) | None => {
                Err(Fault::new(ErrorCode::Unauthenticated, "only control nodes are answered here").into())
            }
        }
    }

    async fn with_store<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Status> {
        let store = Arc::clone(&self.store);
        match tokio::task::spawn_blocking(move || work(&store)).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(Fault::new(ErrorCode::Internal, error.to_string()).into()),
            Err(_) => Err(Fault::new(ErrorCode::Internal, "the work on the store died").into()),
        }
    }
}

#[tonic::async_trait]
impl StoreService for Upkeep {
    type ScrubStoreStream = Answers<pb::ScrubStoreResponse>;
    type RepairStoreStream = Answers<pb::RepairStoreResponse>;

    async fn get_usage(
        &self,
        request: Request<pb::GetUsageRequest>,
    ) -> Result<Response<pb::GetUsageResponse>, Status> {
        self.check(&request)?;
        let capacity_bytes = self.housekeeping.policy.capacity_bytes;
        let usage = self.with_store(move |store| usage(store, capacity_bytes)).await?;
        Ok(Response::new(pb::GetUsageResponse { usage: Some(usage) }))
    }

    async fn list_versions(
        &self,
        request: Request<pb::ListVersionsRequest>,
    ) -> Result<Response<pb::ListVersionsResponse>, Status> {
        self.check(&request)?;
        let asked = Asked::read(&request.into_inner())?;
        self.with_store(move |store| asked.page(store)).await.map(Response::new)
    }

    async fn remove_versions(
        &self,
        request: Request<pb::RemoveVersionsRequest>,
    ) -> Result<Response<pb::RemoveVersionsResponse>, Status> {
        self.check(&request)?;
        let pb::RemoveVersionsRequest { module_path, version, published } = request.into_inner();
        let module = ModulePath::parse(&module_path).map_err(invalid)?;
        let version = (!version.is_empty()).then(|| Version::parse(&version)).transpose().map_err(invalid)?;
        let spared = if published { Spared::Nothing } else { Spared::Published };
        let purged = self.proxy.purge(&module, version, spared).await.map_err(refused)?;
        let (version_count, freed_bytes) = (purged.versions, purged.freed_bytes);
        Ok(Response::new(pb::RemoveVersionsResponse { version_count, freed_bytes }))
    }

    async fn verify_version(
        &self,
        request: Request<pb::VerifyVersionRequest>,
    ) -> Result<Response<pb::VerifyVersionResponse>, Status> {
        self.check(&request)?;
        let version = version(request.into_inner().name.as_ref())?;
        let answer = match self.proxy.verify(&version).await.map_err(refused)? {
            Some(found) => pb::VerifyVersionResponse {
                held: found.held,
                bytes: found.bytes,
                problems: found.problems,
                set_aside: found.set_aside,
                checksum_database: match found.verdict {
                    Verdict::Listed => pb::ChecksumVerdict::Listed,
                    Verdict::NotAsked => pb::ChecksumVerdict::NotAsked,
                    Verdict::Refused => pb::ChecksumVerdict::Refused,
                    Verdict::Unavailable => pb::ChecksumVerdict::Unavailable,
                }
                .into(),
            },
            None => pb::VerifyVersionResponse::default(),
        };
        Ok(Response::new(answer))
    }

    async fn warm_version(
        &self,
        request: Request<pb::WarmVersionRequest>,
    ) -> Result<Response<pb::WarmVersionResponse>, Status> {
        self.check(&request)?;
        let pb::WarmVersionRequest { name, go_mod_only } = request.into_inner();
        let wanted = if go_mod_only { Wanted::GoMod } else { Wanted::Everything };
        let warmed = self.proxy.warm(&version(name.as_ref())?, wanted).await.map_err(refused)?;
        Ok(Response::new(pb::WarmVersionResponse {
            was_held: warmed.was_held,
            bytes: warmed.bytes,
            zip_h1: text_of(warmed.zip_h1),
            go_mod_h1: text_of(warmed.go_mod_h1),
        }))
    }

    async fn stage_version(
        &self,
        request: Request<Streaming<pb::StageVersionRequest>>,
    ) -> Result<Response<pb::StageVersionResponse>, Status> {
        self.check(&request)?;
        staging::stage(&self.proxy, request.into_inner()).await.map(Response::new)
    }

    async fn reveal_version(
        &self,
        request: Request<pb::RevealVersionRequest>,
    ) -> Result<Response<pb::RevealVersionResponse>, Status> {
        self.check(&request)?;
        staging::reveal(&self.proxy, request.get_ref()).await.map(Response::new)
    }

    async fn scrub_store(
        &self,
        request: Request<pb::ScrubStoreRequest>,
    ) -> Result<Response<Self::ScrubStoreStream>, Status> {
        self.check(&request)?;
        // Two at once would read twice as much a second as either was told to. One whose listener is gone ends at once; who began it may be
        // asking again through another control node.
        let turn = tokio::time::timeout(TURN_WAIT, Arc::clone(&self.scrubbing).acquire_owned());
        let Ok(Ok(turn)) = turn.await else {
            let fault = Fault::new(ErrorCode::WrongState, "a scrub is under way on this node");
            return Err(fault.hint("wait for its end; whoever began it is shown how far it is").into());
        };
        let rate = match request.into_inner().bytes_per_second {
            0 => SCRUB_RATE,
            rate => rate,
        };
        let bytes_total = self.with_store(|store| store.usage().map(|usage| usage.zip_bytes)).await?;
        let (answers, stream) = mpsc::channel(1);
        let (proxy, store) = (Arc::clone(&self.proxy), Arc::clone(&self.store));
        tokio::spawn(async move {
            let _turn = turn;
            let scrubbing = scrub_and_tell(&proxy, &store, rate, bytes_total, &answers);
            tokio::select! {
                // The walk ends when nobody hears, whatever it waits for.
                () = answers.closed() => {}
                () = scrubbing => {}
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn collect_garbage(
        &self,
        request: Request<pb::CollectGarbageRequest>,
    ) -> Result<Response<pb::CollectGarbageResponse>, Status> {
        self.check(&request)?;
        let housekeeping = Arc::clone(&self.housekeeping);
        let collecting = self.with_store(move |store| {
            let Some(_turn) = begin_reclaiming(store) else { return Ok(None) };
            let before = store_bytes(store)?;
            let collected = housekeeping.collect_all()?;
            Ok(Some((before, collected, store_bytes(store)?)))
        });
        // Who runs out of time leaves it to end by itself; the next would only do the same work once more.
        let Some((before, collected, after)) = collecting.await? else {
            let fault = Fault::new(ErrorCode::WrongState, "a garbage collection is under way on this node");
            return Err(fault.hint("`goproxyctl cache usage` shows how much garbage is left").into());
        };
        Ok(Response::new(pb::CollectGarbageResponse {
            evicted_count: collected.evicted,
            evicted_bytes: collected.evicted_bytes,
            store_bytes_before: before,
            store_bytes_after: after,
        }))
    }

    async fn repair_store(
        &self,
        request: Request<pb::RepairStoreRequest>,
    ) -> Result<Response<Self::RepairStoreStream>, Status> {
        self.check(&request)?;
        let (answers, stream) = mpsc::channel(1);
        let sync = Arc::clone(&self.sync);
        tokio::spawn(async move {
            let so_far = Mutex::new(Repaired::default());
            let mut repairing = std::pin::pin!(sync.repair(&so_far));
            loop {
                let done = tokio::time::timeout(TELL_INTERVAL, &mut repairing).await.is_ok();
                let answer = repaired(&so_far.lock(), done);
                if answers.send(Ok(answer)).await.is_err() || done {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }
}

/// A page that is asked for.
struct Asked {
    patterns: Option<GlobPatterns>,
    module: Option<ModulePath>,
    after: Option<ModuleVersion>,
    count: usize,
}

impl Asked {
    fn read(request: &pb::ListVersionsRequest) -> Result<Self, Status> {
        let pb::ListVersionsRequest { pattern, module_path, page_size, page_token } = request;
        Ok(Self {
            patterns: (!pattern.is_empty()).then(|| pattern.parse()).transpose().map_err(invalid)?,
            module: (!module_path.is_empty())
                .then(|| ModulePath::parse(module_path))
                .transpose()
                .map_err(invalid)?,
            after: (!page_token.is_empty())
                .then(|| of_token(page_token).ok_or_else(|| invalid("page_token is of no page")))
                .transpose()?,
            count: match *page_size as usize {
                0 => PAGE,
                size => size.min(PAGE_MAX),
            },
        })
    }

    fn page(&self, store: &Store) -> Result<pb::ListVersionsResponse, StoreError> {
        let (mut versions, mut last, mut more) = (Vec::new(), None, false);
        let see = |version: ModuleVersion, record: Result<VersionRecord, StoreError>| {
            if self.module.as_ref().is_some_and(|module| *module != version.module) {
                return false;
            }
            if versions.len() == self.count {
                more = true;
                return false;
            }
            last = Some(version.clone());
            let wanted = self.patterns.as_ref().is_none_or(|patterns| patterns.matches(&version.module));
            // What cannot be read is set aside when it is asked for. Of a stub nothing is held.
            if let (true, Ok(record)) = (wanted, record)
                && !record.is_stub()
            {
                versions.push(stored(&version, &record));
            }
            true
        };
        let looked_at = match (&self.after, &self.module) {
            (None, Some(module)) => store.see_records_of(module, LOOKED_AT_MAX, see)?,
            (after, _) => store.see_records_after(after.as_ref(), LOOKED_AT_MAX, see)?,
        };
        more |= looked_at == LOOKED_AT_MAX;
        let next = last.filter(|_| more).map(|last| last.to_string());
        Ok(pb::ListVersionsResponse { versions, next_page_token: next.unwrap_or_default() })
    }
}

fn of_token(token: &str) -> Option<ModuleVersion> {
    let (module, version) = token.rsplit_once('@')?;
    ModuleVersion::new(ModulePath::parse(module).ok()?, Version::parse(version).ok()?).ok()
}

fn stored(version: &ModuleVersion, record: &VersionRecord) -> pb::StoredVersion {
    let class = match record.class {
        Class::Cache => "cache",
        Class::Retained => "retained",
        Class::Published => "published",
    };
    pb::StoredVersion {
        name: Some(to_name(version)),
        info: record.info.is_some(),
        go_mod: record.go_mod.is_some(),
        zip_size: record.zip.as_ref().map_or(0, |zip| zip.size),
        zip_h1: text_of(record.zip_h1),
        go_mod_h1: text_of(record.go_mod_h1),
        origin: record.origin.clone(),
        verified: record.verified == Verified::ChecksumDatabase,
        class: class.to_owned(),
        first_seen_time: Some(time(record.first_seen_us)),
    }
}

fn store_bytes(store: &Store) -> Result<u64, StoreError> {
    let usage = store.usage()?;
    Ok(usage.chunk_disk_bytes.saturating_add(usage.meta_disk_bytes))
}

fn usage(store: &Store, capacity_bytes: u64) -> Result<pb::StoreUsage, StoreError> {
    let usage = store.usage()?;
    let file_system = usage.file_system;
    Ok(pb::StoreUsage {
        version_count: usage.records,
        zip_count: usage.zips,
        zip_bytes: usage.zip_bytes,
        evictable_bytes: usage.evictable_bytes,
        capacity_bytes,
        store_bytes: usage.store_bytes(),
        garbage_bytes: usage.garbage_bytes(),
        disk_bytes: file_system.used_bytes.saturating_add(file_system.available_bytes),
        disk_free_bytes: file_system.available_bytes,
        quarantined_count: store.quarantined_count()?,
    })
}

fn repaired(so_far: &Repaired, done: bool) -> pb::RepairStoreResponse {
    pb::RepairStoreResponse {
        node_count: so_far.nodes,
        taken_count: so_far.taken,
        taken_bytes: so_far.taken_bytes,
        failed_count: so_far.failed,
        unreachable_nodes: so_far.unreachable.iter().map(ToString::to_string).collect(),
        done,
        problem: if so_far.broken_off { LAYOUT_CHANGED.to_owned() } else { String::new() },
    }
}

fn time(us: i64) -> prost_types::Timestamp {
    let nanos = i32::try_from(us.rem_euclid(1_000_000) * 1_000).unwrap_or_default();
    prost_types::Timestamp { seconds: us.div_euclid(1_000_000), nanos }
}

fn text_of(h1: Option<gomod::H1>) -> String {
    h1.map(|h1| h1.to_string()).unwrap_or_default()
}

pub(super) fn version(name: Option<&pb::VersionName>) -> Result<ModuleVersion, Status> {
    name.and_then(of_name).ok_or_else(|| invalid("name is of no version"))
}

#[expect(clippy::needless_pass_by_value, reason = "it is given to map_err")]
pub(super) fn invalid(why: impl ToString) -> Status {
    Fault::new(ErrorCode::InvalidArgument, why.to_string()).into()
}

/// What the ladder refused, in the words that a developer would be told.
#[expect(clippy::needless_pass_by_value, reason = "it is given to map_err")]
pub(super) fn refused(error: ServeError) -> Status {
    let code = match &error {
        ServeError::NotFound { .. } | ServeError::NotHeld { .. } | ServeError::Gone { .. } => {
            ErrorCode::NotFound
        }
        ServeError::Refused { .. } => ErrorCode::WrongState,
        ServeError::BadContent { .. } | ServeError::Unverified { .. } => ErrorCode::DataLoss,
        ServeError::OriginUnavailable { .. }
        | ServeError::OriginTimeout { .. }
        | ServeError::OriginBusy { .. }
        | ServeError::Unavailable { .. }
        | ServeError::Overloaded => ErrorCode::Unavailable,
        ServeError::Malformed { .. }
        | ServeError::MethodRefused
        | ServeError::BodyRefused
        | ServeError::RangeRefused { .. }
        | ServeError::PreconditionFailed
        | ServeError::Internal { .. } => ErrorCode::Internal,
    };
    Fault::new(code, error.to_string()).into()
}

#[cfg(test)]
mod tests {
    use common::clock::SystemClock;

    use super::*;
    use crate::store::{Durability, Patch, StoreOptions};

    #[test]
    fn what_is_known_by_its_hashes_alone_is_not_listed() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), StoreOptions::default(), Arc::new(SystemClock)).unwrap();
        let [left, held] = ["v1.0.0", "v1.1.0"].map(|version| {
            let module = ModulePath::parse("a.example/m").unwrap();
            let version = ModuleVersion::new(module, Version::parse(version).unwrap()).unwrap();
            let patch = Patch { go_mod: Some("module a.example/m\n".into()), ..Patch::default() };
            store.commit(&version, patch, Durability::Buffered).unwrap();
            version
        });
        assert!(store.remove_content(&left).unwrap().existed);
        let page = Asked::read(&pb::ListVersionsRequest::default()).unwrap().page(&store).unwrap();
        let listed: Vec<_> = page.versions.into_iter().map(|stored| stored.name).collect();
        assert_eq!(listed, [Some(to_name(&held))]);
    }

    #[test]
    fn a_repair_that_another_layout_broke_off_says_so() {
        let so_far = Repaired { taken: 3, ..Repaired::default() };
        assert_eq!(repaired(&so_far, true).problem, "");
        let broken_off = Repaired { broken_off: true, ..so_far };
        let told = repaired(&broken_off, true);
        assert_eq!((told.taken_count, told.problem.as_str()), (3, LAYOUT_CHANGED));
    }
}

//! The ladder on a real store: what happens between its rungs.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::clock::{Clock as _, ManualClock};
use gomod::{H1, ModulePath, ModuleVersion, Query, Request, Version};
use sha2::{Digest as _, Sha256};

use super::error::ServeError;
use super::prepare;
use super::private_lists::Presence;
use super::proxy::key;
use super::{
    Answer, Asker, BlobReader, Checks, Layers, Memory, Mode, Proxy, ProxySettings, ServeFamilies,
    WhenUnavailable, forget,
};
use crate::peers::Peers;
use crate::private::Private;
use crate::store::bed::spoil;
use crate::store::evict::{Policy, run_once};
use crate::store::{Access, CHUNK_BYTES, Class, Durability, Patch, Scope, Store, StoreOptions, ZipManifest};
use crate::upstream::{Clients, Upstream, UpstreamMetrics, UpstreamOptions};

fn version(number: u32) -> Arc<ModuleVersion> {
    let module = ModulePath::parse("example.com/a").expect("module path");
    let version = Version::parse(&format!("v1.{number}.0")).expect("version");
    Arc::new(ModuleVersion { module, version })
}

pub(super) fn new_clock() -> Arc<ManualClock> {
    // 2026-01-01T00:00:00Z
    Arc::new(ManualClock::new(1_767_225_600_000_000))
}

/// A ladder on a new store in `dir`, in front of the directory `dir/origin`.
pub(super) fn proxy(dir: &Path, clock: &Arc<ManualClock>) -> Arc<Proxy> {
    let options = StoreOptions { reserve_bytes: 0, full_percent: 100, ..StoreOptions::default() };
    let store = Store::open(&dir.join("store"), options, clock.clone()).expect("open the store");
    let (store, memory) = (Arc::new(store), Arc::new(Memory::new(16 << 20)));
    let chain = format!("file://{}", dir.join("origin").display()).parse().expect("chain");
    let options = UpstreamOptions::default();
    let clients = Clients::new(None).expect("clients");
    let layers = Layers {
        memory: Arc::clone(&memory),
        store: Arc::clone(&store),
        peers: Arc::new(Peers::new(clock.clone(), Arc::default())),
        offers: Arc::default(),
        upstream: Upstream::new(chain, options, clients, clock.clone(), UpstreamMetrics::default())
            .expect("upstream"),
        checks: Checks::new(None, WhenUnavailable::default(), Private::default()),
        clock: clock.clone(),
        blobs: Arc::new(BlobReader::new(store, memory, Box::new(|_, _| {}), 4)),
        metrics: Arc::new(ServeFamilies::default()),
    };
    let settings = ProxySettings {
        offline: false,
        private: Private::default(),
        list_lifetime: Duration::from_mins(1),
        transit_chunks: 4,
    };
    Arc::new(Proxy::new(settings, layers))
}

/// Stores a zip of two chunks.
fn put(store: &Store, version: &ModuleVersion) -> ZipManifest {
    let chunk = Bytes::from(Sha256::digest(version.to_string()).repeat(CHUNK_BYTES / 32));
    let mut writer = store.begin_blob().expect("begin a blob");
    writer.append(chunk.clone()).expect("append");
    writer.append(chunk.clone()).expect("append");
    let sum = Sha256::new().chain_update(&chunk).chain_update(&chunk).finalize().into();
    let zip = Some((writer.seal(sum), H1::from_bytes([1; 32])));
    let record = store.commit(version, Patch { zip, ..Patch::default() }, Durability::Buffered);
    record.expect("commit").zip.expect("held")
}

fn remembered(proxy: &Proxy, version: &ModuleVersion) -> bool {
    proxy.layers.memory.ready(&key(&Request::Zip(version.clone()))).is_some()
}

/// What eviction does, and housekeeping after it.
fn evict(proxy: &Proxy, version: &ModuleVersion) {
    proxy.layers.store.remove(version, Scope::Zip).expect("remove");
    proxy.layers.store.collect().expect("collect");
    forget(&proxy.layers.memory, version);
}

#[tokio::test]
async fn a_zip_that_left_while_it_was_made_ready_is_not_remembered() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let proxy = proxy(dir.path(), &new_clock());
    let store = &proxy.layers.store;
    let wanted = version(1);
    for (leaving, stays) in [(None, true), (Some(version(2)), true), (Some(version(1)), false)] {
        put(store, &version(2));
        let manifest = put(store, &wanted);
        let removals = store.removals();
        let ready = prepare::zip(&wanted, &manifest, store.lease(manifest.blob), None, false);
        if let Some(leaving) = &leaving {
            evict(&proxy, leaving);
        }
        proxy.remember_zip(&wanted, &ready, manifest.blob, removals).await;
        assert_eq!(remembered(&proxy, &wanted), stays, "{leaving:?} left");
    }
}

/// Whatever could be done about it on the disk: here nothing can.
#[tokio::test]
async fn a_zip_that_cannot_be_read_is_not_found_in_memory_again() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let proxy = proxy(dir.path(), &new_clock());
    let store = &proxy.layers.store;
    let wanted = version(1);
    let manifest = put(store, &wanted);
    evict(&proxy, &wanted);
    let ready = prepare::zip(&wanted, &manifest, store.lease(manifest.blob), None, false);
    proxy.remember_zip(&wanted, &ready, manifest.blob, store.removals()).await;
    assert!(remembered(&proxy, &wanted));
    let answer = proxy.zip((*wanted).clone(), Mode::CachedOnly, false, Asker::Client).await;
    assert!(matches!(answer, Err(ServeError::NotHeld { .. })));
    assert!(!remembered(&proxy, &wanted));
}

#[cfg(feature = "failpoints")]
#[tokio::test]
async fn a_zip_that_is_evicted_as_it_is_stored_is_served_and_not_remembered() {
    use super::sink::{Places, Sink};
    use crate::serve::Proof;
    use crate::store::Verified;

    let dir = tempfile::tempdir().expect("temporary folder");
    let proxy = proxy(dir.path(), &new_clock());
    let wanted = version(1);
    let folder = dir.path().join("origin/example.com/a/@v");
    std::fs::create_dir_all(&folder).expect("create");
    let mut zip = vec![7; 2 * CHUNK_BYTES];
    zip[..4].copy_from_slice(b"PK\x03\x04");
    std::fs::write(folder.join("v1.1.0.zip"), &zip).expect("write");
    let stream = proxy.layers.upstream.fetch_zip(&wanted, &[]).await.expect("fetch");
    // Not the memory that is served from: the chunks are to come from the store.
    let places = Places { memory: Arc::new(Memory::new(1 << 20)), ..proxy.places() };
    let mut sink = Sink::open(places, stream.length).await.expect("open");
    for chunk in zip.chunks(CHUNK_BYTES) {
        sink.append(Bytes::copy_from_slice(chunk)).await.expect("append");
    }
    let evicting = (Arc::clone(&proxy), Arc::clone(&wanted));
    let point = "serve::ingest::after_commit";
    fail::cfg_callback(point, move || evict(&evicting.0, &evicting.1)).expect("failpoint");
    let proof = Proof {
        sha256: Sha256::digest(&zip).into(),
        h1: H1::from_bytes([1; 32]),
        verified: Verified::Unchecked,
        origin: stream.origin.to_string(),
        class: crate::store::Class::Cache,
    };
    let ready = proxy.keep(&wanted, sink, proof, None).await;
    fail::remove(point);
    let super::Content::Blob(blob) = &ready.expect("kept").content else { panic!("it is in memory") };
    proxy.layers.store.collect().expect("collect");
    for (number, wanted) in (0..).zip(zip.chunks(CHUNK_BYTES)) {
        let chunk = proxy.layers.store.chunk(blob.lease.blob(), number).expect("a chunk under lease");
        assert!(chunk == wanted, "chunk {number}");
    }
    assert!(proxy.layers.store.open_zip(&wanted).expect("open").is_none());
    assert!(!remembered(&proxy, &wanted));
}

/// Zips that are asked for once, by whoever they were fetched for, do not push out what is asked for again.
#[tokio::test]
async fn a_small_zip_stays_in_memory_from_its_second_use_on() {
    use super::sink::Sink;
    use crate::serve::Proof;
    use crate::store::Verified;

    let dir = tempfile::tempdir().expect("temporary folder");
    let proxy = proxy(dir.path(), &new_clock());
    let folder = dir.path().join("origin/example.com/a/@v");
    std::fs::create_dir_all(&folder).expect("create");
    for (number, is_fetched_ahead) in [(1, false), (2, true)] {
        let (wanted, zip) = (version(number), Bytes::from(format!("PK\x03\x04{number:2000}")));
        std::fs::write(folder.join(format!("{}.zip", wanted.version)), &zip).expect("write");
        let stream = proxy.layers.upstream.fetch_zip(&wanted, &[]).await.expect("fetch");
        let mut sink = Sink::open(proxy.places(), stream.length).await.expect("open");
        sink.append(zip.clone()).await.expect("append");
        let proof = Proof {
            sha256: Sha256::digest(&zip).into(),
            h1: H1::from_bytes([1; 32]),
            verified: Verified::Unchecked,
            origin: stream.origin.to_string(),
            class: Class::Cache,
        };
        let fetched = proxy.keep(&wanted, sink, proof, None).await.expect("kept");
        assert!(remembered(&proxy, &wanted), "whoever it was fetched for may ask later");
        let path = key(&Request::Zip((*wanted).clone()));
        if is_fetched_ahead {
            proxy.touch(&path, &fetched);
        } else {
            proxy.touch_fetched(&path, &fetched);
        }
        assert!(!remembered(&proxy, &wanted));
        assert_eq!(
            proxy.layers.store.hits(&wanted),
            0,
            "a scan of what nobody asks for twice would push out what is hot"
        );
        for _ in 0..2 {
            let held = proxy.held_zip(&wanted).await.expect("readable").expect("held");
            assert!(remembered(&proxy, &wanted));
            proxy.touch(&path, &held);
            // Whoever was answered late with what was fetched takes nothing away.
            proxy.touch_fetched(&path, &fetched);
            assert!(remembered(&proxy, &wanted));
        }
        assert!(proxy.layers.store.hits(&wanted) > 0);
    }
}

/// Retention keeps what is asked for, whichever file of it.
#[tokio::test]
async fn use_of_a_text_is_told_to_retention_once_an_hour() {
    let (dir, clock) = (tempfile::tempdir().expect("temporary folder"), new_clock());
    let proxy = proxy(dir.path(), &clock);
    let store = &proxy.layers.store;
    for (number, request) in [
        (1, Request::Mod((*version(1)).clone())),
        (2, Request::Info(version(2).module.clone(), Query::Version(version(2).version.clone()))),
    ] {
        let used = version(number);
        let patch = Patch {
            info: Some(Bytes::from_static(b"{}")),
            go_mod: Some(Bytes::from_static(b"module example.com/a\n")),
            ..Patch::default()
        };
        store.commit(&used, patch, Durability::Buffered).expect("commit");
        let answer =
            proxy.answer(request.clone(), Mode::CachedOnly, false, Asker::Client).await.expect("held");
        let Answer::Ready { ready, .. } = answer else { panic!("{request} is not there") };
        // A hit in memory has the path with its slash, any other without.
        let paths = [key(&request), request.to_string()];
        for (path, minutes, told) in [(0, 0, 1), (1, 10, 0), (1, 50, 1), (0, 10, 0), (0, 50, 1)] {
            clock.advance(Duration::from_mins(minutes));
            // Housekeeping moves the hour on.
            assert_eq!(store.flush_touches().expect("flush"), 0);
            proxy.touch(&paths[path], &ready);
            assert_eq!(store.flush_touches().expect("flush"), told, "{path} after {minutes} minutes");
        }
        let access = store.last_access(&used).expect("access");
        assert_eq!(access, Access { any_us: clock.now_us(), zip_us: 0 });
    }
}

/// Damage that the collection of garbage meets stops the store: not ready, but what is held is still served.
#[tokio::test]
async fn a_node_whose_store_has_stopped_is_not_ready_until_it_is_healed() {
    let (dir, clock) = (tempfile::tempdir().expect("temporary folder"), new_clock());
    let filling = proxy(dir.path(), &clock);
    for number in 1..4 {
        put(&filling.layers.store, &version(number));
    }
    drop(filling);
    let files = std::fs::read_dir(dir.path().join("store/db")).expect("read the folder");
    let mut paths = files.map(|file| file.expect("file").path());
    let blobs = paths.find(|path| path.extension().is_some_and(|end| end == "blob")).expect("a blob file");
    let mut bytes = std::fs::read(&blobs).expect("read");
    let newest = bytes.len() - 1000;
    bytes[newest] ^= 1;
    std::fs::write(&blobs, bytes).expect("write");

    let proxy = proxy(dir.path(), &clock);
    let store = &proxy.layers.store;
    store.remove(&version(1), Scope::Zip).expect("remove");
    let policy = Policy { garbage_floor_bytes: 0, ..Policy::default() };
    assert!(proxy.readiness().is_ok());
    run_once(store, &policy, clock.now_us()).expect_err("damage");
    let error = proxy.readiness().expect_err("the store has stopped");
    assert_eq!(error.status(), 503);
    assert!(error.hint().is_some_and(|hint| hint.contains("restart")), "{error}");
    let held = Request::Zip((*version(2)).clone());
    assert!(proxy.answer(held, Mode::CachedOnly, false, Asker::Client).await.is_ok());
    run_once(store, &policy, clock.now_us()).expect("healed");
    assert!(proxy.readiness().is_ok());
}

/// The list that is given once the origin has this one.
async fn listed(proxy: &Arc<Proxy>, clock: &ManualClock, dir: &Path, origin: &str) -> String {
    std::fs::write(dir.join("origin/example.com/a/@v/list"), origin).expect("write");
    clock.advance(Duration::from_mins(5));
    let waiter = proxy.begin_own_passing(&Request::List(version(1).module.clone()));
    let (ready, _) = waiter.landed().await.expect("it lands").expect("a list");
    String::from_utf8(ready.content.bytes().expect("in memory").to_vec()).expect("text")
}

/// A version that is in no list any more is not missed when its origin has lost it, and evicted.
#[tokio::test]
async fn what_the_origin_has_lost_is_kept_also_beside_a_record_that_cannot_be_read() {
    let (dir, clock) = (tempfile::tempdir().expect("temporary folder"), new_clock());
    let proxy = proxy(dir.path(), &clock);
    let store = &proxy.layers.store;
    std::fs::create_dir_all(dir.path().join("origin/example.com/a/@v")).expect("create");
    for number in 1..4 {
        put(store, &version(number));
    }
    let all = "v1.1.0\nv1.2.0\nv1.3.0\nv1.4.0\n";
    assert_eq!(listed(&proxy, &clock, dir.path(), all).await, all);
    spoil(store, &version(3));
    // As long as nobody knows what is held, nothing leaves the list.
    assert_eq!(listed(&proxy, &clock, dir.path(), "v1.2.0\n").await, all);
    let class = |number| store.record(&version(number)).expect("record").expect("it is there").class;
    assert_eq!((class(1), class(2)), (Class::Retained, Class::Cache));

    store.quarantine(&version(3), Scope::Record, "test").expect("quarantine");
    assert_eq!(listed(&proxy, &clock, dir.path(), "v1.2.0\n").await, "v1.1.0\nv1.2.0\n");
    assert_eq!(listed(&proxy, &clock, dir.path(), "v1.1.0\nv1.2.0\n").await, "v1.1.0\nv1.2.0\n");
    assert_eq!((class(1), class(2)), (Class::Cache, Class::Cache));
    assert_eq!(store.evictable_bytes(), 4 * CHUNK_BYTES as u64);

    // Also where nobody asked for a list, as on a replica that was told.
    store.set_class(&version(2), Class::Retained).expect("set");
    proxy.relist(&version(2).module).await.expect("list");
    assert_eq!((class(1), class(2)), (Class::Cache, Class::Cache));
}

/// But nobody hears of what was asked before his own request: a version that is published by then is to be found.
#[tokio::test]
async fn all_who_ask_for_a_private_module_at_once_share_what_is_asked_after_that() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let proxy = proxy(dir.path(), &new_clock());
    let module = &version(1).module;
    let known = || proxy.known_of(module);
    let (first, second, third, fourth) = tokio::join!(known(), known(), known(), known());
    let [first, second, third, fourth] = [first, second, third, fourth].map(|known| known.expect("known"));
    assert!(!Arc::ptr_eq(&first, &second));
    assert!(Arc::ptr_eq(&second, &third) && Arc::ptr_eq(&second, &fourth));

    put(&proxy.layers.store, &version(1));
    assert_eq!(known().await.expect("known").presence, Presence::Here);
}

#[tokio::test]
async fn a_version_that_cannot_be_read_is_not_absent() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let proxy = proxy(dir.path(), &new_clock());
    let (sound, damaged) = (version(1), version(2));
    let module = &sound.module;
    for version in [&sound, &damaged] {
        put(&proxy.layers.store, version);
    }
    let known = async || proxy.known_of(module).await.map(|known| known.presence);
    assert_eq!(known().await.expect("known"), Presence::Here);
    spoil(&proxy.layers.store, &damaged);
    assert!(matches!(known().await, Err(ServeError::Internal { .. })), "it may be the latest");
    let list = Request::List(module.clone());
    let refusal = || ServeError::Internal { what: "answer".to_owned() };
    let told = proxy.private_passing(&list, Asker::Node, refusal()).await;
    assert!(matches!(told, Err(ServeError::Internal { .. })), "nor is it for another node");
    // What has a list of its own is not kept from it.
    assert!(proxy.derived(&list).await.expect("read").is_some());
}

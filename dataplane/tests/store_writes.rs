//! Dead before or after any single write to the database, whatever the store is doing: every deed is done or not, and nothing of it is half.
//!
//! The test starts itself again as a child, which does the same deeds each time and dies at another write. What it leaves is compared with
//! what a store that nothing happened to showed after each deed.

#![cfg(feature = "failpoints")]
#![expect(clippy::expect_used, clippy::print_stdout, reason = "a test fails by panicking and may print")]

mod store_bed;

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use dataplane::store::evict::{Policy, Watermarks, run_once};
use dataplane::store::{
    CHUNK_BYTES, CachedAnswer, Class, ClassChange, Durability, Patch, Scope, Store, Unsound, Unvouched,
    Verified, VersionRecord,
};
use store_bed::*;

const CHILD_DIR: &str = "STORE_TEST_DIR";
const CHILD_POINT: &str = "STORE_TEST_POINT";
/// Where the child dies, at the write whose turn it is.
const POINTS: [&str; 2] = ["store::rocks::write", "store::rocks::written"];
const HOUR_US: i64 = 3_600_000_000;
/// Versions that the deeds are about.
const VERSIONS: u64 = 12;

/// The zip of a number; 6 and 7 have the same.
fn zip(number: u64) -> Bytes {
    let number = if number == 7 { 6 } else { number };
    content(number, if number % 3 == 0 { 2 * CHUNK_BYTES + 7 } else { 1_000 * (number as usize + 1) })
}

fn answer(text: &'static str) -> CachedAnswer {
    CachedAnswer { body: Bytes::from_static(text.as_bytes()), fetched_us: NEW_YEAR_US, status: 200 }
}

fn unvouched(number: u64) -> Unvouched {
    let go_mod_h1 = gomod::dirhash::go_mod_h1(&go_mod_of(&numbered(number)));
    Unvouched { version: numbered(number), zip_h1: Some(h1_of(&zip(number))), go_mod_h1: Some(go_mod_h1) }
}

fn unchecked(store: &Store, number: u64) {
    let mv = numbered(number);
    let go_mod_h1 = Some(gomod::dirhash::go_mod_h1(&go_mod_of(&mv)));
    let patch = Patch { verified: Verified::Unchecked, go_mod_h1, ..patch_of(store, &mv, &zip(number)) };
    store.commit(&mv, patch, Durability::Buffered).expect("commit");
}

/// One pass over a store that has a byte too much; how many zips leave.
fn evict(store: &Store) -> usize {
    let capacity_bytes = store.evictable_bytes() - 1;
    let watermarks = Watermarks { high_percent: 100, hard_percent: 100, ..Watermarks::default() };
    let policy = Policy { capacity_bytes, watermarks, ..Policy::default() };
    run_once(store, &policy, NEW_YEAR_US + HOUR_US).expect("pass").evicted.len()
}

type Deed = fn(&Store);

/// Each of them shows at once or not at all.
const DEEDS: &[Deed] = &[
    |store| drop(put(store, &numbered(0), &zip(0), Durability::Buffered)),
    |store| drop(put(store, &numbered(1), &zip(1), Durability::Synced)),
    |store| drop(put(store, &numbered(6), &zip(6), Durability::Buffered)),
    |store| drop(put(store, &numbered(7), &zip(7), Durability::Buffered)),
    |store| assert!(store.set_class(&numbered(1), Class::Retained).expect("set")),
    |store| assert!(store.set_class(&numbered(1), Class::Cache).expect("set")),
    |store| unchecked(store, 2),
    |store| assert!(store.vouch(&unvouched(2)).expect("vouch")),
    |store| unchecked(store, 3),
    |store| assert!(store.disown(&unvouched(3), "the database lists another").expect("disown")),
    |store| store.put_list(&numbered(0).module, &answer("v1.0.0\n")).expect("list"),
    |store| store.put_latest(&numbered(0).module, &answer("{}")).expect("latest"),
    |store| store.put_query(&numbered(0).module, "main", &answer("{}")).expect("query"),
    |store| store.forget_answers(&numbered(0).module).expect("forget"),
    |store| {
        let facts = ["a", "b"].map(|key| (key.to_owned(), Bytes::from_static(b"fact")));
        store.sumdb_put(&facts, Durability::Synced).expect("facts");
    },
    |store| {
        let patch = Patch { info: None, ..patch_of(store, &numbered(4), &zip(4)) };
        store.stage(&numbered(4), patch, &Unsound::default()).expect("stage");
    },
    |store| {
        let shown = store.reveal(&numbered(4), h1_of(&zip(4)), info_of(&numbered(4))).expect("reveal");
        assert!(shown.is_some());
    },
    |store| {
        let patch = Patch { info: None, ..patch_of(store, &numbered(9), &zip(9)) };
        store.stage(&numbered(9), patch, &Unsound::default()).expect("stage");
    },
    |store| store.unstage(&numbered(9), h1_of(&zip(9)), i64::MAX).expect("unstage"),
    |store| {
        store.touch(&numbered(1), true);
        assert!(store.flush_touches().expect("flush") > 0);
    },
    |store| drop(put(store, &numbered(5), &zip(5), Durability::Buffered)),
    |store| assert_eq!(evict(store), 1),
    |store| {
        let change =
            |number| ClassChange { version: numbered(number), from: Class::Cache, to: Class::Retained };
        assert_eq!(store.change_classes(&[change(1), change(6)]).expect("change"), 2);
    },
    // On the way to it what 6 and 7 share, which has to stay, is taken from the queue.
    |store| assert_eq!(evict(store), 1),
    |store| assert!(store.quarantine(&numbered(5), Scope::Zip, "it looks bad").expect("quarantine").existed),
    |store| assert!(store.remove(&numbered(6), Scope::Zip).expect("remove").existed),
    |store| assert!(store.remove(&numbered(1), Scope::Zip).expect("remove").existed),
    |store| assert!(store.remove(&numbered(0), Scope::Record).expect("remove").existed),
    |store| assert!(store.remove_unless(&numbered(7), Class::Published).expect("remove").existed),
];

/// All that can be seen of a store; and its evictable bytes, which may lie between those before and after a deed.
fn seen(store: &Store) -> (Vec<String>, u64) {
    let mut all = Vec::new();
    for number in 0..VERSIONS {
        let mv = numbered(number);
        let record = store.record(&mv).expect("record").map(|record| {
            let VersionRecord { info, go_mod, zip, zip_h1, class, verified, .. } = record;
            (info, go_mod, zip.map(|zip| zip.size), zip_h1, class, verified)
        });
        let bytes = zip_of(store, &mv);
        assert!(bytes.is_none_or(|bytes| bytes == zip(number)), "version {number} has another zip");
        let used = store.last_access(&mv).expect("access");
        all.push(format!(
            "{number}: {record:?} {used:?} {:?}",
            store.versions(&mv.module).expect("versions")
        ));
    }
    let module = numbered(0).module;
    let (list, latest) = (store.list(&module).expect("list"), store.latest(&module).expect("latest"));
    all.push(format!("{list:?} {latest:?} {:?}", store.query(&module, "main").expect("query")));
    all.push(format!("{:?}", ["a", "b"].map(|key| store.sumdb_get(key).expect("fact"))));
    let staged = store.staged(10).expect("staged");
    all.push(format!(
        "staged {:?}",
        staged.iter().map(|staged| staged.version.to_string()).collect::<Vec<_>>()
    ));
    let index = store.index_since(0, 100).expect("index");
    all.push(format!("index {:?}", index.iter().map(|entry| entry.version.to_string()).collect::<Vec<_>>()));
    all.push(format!("{} set aside", store.quarantined_count().expect("count")));
    (all, store.evictable_bytes())
}

/// Does everything, telling each deed once it is done, and dies at the write whose number the parent gave.
fn do_everything(dir: &Path) {
    let setting = std::env::var(CHILD_POINT).expect("a failpoint");
    let (point, turn) = setting.split_once('=').expect("point and number");
    let left = AtomicU64::new(turn.parse().expect("a number"));
    let die = move || {
        if left.fetch_sub(1, Ordering::SeqCst) == 0 {
            std::process::abort();
        }
    };
    fail::cfg_callback(point, die).expect("failpoint");
    let (store, _clock) = open_at(dir, NEW_YEAR_US);
    // Ends the line that the test harness began.
    println!();
    for deed in DEEDS {
        deed(&store);
        writeln!(std::io::stdout(), "done").expect("tell");
    }
}

/// How many deeds the child told of, and whether it lived to the end.
fn child(dir: &Path, point: &str, turn: u64) -> (usize, bool) {
    let mut child = Command::new(std::env::current_exe().expect("own path"))
        .args(["dead_around_every_write", "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD_DIR, dir)
        .env(CHILD_POINT, format!("{point}={turn}"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("start the child");
    let output = BufReader::new(child.stdout.take().expect("output"));
    let done = output.lines().filter(|line| line.as_ref().is_ok_and(|line| line == "done")).count();
    (done, child.wait().expect("wait").success())
}

#[test]
fn dead_around_every_write() {
    if let Some(dir) = std::env::var_os(CHILD_DIR) {
        return do_everything(dir.as_ref());
    }
    let dir = tempfile::tempdir().expect("temporary folder");
    let (store, _clock) = open_at(dir.path(), NEW_YEAR_US);
    let mut states = vec![seen(&store)];
    for deed in DEEDS {
        deed(&store);
        states.push(seen(&store));
    }
    assert_sound(&store);
    for point in POINTS {
        let mut turns = 0;
        for turn in 0.. {
            let dir = tempfile::tempdir().expect("temporary folder");
            let (done, lived) = child(dir.path(), point, turn);
            if lived {
                assert_eq!(done, DEEDS.len());
                break;
            }
            turns += 1;
            let (store, _clock) = open_at(dir.path(), NEW_YEAR_US);
            let (found, evictable) = seen(&store);
            let [(before, least), (after, most)] = [done, (done + 1).min(DEEDS.len())].map(|at| &states[at]);
            assert!(
                found == *before || found == *after,
                "{point} {turn}, {done} deeds told: {found:#?}\nafter them {before:#?}\nafter the next {after:#?}"
            );
            let between = *least.min(most)..=*least.max(most);
            assert!(
                between.contains(&evictable),
                "{point} {turn}, {done} deeds told: {evictable} evictable, {between:?}"
            );
            assert_sound(&store);
        }
        assert!(turns > DEEDS.len(), "{point} was reached {turns} times");
    }
}

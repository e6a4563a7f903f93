//! Which published versions go for good with a node that goes: those of which no other node that can be asked has a copy that stays.
//!
//! The records tell who should have them. Who took slots over while all were away that held them has nothing of them, and heard of nothing,
//! so that he who has them is asked; and so is the node itself while it is up, last: what nobody else keeps is the exception, and this may be
//! the node that is slow. Invariant: what could not be found out counts as lost.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use cluster::layout::Slot;
use cluster::record::{MarkKind, Marked, Node};
use cluster::{Epoch, Hash, NodeName, Tables};
use futures_util::StreamExt as _;
use gomod::H1;
use parking_lot::Mutex;
use proto::data::v1 as data;
use proto::{ErrorCode, Fault};

use crate::control::Control;
use crate::data_nodes::DataNodes;
use crate::last_copies::LastCopies;

/// Modules that are asked about at a time.
const AT_ONCE: usize = 64;
/// Versions of a module in one answer.
const PAGE_SIZE: u32 = 1000;
/// The longest that a node may take for one: a page is read within milliseconds.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// How a node keeps what is never evicted there.
const FOR_GOOD: &str = "published";

/// Versions of a module, and what their zips hash to.
type Versions = BTreeMap<Marked, Hash>;

/// What would be lost with `node`, as far as that can be found out in half of the time until `until`: the other half is for what is done
/// about it.
pub(super) async fn with(control: &Arc<Control>, node: &Node, until: Instant) -> Result<LastCopies, Fault> {
    if node.addresses.is_none() {
        // It was never started, or is out already.
        return Ok(LastCopies::default());
    }
    let looking = {
        let (shared, node) = (control.shared.clone(), node.clone());
        move || shared.read(|state| published(state.tables(), &node))
    };
    let published = tokio::task::spawn_blocking(looking)
        .await
        .map_err(|_| Fault::new(ErrorCode::Internal, "the look at what was published was broken off"))?;
    let walk = Walk {
        nodes: &control.data_nodes,
        node,
        until: half_of_the_way(Instant::now(), until),
        silent: Mutex::default(),
        keepers: Mutex::default(),
        out_of_time: AtomicBool::new(false),
    };
    let asking = published.into_iter().map(|(module, versions)| walk.lost_of(module, versions));
    let lost: Vec<Vec<Marked>> = futures_util::stream::iter(asking).buffer_unordered(AT_ONCE).collect().await;
    let lost: BTreeSet<Marked> = lost.into_iter().flatten().collect();
    let out_of_time = walk.out_of_time.into_inner();
    let (mut silent, keepers) = (walk.silent.into_inner(), walk.keepers.into_inner());
    let is_silent = silent.remove(&node.name);
    let silent = control.shared.read(|state| {
        // That nobody asks who is down goes without saying.
        let is_up =
            |name: &NodeName| state.tables().nodes.get(name).is_some_and(|node| !node.state.is_away());
        silent.into_iter().filter(is_up).collect()
    });
    Ok(LastCopies { silent, keepers, is_silent, out_of_time, ..LastCopies::new(&lost) })
}

fn half_of_the_way(now: Instant, until: Instant) -> Instant {
    now + until.saturating_duration_since(now) / 2
}

/// What was published in the slots of which the node may have something, by module, but for what was taken down.
fn published(tables: &Tables, node: &Node) -> BTreeMap<String, Versions> {
    let mut published: BTreeMap<String, Versions> = BTreeMap::new();
    let slots = slots_of(tables, node);
    let is_down = |about: &Marked| tables.marks.contains_key(&(MarkKind::TakenDown, about.clone()));
    let bindings =
        tables.bindings.values().filter(|binding| slots.contains(&Slot::of(binding.version.module())));
    for binding in bindings {
        let version = &binding.version;
        if !is_down(version) && !is_down(&Marked::of_module(version)) {
            let module = published.entry(version.module().to_owned()).or_default();
            module.insert(version.clone(), binding.zip_h1);
        }
    }
    published
}

/// The slots that layouts gave to the node: what is kept for good comes by them. All of them, where layouts are forgotten that were in force
/// since it was added, and for a node that is up: its disk may be older than its name, and it says itself what it has.
fn slots_of(tables: &Tables, node: &Node) -> BTreeSet<Slot> {
    let kept = || tables.layout_history.values().chain(tables.layouts.values());
    // Of a long move the layout that it began from is kept, while those that came next are forgotten like the oldest.
    let epochs = kept().map(|record| record.layout.epoch());
    let follow_one_kept: BTreeSet<Epoch> = epochs.chain([Epoch::default()]).map(Epoch::next).collect();
    let are_all_kept =
        kept().all(|record| follow_one_kept.contains(&record.layout.epoch()) || record.made <= node.created);
    let gave = |slot: &Slot| kept().any(|record| record.layout.replicas(*slot).contains(&node.name));
    let may_be_any = !node.state.is_away() || !are_all_kept;
    Slot::all().filter(|slot| may_be_any || gave(slot)).collect()
}

/// Asking around for what is about to go.
struct Walk<'a> {
    nodes: &'a DataNodes,
    node: &'a Node,
    until: Instant,
    /// Those that did not answer, and are not asked again: what one of them costs is over once.
    silent: Mutex<BTreeSet<NodeName>>,
    /// Those that keep something.
    keepers: Mutex<BTreeSet<NodeName>>,
    /// Whether something was to be asked when the time was over: that says nothing of whoever was not asked.
    out_of_time: AtomicBool,
}

impl Walk<'_> {
    /// Of a module's versions, those that the node may have and no other one is known to keep.
    async fn lost_of(&self, module: String, versions: Versions) -> Vec<Marked> {
        let mut lost = versions;
        for other in self.nodes.near(&module) {
            if lost.is_empty() {
                break;
            }
            if other != self.node.name
                && let Some(its) = self.held(&other, &module, &lost, is_kept).await
                && !its.is_empty()
            {
                lost.retain(|version, _| !its.contains(version));
                self.keepers.lock().insert(other);
            }
        }
        if !lost.is_empty()
            && !self.node.state.is_away()
            && let Some(its) = self.held(&self.node.name, &module, &lost, is_held).await
        {
            lost.retain(|version, _| its.contains(version));
        }
        lost.into_keys().collect()
    }

    /// Which of these versions a node has with the content that they are bound to, and so that it `counts`; none if it does not say so.
    async fn held(
        &self,
        node: &NodeName,
        module: &str,
        versions: &Versions,
        counts: fn(&data::StoredVersion) -> bool,
    ) -> Option<BTreeSet<Marked>> {
        let mut held = BTreeSet::new();
        let mut page_token = String::new();
        loop {
            let asked = data::ListVersionsRequest {
                module_path: module.to_owned(),
                page_size: PAGE_SIZE,
                page_token,
                ..Default::default()
            };
            let page = self.ask(node, asked).await?;
            let counting = page.versions.iter().filter(|stored| counts(stored));
            held.extend(counting.filter_map(|stored| as_bound(stored, versions)));
            if page.next_page_token.is_empty() {
                return Some(held);
            }
            page_token = page.next_page_token;
        }
    }

    async fn ask(
        &self,
        node: &NodeName,
        asked: data::ListVersionsRequest,
    ) -> Option<data::ListVersionsResponse> {
        let began = Instant::now();
        if began >= self.until {
            self.out_of_time.store(true, Relaxed);
            return None;
        }
        if self.silent.lock().contains(node) {
            return None;
        }
        let answers_until = began + ANSWER_MAX;
        let until = self.until.min(answers_until);
        let told =
            self.nodes.ask(node, until, |mut client| async move { client.list_versions(asked).await }).await;
        match told {
            Ok(page) => Some(page),
            Err(fault) => {
                tracing::debug!(%node, %fault, "a node does not say what it holds");
                match failure(fault.code, Instant::now(), answers_until, self.until) {
                    Failure::Silent => {
                        self.silent.lock().insert(node.clone());
                    }
                    Failure::OutOfTime => self.out_of_time.store(true, Relaxed),
                    Failure::ThisOnce => {}
                }
                None
            }
        }
    }
}

/// What it says of a node that a call to it came to nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Failure {
    /// It does not answer anything.
    Silent,
    /// Nothing: there was no time left for it.
    OutOfTime,
    /// It does not answer this, and may answer something else: a record may be unreadable.
    ThisOnce,
}

/// Of a call that `ended` so, and that had until `answers_until` for itself, of all the time until `until`.
fn failure(code: ErrorCode, ended: Instant, answers_until: Instant, until: Instant) -> Failure {
    let had_its_time = answers_until <= until && ended >= answers_until;
    if code == ErrorCode::Unavailable || (code == ErrorCode::Deadline && had_its_time) {
        Failure::Silent
    } else if ended >= until {
        Failure::OutOfTime
    } else {
        Failure::ThisOnce
    }
}

/// Whether the zip is there, however it is kept.
fn is_held(stored: &data::StoredVersion) -> bool {
    stored.zip_size > 0
}

/// Whether it is there and stays: what was only borrowed is evicted one day.
fn is_kept(stored: &data::StoredVersion) -> bool {
    is_held(stored) && stored.class == FOR_GOOD
}

/// The version, if its content is what the name is bound to.
fn as_bound(stored: &data::StoredVersion, versions: &Versions) -> Option<Marked> {
    let name = stored.name.as_ref()?;
    let version = Marked::parse(&format!("{}@{}", name.module_path, name.version)).ok()?;
    let bound = versions.get(&version)?;
    let h1 = H1::parse(&stored.zip_h1).ok()?;
    (h1.as_bytes() == bound.as_bytes()).then_some(version)
}

#[cfg(test)]
mod tests {
    use cluster::record::{Before, Mark, NodeState};
    use cluster::{Name, Timestamp};

    use super::*;
    use crate::reconcile::bed;

    fn taken_down(tables: &mut Tables, text: &str) {
        let about = Marked::parse(text).unwrap();
        let mark = Mark {
            about: about.clone(),
            kind: MarkKind::TakenDown,
            since: Timestamp::default(),
            by: Name::parse("somebody").unwrap(),
            why: None,
        };
        tables.marks.insert((MarkKind::TakenDown, about), mark);
    }

    #[test]
    fn what_was_taken_down_is_missed_by_nobody() {
        let mut tables = bed::tables();
        let name = bed::node(&mut tables, "a", NodeState::Active);
        bed::layout(&mut tables, 1, std::slice::from_ref(&name));
        let versions = ["a.example/m@v1.0.0", "a.example/m@v1.1.0", "b.example/m@v1.0.0"];
        let [left, ..] = versions.map(|text| bed::publish(&mut tables, text));
        for text in ["a.example/m@v1.1.0", "b.example/m"] {
            taken_down(&mut tables, text);
        }
        let expected = BTreeMap::from([("a.example/m".to_owned(), Versions::from([(left, bed::PUBLISHED)]))]);
        assert_eq!(published(&tables, &tables.nodes[&name]), expected);
    }

    #[test]
    fn a_node_may_have_what_a_layout_ever_gave_it() {
        let mut tables = bed::tables();
        let down = NodeState::Down { before: Before::Active };
        let [a, b] = ["a", "b"].map(|name| bed::node(&mut tables, name, down.clone()));
        let count = |tables: &Tables, name: &NodeName| slots_of(tables, &tables.nodes[name]).len();
        assert_eq!(count(&tables, &a), 0, "there is no layout");
        bed::layout(&mut tables, 1, &[a.clone(), b.clone()]);
        bed::layout(&mut tables, 2, std::slice::from_ref(&b));
        assert_eq!((count(&tables, &a), count(&tables, &b)), (2048, 4096));
        let put_away = tables.layouts.remove(&Epoch::new(1)).unwrap();
        tables.layout_history.insert(Epoch::new(1), put_away);
        assert_eq!(count(&tables, &a), 2048);
        // The first layout is forgotten: what it gave to whom nobody knows, but that it came before nodes that were added later.
        tables.layout_history.clear();
        tables.layouts.get_mut(&Epoch::new(2)).unwrap().made = Timestamp::from_millis(7);
        assert_eq!(count(&tables, &a), 4096);
        tables.nodes.get_mut(&a).unwrap().created = Timestamp::from_millis(7);
        assert_eq!(count(&tables, &a), 0);
        // One that is up is asked, whatever it was given by this name.
        tables.nodes.get_mut(&a).unwrap().state = NodeState::Cordoned;
        assert_eq!(count(&tables, &a), 4096);
    }

    #[test]
    fn a_layout_that_was_forgotten_within_a_move_may_have_given_anything() {
        let mut tables = bed::tables();
        let down = NodeState::Down { before: Before::Active };
        let [a, b] = ["a", "b"].map(|name| bed::node(&mut tables, name, down.clone()));
        for epoch in 1..=3 {
            bed::layout(&mut tables, epoch, std::slice::from_ref(&b));
            tables.layouts.get_mut(&Epoch::new(epoch)).unwrap().made = Timestamp::from_millis(epoch);
        }
        let count = |tables: &Tables| slots_of(tables, &tables.nodes[&a]).len();
        assert_eq!(count(&tables), 0, "all are kept");
        tables.layouts.remove(&Epoch::new(2));
        assert_eq!(count(&tables), 4096);
        // The next one was there before the node: the one that is forgotten gave it nothing.
        tables.nodes.get_mut(&a).unwrap().created = Timestamp::from_millis(3);
        assert_eq!(count(&tables), 0);
    }

    #[test]
    fn a_copy_that_stays_and_is_the_right_one_is_one() {
        let mut tables = bed::tables();
        let version = bed::publish(&mut tables, "a.example/m@v1.0.0");
        let versions = Versions::from([(version.clone(), bed::PUBLISHED)]);
        let stored = |class: &str, zip_size: u64, zip_h1: [u8; 32]| data::StoredVersion {
            name: Some(data::VersionName {
                module_path: "a.example/m".to_owned(),
                version: "v1.0.0".to_owned(),
            }),
            zip_size,
            zip_h1: H1::from_bytes(zip_h1).to_string(),
            class: class.to_owned(),
            ..Default::default()
        };
        let right = *bed::PUBLISHED.as_bytes();
        let published = stored(FOR_GOOD, 1, right);
        assert!(is_held(&published) && is_kept(&published));
        assert_eq!(as_bound(&published, &versions), Some(version));
        let borrowed = stored("cache", 1, right);
        assert!(is_held(&borrowed) && !is_kept(&borrowed), "it is evicted one day");
        let gone = stored(FOR_GOOD, 0, right);
        assert!(!is_held(&gone) && !is_kept(&gone), "its hash is remembered, its zip is not there");
        assert_eq!(as_bound(&stored(FOR_GOOD, 1, [2; 32]), &versions), None, "it is something else");
        let unknown = data::StoredVersion { zip_h1: String::new(), ..published };
        assert_eq!(as_bound(&unknown, &versions), None);
    }

    #[test]
    fn who_could_not_be_asked_in_time_is_not_silent() {
        let began = Instant::now();
        let [early, own, late] = [1, 2, 4].map(|seconds| began + Duration::from_secs(seconds));
        assert_eq!(failure(ErrorCode::Deadline, own, own, late), Failure::Silent);
        assert_eq!(failure(ErrorCode::Unavailable, began, own, late), Failure::Silent);
        assert_eq!(failure(ErrorCode::Deadline, early, own, early), Failure::OutOfTime);
        // What it says of one module it does not say of the others.
        assert_eq!(failure(ErrorCode::Internal, early, own, late), Failure::ThisOnce);
        assert_eq!(failure(ErrorCode::Deadline, early, own, late), Failure::ThisOnce);
    }

    #[test]
    fn half_of_the_time_is_left() {
        let now = Instant::now();
        assert_eq!(half_of_the_way(now, now + Duration::from_secs(8)), now + Duration::from_secs(4));
        assert_eq!(half_of_the_way(now + Duration::from_secs(1), now), now + Duration::from_secs(1));
    }
}

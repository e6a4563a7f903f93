//! Where the other nodes are, and a channel to each, which accepts that very node and no other.
//!
//! Everything comes from the view in use. Before the node belongs to a cluster there is nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use cluster::record::NodeState;
use cluster::{Address, Epoch, MemberId, NodeName, View};
use common::clock::Clock;
use gomod::ModulePath;
use identity::{ClientTls, Connector, Credentials, Expect, HotCredentials};
use parking_lot::Mutex;
use proto::data::v1::content_service_client::ContentServiceClient;
use proto::limits::CONTENT_MESSAGE_BYTES_MAX;
use tonic::transport::{Channel, Endpoint};

use super::again;
use super::budget::{Budget, Stake};
use super::health::Health;
use super::heard::Heard;
use super::load::Load;
use super::metrics::PeerFamilies;
use super::pace::Pace;
use super::route::Route;
use crate::control::Views;

/// Connecting, handshake included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// A connection on which nothing is heard for so long is asked, and given up when it does not answer in time.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(1);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(4);
/// How slow a node counts as whose answer was not waited for.
const SLOW_UNKNOWN: Duration = Duration::from_millis(100);
/// Between two looks at whether a view has come.
const VIEW_POLL: Duration = Duration::from_millis(5);

/// See the head of this file.
pub struct Peers {
    attached: ArcSwapOption<Attached>,
    /// Where operators' marks are read: also before there is anybody to talk to.
    pub(super) remembered: ArcSwapOption<Views>,
    pub(super) health: Mutex<Health>,
    /// The view by which `health` was last put right.
    told: AtomicU64,
    pace: Mutex<Pace>,
    pub(super) again: Mutex<Budget>,
    load: Arc<Mutex<Load>>,
    /// The newest layout that others spoke of in vain.
    heard_of: AtomicU64,
    pub(super) clock: Arc<dyn Clock>,
    families: Arc<PeerFamilies>,
}

struct Attached {
    me: NodeName,
    views: Arc<Views>,
    credentials: Arc<HotCredentials>,
    channels: Mutex<BTreeMap<(NodeName, Lane), Known>>,
}

/// Zips have connections of their own, so that some that nobody reads for a while hold up nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lane {
    /// Small files and everything else.
    Small,
    /// Zips.
    Zips,
}

/// A channel, and what it was made with.
struct Known {
    address: Address,
    credentials: Arc<Credentials>,
    channel: Channel,
    heard: Arc<Heard>,
}

impl Peers {
    /// Nobody yet.
    pub fn new(clock: Arc<dyn Clock>, families: Arc<PeerFamilies>) -> Self {
        Self {
            attached: ArcSwapOption::empty(),
            remembered: ArcSwapOption::empty(),
            health: Mutex::default(),
            told: AtomicU64::new(0),
            pace: Mutex::default(),
            again: Mutex::new(again::budget()),
            load: Arc::default(),
            heard_of: AtomicU64::new(0),
            clock,
            families,
        }
    }

    /// From now on this node is `me` of the cluster that `views` shows.
    pub fn attach(&self, me: NodeName, views: Arc<Views>, credentials: Arc<HotCredentials>) {
        let channels = Mutex::default();
        self.remember(Arc::clone(&views));
        self.attached.store(Some(Arc::new(Attached { me, views, credentials, channels })));
    }

    /// What operators say of modules is as in `views`, whether this node gets into its cluster again or not.
    pub fn remember(&self, views: Arc<Views>) {
        self.remembered.store(Some(views));
    }

    /// What is counted.
    pub fn families(&self) -> &PeerFamilies {
        &self.families
    }

    /// Who is asked for what is missing of a module.
    pub fn route(&self, module: &ModulePath) -> Route {
        self.route_of(module.as_str(), false)
    }

    /// The same, for a node that rather does not fetch.
    pub fn route_aside(&self, module: &ModulePath) -> Route {
        self.route_of(module.as_str(), true)
    }

    /// Who is asked for what has this name; if this node is `aside`, all other replicas fetch before it.
    pub fn route_of(&self, name: &str, aside: bool) -> Route {
        let attached = self.attached.load();
        let Some(attached) = attached.as_ref() else { return Route::default() };
        let Some(view) = attached.views.current() else { return Route::default() };
        let Some(placement) = view.placement() else { return Route::default() };
        let slot = cluster::layout::Slot::of(name);
        let replicas = placement.new_layout().replicas(slot);
        let before = placement.old_layout().map(|old| old.replicas(slot));
        let now = self.clock.monotonic();
        self.follow(&attached.me, &view);
        let health = self.health.lock();
        let before = before.iter().flat_map(|before| before.iter());
        Route::plan(&attached.me, replicas.iter(), before, aside, |name| {
            (is_up(&view, name) || (is_down(&view, name) && health.is_there(name)))
                && health.may_ask(name, now)
        })
    }

    /// Other nodes that may be asked now.
    pub fn others(&self) -> Vec<NodeName> {
        let Some((me, view)) = self.view() else { return Vec::new() };
        let (now, health) = (self.clock.monotonic(), self.health.lock());
        others_of(&view, &me).into_iter().filter(|name| health.may_ask(name, now)).collect()
    }

    /// Who this node is, and the view in use; nothing before it belongs to a cluster.
    pub fn view(&self) -> Option<(NodeName, Arc<View>)> {
        let attached = self.attached.load();
        let attached = attached.as_ref()?;
        Some((attached.me.clone(), attached.views.current()?))
    }

    /// Whether this node was removed from the cluster that it was attached to.
    pub fn is_sent_away(&self) -> bool {
        self.attached.load().as_ref().is_some_and(|attached| attached.views.is_sent_away())
    }

    /// Whether a control node of this number may speak for the cluster.
    pub fn knows_member(&self, id: MemberId) -> bool {
        let attached = self.attached.load();
        let is_member =
            |view: &View| view.members().any(|member| member.id == id && member.state.is_in_group());
        attached.as_ref().is_some_and(|attached| attached.views.look(is_member).unwrap_or_default())
    }

    /// Whether this node holds the module's slot, in the layout in force or the one before it. Everybody holds everything as
    /// long as there is no layout.
    pub fn holds(&self, module: &ModulePath) -> bool {
        let attached = self.attached.load();
        let Some(attached) = attached.as_ref() else { return true };
        let Some(view) = attached.views.current() else { return true };
        let Some(placement) = view.placement() else { return true };
        let slot = cluster::layout::Slot::of(module.as_str());
        placement.reads(slot).any(|name| *name == attached.me)
    }

    /// The layout epoch in force, as far as this node knows; 0 without one.
    pub fn epoch(&self) -> Epoch {
        let view = self.attached.load().as_ref().and_then(|attached| attached.views.current());
        view.map_or_else(Epoch::default, |view| view.transition().current)
    }

    /// By which layout this node asks others: the one that it knows, or a newer one of which it only heard.
    pub(super) fn asks_by(&self) -> Epoch {
        self.epoch().max(Epoch::new(self.heard_of.load(Relaxed)))
    }

    /// There is a layout `epoch`, but this node is not told of it.
    pub fn believe_in(&self, epoch: Epoch) {
        self.heard_of.fetch_max(epoch.get(), Relaxed);
    }

    /// Waits for a layout that is as new as `epoch`, at most for `patience`.
    pub async fn reaches(&self, epoch: Epoch, patience: Duration) -> bool {
        let give_up = Instant::now() + patience;
        while self.epoch() < epoch {
            if Instant::now() >= give_up {
                return false;
            }
            tokio::time::sleep(VIEW_POLL).await;
        }
        true
    }

    /// Whether a node of this name may speak for itself.
    pub fn knows(&self, name: &NodeName) -> bool {
        let view = self.attached.load().as_ref().and_then(|attached| attached.views.current());
        view.is_some_and(|view| view.node(name).is_some_and(|node| node.state.is_admitted()))
    }

    /// Talks to a node, and knows when it was last heard of that way; `None` where its address is not known.
    pub(super) fn client(
        &self,
        name: &NodeName,
        lane: Lane,
    ) -> Option<(ContentServiceClient<Channel>, Arc<Heard>)> {
        let attached = self.attached.load();
        let attached = attached.as_ref()?;
        let address = attached.views.current()?.node(name)?.addresses.clone()?.rpc;
        let credentials = attached.credentials.current();
        let mut channels = attached.channels.lock();
        let fitting = channels
            .get(&(name.clone(), lane))
            .filter(|known| known.address == address && Arc::ptr_eq(&known.credentials, &credentials));
        let (channel, heard) = if let Some(known) = fitting {
            (known.channel.clone(), Arc::clone(&known.heard))
        } else {
            let channel = self.connect(name, lane, &address, &attached.credentials)?;
            let heard = Arc::new(Heard::new(self.clock.monotonic()));
            let known = Known { address, credentials, channel: channel.clone(), heard: Arc::clone(&heard) };
            channels.insert((name.clone(), lane), known);
            (channel, heard)
        };
        let client = ContentServiceClient::new(channel);
        let client = client
            .max_decoding_message_size(CONTENT_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(CONTENT_MESSAGE_BYTES_MAX);
        Some((client, heard))
    }

    fn connect(
        &self,
        name: &NodeName,
        lane: Lane,
        address: &Address,
        credentials: &Arc<HotCredentials>,
    ) -> Option<Channel> {
        // To tonic it is a plain connection; the connector does TLS.
        let endpoint = Endpoint::from_shared(format!("http://{address}")).ok()?;
        let endpoint = endpoint
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .http2_adaptive_window(lane == Lane::Zips);
        let tls =
            ClientTls::Process { credentials: Arc::clone(credentials), expect: Expect::Node(name.clone()) };
        let connector = Connector::new(tls, Arc::clone(&self.clock), CONNECT_TIMEOUT);
        Some(endpoint.connect_with_connector_lazy(connector))
    }

    /// Whether a node was slow when it was last asked.
    pub fn is_slow(&self, name: &NodeName) -> bool {
        self.pace.lock().is_slow(name)
    }

    /// Whether a slow node is spared a request that is made now.
    pub fn spares(&self, name: &NodeName) -> bool {
        self.pace.lock().spares(name, self.clock.monotonic())
    }

    /// How long to wait for a node that is asked now before [`Self::may_ask_second`].
    pub fn patience(&self) -> Duration {
        let mut pace = self.pace.lock();
        pace.seconds().first();
        pace.patience()
    }

    /// Whether a second node may be asked for the same; then that is counted.
    pub fn may_ask_second(&self) -> bool {
        let may = self.pace.lock().seconds().second();
        if may {
            self.families.count("second");
        }
        may
    }

    /// Whether another node may be asked instead of a slow one.
    pub fn may_ask_instead(&self) -> Option<Stake> {
        self.pace.lock().seconds().wager()
    }

    /// A node had what it was asked for instead of a slow one.
    pub fn answered_instead(&self, stake: Stake) {
        self.pace.lock().seconds().won(stake);
    }

    /// A node was asked instead of a slow one, which has to be asked as well.
    pub fn asked_instead_in_vain(&self, stake: Stake) {
        self.pace.lock().seconds().lost(stake);
        self.families.count("second");
    }

    /// A node had not begun to answer after `time`, when another one had.
    pub fn is_slower_than(&self, name: &NodeName, time: Duration) {
        self.began(name, time.max(SLOW_UNKNOWN));
    }

    /// A node began to answer after `time`.
    pub(super) fn began(&self, name: &NodeName, time: Duration) {
        self.pace.lock().began(name, time, self.clock.monotonic());
    }

    /// A node is being asked, until what is returned is dropped.
    pub(super) fn asked(&self, name: &NodeName) -> UnderWay {
        self.health.lock().asked(name, self.clock.monotonic());
        self.load.lock().begun(name);
        UnderWay { node: name.clone(), load: Arc::clone(&self.load) }
    }

    /// Who is asked for a copy because the first one along the route has its share of work.
    pub fn sharers(&self, route: &Route) -> Vec<NodeName> {
        let Some(owner) = route.fetchers.first() else { return Vec::new() };
        let others: Vec<_> = route.all().skip(1).collect();
        self.load.lock().instead_of(owner, &others, self.clock.monotonic())
    }

    /// A node was asked to share, and had no copy.
    pub fn had_none_to_share(&self, name: &NodeName) {
        self.load.lock().had_none(name, self.clock.monotonic());
    }

    /// A node answered.
    pub(super) fn answered(&self, name: &NodeName) {
        self.is_back(name, Health::answered);
    }

    /// A node that greeted this one answered.
    pub(super) fn found(&self, name: &NodeName) {
        self.is_back(name, Health::found);
    }

    fn is_back(&self, name: &NodeName, note: impl FnOnce(&mut Health, &NodeName) -> bool) {
        let mut health = self.health.lock();
        if note(&mut health, name) {
            self.show(&health);
            tracing::info!(node = %name, "a node answers again");
        }
    }

    /// A node could not be reached by who asked it at `begun`.
    pub(super) fn failed(&self, name: &NodeName, why: &str, begun: Instant) {
        let Some((me, view)) = self.view() else { return };
        self.follow(&me, &view);
        let others = others_of(&view, &me);
        let mut health = self.health.lock();
        if health.failed(name, &others, begun, self.clock.monotonic()) {
            self.show(&health);
            tracing::warn!(node = %name, why, "a node cannot be reached; it is passed over for a while");
        }
    }

    /// Takes up what a new view says of who is alive. Nodes that are no more, or are taken for dead, do not count among those that
    /// are left alone.
    fn follow(&self, me: &NodeName, view: &View) {
        let revision = view.revision().get();
        // Asked with each miss, and seldom new.
        if self.told.load(Relaxed) == revision || self.told.swap(revision, Relaxed) == revision {
            return;
        }
        let mut health = self.health.lock();
        health.told(&others_of(view, me), |name| is_up(view, name), |name| is_down(view, name));
        self.show(&health);
        drop(health);
        self.pace.lock().retain(|name| is_up(view, name));
        self.load.lock().retain(|name| is_up(view, name));
        if let Some(attached) = self.attached.load().as_ref() {
            attached.channels.lock().retain(|(name, _), _| view.node(name).is_some());
        }
    }

    /// Shows how many are left alone.
    fn show(&self, health: &Health) {
        self.families.left_alone.set(i64::try_from(health.left_alone()).unwrap_or(i64::MAX));
    }
}

/// Something that a node is asked.
pub(super) struct UnderWay {
    node: NodeName,
    load: Arc<Mutex<Load>>,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.load.lock().ended(&self.node);
    }
}

impl std::fmt::Debug for UnderWay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UnderWay").field("node", &self.node).finish_non_exhaustive()
    }
}

/// The nodes of a view other than `me` that might be asked.
fn others_of(view: &View, me: &NodeName) -> BTreeSet<NodeName> {
    others(view.nodes().map(|node| (&node.name, &node.state)), me)
}

/// Of nodes and their states, those other than `me` that might be asked: they hold slots, and are not taken for dead.
fn others<'a>(
    nodes: impl Iterator<Item = (&'a NodeName, &'a NodeState)>,
    me: &NodeName,
) -> BTreeSet<NodeName> {
    let others = nodes.filter(|(name, state)| *name != me && state.is_placed() && !state.is_away());
    others.map(|(name, _)| name.clone()).collect()
}

/// Whether the cluster takes a node for living.
fn is_up(view: &View, name: &NodeName) -> bool {
    view.node(name).is_some_and(|node| !node.state.is_away())
}

/// Whether the cluster takes a node for dead that may come back.
fn is_down(view: &View, name: &NodeName) -> bool {
    view.node(name).is_some_and(|node| matches!(node.state, NodeState::Down { .. }))
}

#[cfg(test)]
mod tests {
    use cluster::record::Before;

    use super::*;

    #[test]
    fn who_is_down_or_removed_or_holds_nothing_is_none_of_those_that_might_be_asked() {
        let nodes = [
            ("active", NodeState::Active),
            ("cordoned", NodeState::Cordoned),
            ("down", NodeState::Down { before: Before::Active }),
            ("draining", NodeState::Draining),
            ("joining", NodeState::Joining),
            ("me", NodeState::Active),
            ("removed", NodeState::Removed),
            ("removing", NodeState::Removing),
        ];
        let nodes = nodes.map(|(name, state)| (NodeName::parse(name).unwrap(), state));
        let me = NodeName::parse("me").unwrap();
        let found = others(nodes.iter().map(|node| (&node.0, &node.1)), &me);
        let found: Vec<_> = found.iter().map(NodeName::as_str).collect();
        assert_eq!(found, ["active", "cordoned", "draining"]);
    }
}

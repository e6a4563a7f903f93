//! A whole group in one thread: members, their disks, the network, clients, and whatever goes wrong, from one seed.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use cluster::{MemberId, Outcome};
use controlplane::raft::{
    Config, DiskError, Effect, Fatal, Incarnation, IncomingId, Limits, Machine as _, Members, Peer, ReadId,
    RequestId, Role, Sabotage, StartError, Timing,
};

use super::clients::Clients;
use super::disk::SimDisk;
use super::invariants::{self, Final, Invariant, Seen};
use super::machine::{Replica, Told};
use super::net::Net;
use super::rng::Rng;

const TICK_MS: u64 = 30;
/// How long things go wrong, in simulated milliseconds.
const STORM_MS: u64 = 12_000;
/// How long a whole group may take to come to one state.
const CALM_MS: u64 = 20_000;

pub(crate) struct Node {
    pub(crate) disk: SimDisk,
    pub(crate) peer: Option<Peer<SimDisk, Replica>>,
    told: Told,
    /// Counts starts: what was meant for an earlier life is not for this one.
    pub(crate) life: u64,
    /// Stopped, as by a debugger, until then.
    paused_until: u64,
    /// Milliseconds of its own clock's tick.
    tick_ms: u64,
    /// It lost its disk, and may not take part again.
    pub(crate) is_disowned: bool,
}

pub(crate) enum Event {
    Tick(MemberId),
    Message { to: MemberId, bytes: Bytes },
    Snapshot(Transfer),
    Restart(MemberId),
    Fault,
    Client,
}

/// A state on its way.
pub(crate) struct Transfer {
    from: MemberId,
    to: MemberId,
    sender_life: u64,
    receiver_life: u64,
    message: Bytes,
    frames: Vec<Bytes>,
    next: usize,
    incoming: Option<IncomingId>,
}

/// What a run came to.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) violations: Vec<String>,
    pub(crate) acknowledged: u64,
    pub(crate) unknown: u64,
    pub(crate) reads: u64,
    pub(crate) elections: u64,
    pub(crate) snapshots: u64,
    pub(crate) crashes: u64,
    pub(crate) changes: u64,
    pub(crate) strangers: u64,
    pub(crate) disowned: u64,
    pub(crate) layouts: u64,
}

pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) now: u64,
    pub(crate) nodes: BTreeMap<MemberId, Node>,
    pub(crate) net: Net,
    pub(crate) clients: Clients,
    pub(crate) report: Report,
    pub(crate) next_member: u64,
    events: BinaryHeap<Reverse<(u64, u64)>>,
    what: BTreeMap<u64, Event>,
    sequence: u64,
    invariants: Vec<Box<dyn Invariant>>,
    sabotage: Option<Sabotage>,
    is_calm: bool,
    /// Nobody asks for anything but the test.
    is_quiet: bool,
    pub(crate) trace: bool,
}

/// Runs one seed.
pub(crate) fn run(seed: u64, sabotage: Option<Sabotage>, trace: bool) -> Report {
    let mut world = World::new(seed, sabotage, trace);
    world.until(STORM_MS, false);
    world.calm();
    world.until(STORM_MS + CALM_MS, true);
    world.finish();
    world.report
}

pub(crate) fn member(number: u64) -> MemberId {
    MemberId::new(number).unwrap()
}

impl World {
    /// A group of three in which nothing goes wrong by itself, led by somebody.
    pub(crate) fn quiet(seed: u64) -> Self {
        let mut world = Self::with_size(seed, 3, None, false);
        world.is_calm = true;
        world.is_quiet = true;
        world.net.heal();
        world.pass(3_000);
        assert!(world.group().is_some(), "somebody leads");
        world
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, ms: u64) {
        let end = self.now + ms;
        self.until(end, false);
        self.now = end;
        assert_eq!(self.report.violations, Vec::<String>::new());
    }

    fn new(seed: u64, sabotage: Option<Sabotage>, trace: bool) -> Self {
        let size = [1, 3, 3, 3, 3, 5][usize::try_from(Rng::new(!seed).below(6)).unwrap()];
        Self::with_size(seed, size, sabotage, trace)
    }

    fn with_size(seed: u64, size: u64, sabotage: Option<Sabotage>, trace: bool) -> Self {
        let mut rng = Rng::new(seed);
        let net = Net::new(&mut rng);
        let mut world = Self {
            clients: Clients::new(),
            rng,
            now: 0,
            nodes: BTreeMap::new(),
            net,
            report: Report::default(),
            next_member: size + 1,
            events: BinaryHeap::new(),
            what: BTreeMap::new(),
            sequence: 0,
            invariants: invariants::all(),
            sabotage,
            is_calm: false,
            is_quiet: false,
            trace,
        };
        let logs: Vec<_> = (1..=size).map(|id| (member(id), world.new_log())).collect();
        let members = Members::of_voters(logs.clone());
        for (id, log) in logs {
            world.add(id, log, Some(&members));
        }
        let first_fault = world.rng.between(100, 400);
        world.at(first_fault, Event::Fault);
        world.at(50, Event::Client);
        world
    }

    pub(crate) fn new_log(&mut self) -> Incarnation {
        Incarnation(u128::from(self.rng.next()))
    }

    /// A new member on a new disk.
    pub(crate) fn add(&mut self, id: MemberId, log: Incarnation, members: Option<&Members>) {
        let disk = SimDisk::new(id, log, members);
        let node = Node {
            disk,
            peer: None,
            told: Rc::new(RefCell::new(Vec::new())),
            life: 0,
            paused_until: 0,
            tick_ms: self.rng.between(TICK_MS * 9 / 10, TICK_MS * 11 / 10),
            is_disowned: false,
        };
        self.nodes.insert(id, node);
        self.start(id);
    }

    pub(crate) fn at(&mut self, after: u64, event: Event) {
        self.sequence += 1;
        self.events.push(Reverse((self.now + after, self.sequence)));
        self.what.insert(self.sequence, event);
    }

    pub(crate) fn ids(&self) -> Vec<MemberId> {
        self.nodes.keys().copied().collect()
    }

    pub(crate) fn log(&self, text: impl FnOnce() -> String) {
        if self.trace {
            println!("{:>6} {}", self.now, text());
        }
    }

    pub(crate) fn see(&mut self, seen: &Seen<'_>) {
        self.log(|| match seen {
            Seen::Healed { .. } => "healed".to_owned(),
            _ => format!("{seen:?}"),
        });
        for invariant in &mut self.invariants {
            if let Err(violation) = invariant.see(seen) {
                self.report.violations.push(violation);
            }
        }
    }

    fn until(&mut self, end: u64, stop_when_one: bool) {
        let mut next_look = self.now;
        while let Some(Reverse((at, sequence))) = self.events.peek().copied() {
            if at > end || !self.report.violations.is_empty() {
                break;
            }
            self.events.pop();
            self.now = at;
            let event = self.what.remove(&sequence).unwrap();
            self.happen(event);
            if stop_when_one && self.now >= next_look {
                next_look = self.now + 200;
                if self.is_one() {
                    break;
                }
            }
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Tick(id) => {
                let node = &self.nodes[&id];
                let (life, tick) = (node.life, node.tick_ms);
                if node.paused_until > self.now {
                    let wait = node.paused_until - self.now;
                    self.at(wait, Event::Tick(id));
                    return;
                }
                self.at(tick, Event::Tick(id));
                self.with(id, Peer::tick);
                debug_assert!(self.nodes[&id].life >= life);
            }
            Event::Message { to, bytes } => {
                let Some(node) = self.nodes.get(&to) else { return };
                if node.paused_until > self.now {
                    let wait = node.paused_until - self.now;
                    self.at(wait, Event::Message { to, bytes });
                    return;
                }
                self.with(to, |peer| drop(peer.step(bytes)));
            }
            Event::Snapshot(transfer) => self.carry(transfer),
            Event::Restart(id) => self.start(id),
            Event::Fault => {
                if !self.is_calm {
                    self.fault();
                    let next = self.rng.between(50, 600);
                    self.at(next, Event::Fault);
                }
            }
            Event::Client => {
                if !self.is_quiet {
                    self.client();
                }
                let next = self.rng.between(5, 60);
                self.at(next, Event::Client);
            }
        }
    }

    /// Whether a member would notice that it is spoken to.
    pub(crate) fn is_awake(&self, id: MemberId) -> bool {
        self.nodes.get(&id).is_some_and(|node| node.peer.is_some() && node.paused_until <= self.now)
    }

    /// Lets a member that is alive do something, and then all that follows from it.
    pub(crate) fn with<T>(
        &mut self,
        id: MemberId,
        act: impl FnOnce(&mut Peer<SimDisk, Replica>) -> T,
    ) -> Option<T> {
        let peer = self.nodes.get_mut(&id)?.peer.as_mut()?;
        let done = act(peer);
        self.work(id);
        Some(done)
    }

    fn work(&mut self, id: MemberId) {
        let mut effects = Vec::new();
        let node = self.nodes.get_mut(&id).unwrap();
        let Some(peer) = &mut node.peer else { return };
        let applied_before = peer.status().applied;
        let mut result = Ok(());
        while result.is_ok() && peer.has_ready() {
            result = peer.ready(&mut |effect| effects.push(effect));
        }
        let strangers = peer.status().strangers_refused;
        let (applied, digest) = (peer.status().applied, peer.machine().digest());
        let told = std::mem::take(&mut *node.told.borrow_mut());
        self.report.strangers = self.report.strangers.max(strangers);
        for command in told {
            let super::machine::AppliedCommand { index, request, content, again, epoch, follows, unsound } =
                command;
            self.report.layouts += u64::from(follows.is_some());
            self.see(&Seen::Command { member: id, index, request, content, again });
            self.see(&Seen::Layout { member: id, index, epoch, follows });
            if let Some(why) = unsound {
                self.see(&Seen::Unsound { member: id, index, why });
            }
        }
        if applied != applied_before && result.is_ok() {
            self.see(&Seen::State { member: id, index: applied, digest });
        }
        for effect in effects {
            self.carry_out(id, effect);
        }
        match result {
            Ok(()) => {}
            Err(Fatal::Disk(DiskError::Full { .. })) => {
                self.log(|| format!("member {id}: disk full"));
                let node = self.nodes.get_mut(&id).unwrap();
                node.peer = None;
                node.disk.make_room();
                let wait = self.rng.between(100, 2000);
                self.at(wait, Event::Restart(id));
            }
            Err(Fatal::Disk(DiskError::Lost { .. })) => self.crash(id),
            // As it should: it hears that it is known with another log, and stops for ever.
            Err(Fatal::Disowned { .. }) if self.nodes[&id].is_disowned => {
                self.report.disowned += 1;
                self.nodes.get_mut(&id).unwrap().peer = None;
            }
            Err(fatal) => self.report.violations.push(format!("member {id} stopped: {fatal:?}")),
        }
    }

    fn carry_out(&mut self, from: MemberId, effect: Effect<Outcome>) {
        match effect {
            Effect::Send { to, message } => {
                for at in self.net.arrivals(&mut self.rng, self.now, from, to) {
                    self.at(at - self.now, Event::Message { to, bytes: message.clone() });
                }
            }
            Effect::SendSnapshot { to, mut snapshot } => {
                let mut frames = Vec::new();
                while let Some(frame) = snapshot.next_frame().unwrap() {
                    frames.push(frame);
                }
                let receiver_life = self.nodes.get(&to).map_or(0, |node| node.life);
                let sender_life = self.nodes[&from].life;
                let message = snapshot.message();
                let transfer = Transfer {
                    from,
                    to,
                    sender_life,
                    receiver_life,
                    message,
                    frames,
                    next: 0,
                    incoming: None,
                };
                self.at(1, Event::Snapshot(transfer));
            }
            Effect::Answer { request, index, .. } => {
                self.report.acknowledged += 1;
                self.clients.answered(request);
                self.see(&Seen::Acknowledged { request, index });
            }
            Effect::Fail { request, error } => self.refused(request, error.is_certain()),
            Effect::Changed { request, result } => {
                self.log(|| format!("change {request}: {result:?}"));
                self.report.changes += u64::from(result.is_ok());
            }
            Effect::Readable { read, index } => {
                if self.clients.read_ended(from, read) {
                    self.report.reads += 1;
                    self.see(&Seen::ReadEnded { read: read.0, index });
                }
            }
            Effect::Leadership(now) => {
                self.log(|| format!("member {from}: {now:?}"));
                if now.role == Role::Leader {
                    self.report.elections += 1;
                    self.see(&Seen::Leads { member: from, term: now.term });
                }
            }
            Effect::Members(members) => self.log(|| format!("member {from}: {members:?}")),
            Effect::Diverged(divergence) => self.report.violations.push(divergence.to_string()),
        }
    }

    pub(crate) fn refused(&mut self, request: RequestId, is_certain: bool) {
        self.clients.answered(request);
        if is_certain {
            self.see(&Seen::Refused { request });
        } else {
            self.report.unknown += 1;
        }
    }

    /// One step of a state on its way: its message, a frame, or the end.
    fn carry(&mut self, mut transfer: Transfer) {
        let (from, to) = (transfer.from, transfer.to);
        let is_gone = self.net.is_cut(from, to)
            || self
                .nodes
                .get(&to)
                .is_none_or(|node| node.life != transfer.receiver_life || node.peer.is_none());
        let is_spoilt = !self.is_calm && self.rng.chance(5);
        let result = if is_gone {
            Err(())
        } else if transfer.incoming.is_none() {
            let begun = self.with(to, |peer| peer.snapshot_begin(transfer.message.clone()));
            begun.and_then(Result::ok).map(|id| transfer.incoming = Some(id)).ok_or(())
        } else if let (Some(frame), Some(id)) = (transfer.frames.get(transfer.next), transfer.incoming) {
            let mut frame = frame.clone();
            if is_spoilt {
                let mut bytes = frame.to_vec();
                let at = usize::try_from(self.rng.below(bytes.len() as u64)).unwrap();
                bytes[at] ^= 1;
                frame = bytes.into();
            }
            transfer.next += 1;
            self.with(to, |peer| peer.snapshot_frame(id, frame)).and_then(Result::ok).ok_or(())
        } else {
            let id = transfer.incoming.unwrap();
            let ended = self.with(to, |peer| peer.snapshot_end(id)).and_then(Result::ok);
            self.report.snapshots += u64::from(ended.is_some());
            self.report_snapshot(&transfer, ended.is_some());
            return;
        };
        if result.is_ok() {
            let at = self.net.arrival(&mut self.rng, self.now, from, to);
            self.at(at - self.now, Event::Snapshot(transfer));
        } else {
            if let Some(id) = transfer.incoming {
                self.with(to, |peer| peer.snapshot_abort(id));
            }
            self.report_snapshot(&transfer, false);
        }
    }

    fn report_snapshot(&mut self, transfer: &Transfer, arrived: bool) {
        if self.nodes[&transfer.from].life == transfer.sender_life {
            let to = transfer.to;
            self.with(transfer.from, |peer| peer.report_snapshot(to, arrived));
        }
    }

    fn start(&mut self, id: MemberId) {
        let node = self.nodes.get_mut(&id).unwrap();
        if node.peer.is_some() {
            return;
        }
        node.life += 1;
        let mut config = Config::new(self.rng.next());
        config.timing =
            Timing { tick: Duration::from_millis(TICK_MS), heartbeat_ticks: 2, election_ticks: 10 };
        config.limits = small();
        config.sabotage = self.sabotage;
        let machine = Replica::new(Rc::clone(&node.told));
        match Peer::start(node.disk.clone(), &machine, config) {
            Ok(peer) => {
                let is_first = node.life == 1;
                let (index, digest) = (peer.status().applied, peer.machine().digest());
                node.peer = Some(peer);
                self.log(|| format!("member {id} starts at {index}"));
                if index > 1 {
                    self.see(&Seen::State { member: id, index, digest });
                }
                if is_first {
                    let wait = self.rng.below(TICK_MS);
                    self.at(wait, Event::Tick(id));
                }
            }
            Err(StartError::Disk(DiskError::Lost { .. } | DiskError::Full { .. })) => {
                self.at(100, Event::Restart(id));
            }
            Err(error) => self.report.violations.push(format!("member {id} does not start: {error:?}")),
        }
    }

    /// The power of one member goes; it comes back some time later.
    pub(crate) fn crash(&mut self, id: MemberId) {
        self.log(|| format!("member {id} crashes"));
        self.report.crashes += 1;
        let node = self.nodes.get_mut(&id).unwrap();
        node.peer = None;
        node.paused_until = 0;
        node.disk.power_cut(&mut self.rng);
        node.told.borrow_mut().clear();
        self.clients.member_gone(id);
        let wait = if self.is_calm { 50 } else { self.rng.between(20, 3000) };
        self.at(wait, Event::Restart(id));
    }

    /// A member ends and does not come back by itself.
    pub(crate) fn kill(&mut self, id: MemberId) {
        let node = self.nodes.get_mut(&id).unwrap();
        node.peer = None;
        node.disk.power_cut(&mut self.rng);
        self.clients.member_gone(id);
    }

    pub(crate) fn revive(&mut self, id: MemberId) {
        self.start(id);
    }

    pub(crate) fn pause(&mut self, id: MemberId, ms: u64) {
        self.log(|| format!("member {id} is stopped for {ms} ms"));
        self.nodes.get_mut(&id).unwrap().paused_until = self.now + ms;
    }

    /// It comes back with an empty disk under its old number.
    pub(crate) fn wipe(&mut self, id: MemberId) {
        self.log(|| format!("member {id} loses its disk"));
        let log = self.new_log();
        let node = self.nodes.get_mut(&id).unwrap();
        node.peer = None;
        node.disk = SimDisk::new(id, log, None);
        node.is_disowned = true;
        self.clients.member_gone(id);
        self.at(50, Event::Restart(id));
    }

    /// From now on nothing goes wrong.
    fn calm(&mut self) {
        self.is_calm = true;
        self.net.heal();
        for id in self.ids() {
            let node = self.nodes.get_mut(&id).unwrap();
            node.paused_until = 0;
            node.disk.make_room();
            if node.peer.is_none() {
                self.at(10, Event::Restart(id));
            }
        }
        self.clients.calm();
    }

    /// Those who belong to the group, as its leader sees it.
    pub(crate) fn group(&self) -> Option<(MemberId, Members)> {
        let leads = |node: &Node| {
            let status = node.peer.as_ref()?.status();
            (status.leadership.role == Role::Leader).then_some((
                status.leadership.term,
                status.member,
                status.members,
            ))
        };
        let newest = self.nodes.values().filter_map(leads).max_by_key(|(term, ..)| *term)?;
        Some((newest.1, newest.2))
    }

    /// Whether all have come to one state.
    fn is_one(&self) -> bool {
        let Some((_, members)) = self.group() else { return false };
        let last = self.clients.last_acknowledged_after_calm();
        let state = |id: &u64| {
            let node = self.nodes.get(&member(*id))?;
            let status = node.peer.as_ref()?.status();
            Some((status.applied, status.commit, status.last_index, status.members.is_joint()))
        };
        let all: Vec<_> = members.all().iter().filter(|id| !self.is_disowned(**id)).map(state).collect();
        let one = all.first().copied().flatten();
        last && !members.is_joint()
            && one.is_some_and(|one| one.0 == one.1 && one.1 == one.2)
            && all.iter().all(|state| *state == one)
    }

    fn is_disowned(&self, id: u64) -> bool {
        self.nodes.get(&member(id)).is_some_and(|node| node.is_disowned)
    }

    fn finish(&mut self) {
        if !self.report.violations.is_empty() {
            return;
        }
        let Some((_, members)) = self.group() else {
            self.report.violations.push("nobody leads at the end".to_owned());
            return;
        };
        if !self.clients.last_acknowledged_after_calm() {
            self.report.violations.push("nothing was acknowledged at the end".to_owned());
        }
        let requests = self.clients.all_requests();
        let state = |id: u64| {
            let peer = self.nodes.get(&member(id))?.peer.as_ref()?;
            let status = peer.status();
            let machine = peer.machine();
            let index = |request: &RequestId| Some((*request, machine.index_of(*request)?));
            Some(Final {
                applied: status.applied,
                digest: machine.digest(),
                leads: status.leadership.role == Role::Leader,
                is_joint: status.members.is_joint(),
                requests: requests.iter().filter_map(index).collect(),
            })
        };
        let ids: Vec<u64> = members.all().into_iter().filter(|id| !self.is_disowned(*id)).collect();
        let finals: BTreeMap<_, _> = ids.iter().filter_map(|id| Some((member(*id), state(*id)?))).collect();
        self.see(&Seen::Healed { members: &finals });
    }

    pub(crate) fn read(&mut self, id: MemberId, read: ReadId) {
        if self.is_awake(id) {
            self.see(&Seen::ReadBegan { read: read.0 });
            self.with(id, |peer| drop(peer.read_index(read)));
        }
    }
}

/// Bounds that are met all the time.
fn small() -> Limits {
    Limits {
        command_bytes_max: 1 << 17,
        message_bytes_max: 2_000,
        messages_in_flight_max: 4,
        uncommitted_bytes_max: 20_000,
        apply_bytes_max: 3_000,
        log_cache_bytes_max: 8_000,
        log_entries_max: 30,
        log_bytes_max: 400_000,
        log_entries_kept: 8,
        proposals_max: 8,
        reads_max: 8,
        snapshots_max: 2,
        frame_bytes: 2_000,
        digest_interval: 5,
    }
}

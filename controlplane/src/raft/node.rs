//! The thread that owns a member and its disk. Everybody else sends it questions through [`RaftHandle`].
//!
//! Each turn takes every question that waits, then lets raft work once for all of them: under load one sync of the disk
//! serves many proposals. Time is monotonic; a process that was stopped for a while does not make up for the ticks it
//! missed, but hears first what happened meanwhile.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use cluster::MemberId;

use super::disk::{Disk, DiskError, Members};
use super::effect::{Effect, ReadId};
use super::error::{ChangeError, Fatal, ProposeError, ReadError, SnapshotError, StartError, TransferError};
use super::handle::{Answered, Ask, RaftHandle, Told, Waiter};
use super::machine::{Machine, RequestId};
use super::peer::Peer;
use super::transport::Transport;

/// Questions taken in one turn: what is proposed is on its way after so many at the latest.
const TURN_ASKS_MAX: usize = 1024;

/// Ticks made up for in one turn after the thread was kept from running.
const TURN_TICKS_MAX: u32 = 2;

/// How often a member with a full disk looks for room.
const FULL_RETRY: Duration = Duration::from_secs(5);

/// Why the thread ended.
pub type Stopped = Result<(), Arc<Fatal>>;

/// A running member.
pub struct RaftNode<A> {
    handle: RaftHandle<A>,
    thread: Option<JoinHandle<Stopped>>,
}

impl<A: Send + 'static> RaftNode<A> {
    /// Runs the member that `open` makes, on a thread of its own. `open` is called once here, and again on the thread
    /// whenever the disk was full, after the member before was dropped. `transport` is made with the handle that it
    /// reports to.
    pub fn spawn<D, M, T>(
        mut open: impl FnMut() -> Result<Peer<D, M>, StartError> + Send + 'static,
        transport: impl FnOnce(&RaftHandle<A>) -> T,
    ) -> Result<Self, SpawnError>
    where
        D: Disk + Send + 'static,
        M: Machine<Answer = A> + Send + 'static,
        T: Transport,
    {
        let peer = open()?;
        let limits = peer.limits();
        let (sender, asks) = channel();
        let (handle, told) = RaftHandle::new(sender, limits.proposals_max, limits.reads_max);
        let transport = transport(&handle);
        let tick = peer.timing().tick;
        let mut driver = Driver {
            peer: Some(peer),
            asks,
            told,
            transport,
            tick,
            proposals: BTreeMap::new(),
            changes: BTreeMap::new(),
            reads: BTreeMap::new(),
            next_read: 0,
        };
        let run = move || match catch_unwind(AssertUnwindSafe(|| driver.run(&mut open))) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(fatal)) => Err(driver.halt(fatal)),
            Err(panic) => Err(driver.halt(Fatal::Raft { reason: reason_of(&*panic) })),
        };
        let thread = std::thread::Builder::new().name("raft".to_owned()).spawn(run)?;
        Ok(Self { handle, thread: Some(thread) })
    }

    /// Talks to it.
    pub fn handle(&self) -> &RaftHandle<A> {
        &self.handle
    }

    /// Stops it and waits for its thread, which closes the disk.
    pub fn stop(mut self) -> Stopped {
        self.join()
    }

    fn join(&mut self) -> Stopped {
        self.handle.stop();
        // The thread catches panics itself.
        self.thread.take().and_then(|thread| thread.join().ok()).unwrap_or(Ok(()))
    }
}

impl<A> Drop for RaftNode<A> {
    fn drop(&mut self) {
        self.handle.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Why a member does not run.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// It cannot be made.
    #[error("start raft")]
    Start(#[from] StartError),
    /// No thread.
    #[error("start the thread of raft")]
    Thread(#[from] std::io::Error),
}

/// Waits for the answer to a command.
type Proposer<A> = Waiter<Result<Answered<A>, ProposeError>>;

struct Driver<D: Disk, M: Machine, T> {
    /// `None` while the disk is full.
    peer: Option<Peer<D, M>>,
    asks: Receiver<Ask<M::Answer>>,
    told: Told,
    transport: T,
    tick: Duration,
    proposals: BTreeMap<RequestId, Proposer<M::Answer>>,
    changes: BTreeMap<RequestId, Waiter<Result<Members, ChangeError>>>,
    reads: BTreeMap<ReadId, Waiter<Result<u64, ReadError>>>,
    next_read: u64,
}

/// Whether the thread goes on.
enum Go {
    On,
    Stop,
}

impl<D: Disk, M: Machine, T: Transport> Driver<D, M, T> {
    fn run(&mut self, open: &mut dyn FnMut() -> Result<Peer<D, M>, StartError>) -> Result<(), Fatal> {
        loop {
            match self.lead_a_life() {
                Ok(()) => return Ok(()),
                Err(Fatal::Disk(full @ DiskError::Full { .. })) => {
                    tracing::error!(error = %full, "raft takes part in nothing until its disk has room");
                    let _ = self.halt(Fatal::Disk(full));
                    if let Go::Stop = self.wait_for_room(open)? {
                        return Ok(());
                    }
                    tracing::info!("raft takes part again");
                    self.told.halted.send_replace(None);
                }
                Err(fatal) => return Err(fatal),
            }
        }
    }

    /// One member's life, from a start to its end.
    fn lead_a_life(&mut self) -> Result<(), Fatal> {
        if let Some(peer) = &self.peer {
            let status = peer.status();
            self.told.leadership.send_replace(status.leadership);
            self.told.members.send_replace(status.members);
        }
        let mut next_tick = Instant::now() + self.tick;
        loop {
            if let Go::Stop = self.take_asks(next_tick) {
                return Ok(());
            }
            let now = Instant::now();
            let mut ticks = 0;
            while now >= next_tick && ticks < TURN_TICKS_MAX {
                if let Some(peer) = &mut self.peer {
                    peer.tick();
                }
                next_tick += self.tick;
                ticks += 1;
            }
            next_tick = next_tick.max(now);
            self.work()?;
        }
    }

    /// Lets raft work until nothing is left.
    fn work(&mut self) -> Result<(), Fatal> {
        let Some(mut peer) = self.peer.take() else { return Ok(()) };
        let mut result = Ok(());
        while result.is_ok() && peer.has_ready() {
            result = peer.ready(&mut |effect| self.carry_out(effect));
        }
        self.peer = Some(peer);
        result
    }

    /// Waits for a question until the next tick, and takes all that are there.
    fn take_asks(&mut self, next_tick: Instant) -> Go {
        let wait = next_tick.saturating_duration_since(Instant::now());
        let mut next = match self.asks.recv_timeout(wait) {
            Ok(ask) => Some(ask),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return Go::Stop,
        };
        for _ in 0..TURN_ASKS_MAX {
            let Some(ask) = next else { break };
            if let Go::Stop = self.take(ask) {
                return Go::Stop;
            }
            next = self.asks.try_recv().ok();
        }
        Go::On
    }

    fn take(&mut self, ask: Ask<M::Answer>) -> Go {
        let Some(peer) = &mut self.peer else { return refuse(ask) };
        match ask {
            Ask::Message { message, _permit } => {
                if let Err(error) = peer.step(message) {
                    tracing::debug!(%error, "message refused");
                }
            }
            Ask::Propose { request, command, waiter } => match peer.propose(request, &command) {
                Ok(()) => drop(self.proposals.insert(request, waiter)),
                Err(error) => drop(waiter.reply.send(Err(error))),
            },
            Ask::Change { request, changes, waiter } => match peer.propose_members(request, &changes) {
                Ok(()) => drop(self.changes.insert(request, waiter)),
                Err(error) => drop(waiter.reply.send(Err(error))),
            },
            Ask::Read { waiter, id } => {
                self.next_read += 1;
                let read = ReadId(self.next_read);
                match peer.read_index(read) {
                    Ok(()) => drop(self.reads.insert(read, waiter)),
                    Err(error) => drop(waiter.reply.send(Err(error))),
                }
                let _ = id.send(read);
            }
            Ask::Transfer { to, reply } => drop(reply.send(peer.transfer_leader(to))),
            Ask::Campaign => peer.campaign(),
            Ask::Status { reply } => drop(reply.send(peer.status())),
            Ask::Unreachable { member } => peer.report_unreachable(member),
            Ask::SnapshotSent { member, arrived } => peer.report_snapshot(member, arrived),
            Ask::SnapshotBegin { message, reply } => drop(reply.send(peer.snapshot_begin(message))),
            Ask::SnapshotFrame { id, frame, reply } => drop(reply.send(peer.snapshot_frame(id, frame))),
            Ask::SnapshotEnd { id, reply } => drop(reply.send(peer.snapshot_end(id))),
            Ask::SnapshotAbort { id } => peer.snapshot_abort(id),
            Ask::ForgetProposal { request } => {
                if self.proposals.remove(&request).is_some() | self.changes.remove(&request).is_some() {
                    peer.forget_proposal(request);
                }
            }
            Ask::ForgetRead { read } => {
                if self.reads.remove(&read).is_some() {
                    peer.forget_read(read);
                }
            }
            Ask::Stop => return Go::Stop,
        }
        Go::On
    }

    fn carry_out(&mut self, effect: Effect<M::Answer>) {
        match effect {
            Effect::Send { to, message } => self.transport.send(to, message),
            Effect::SendSnapshot { to, snapshot } => self.transport.send_snapshot(to, snapshot),
            Effect::Answer { request, index, answer } => {
                if let Some(waiter) = self.proposals.remove(&request) {
                    let _ = waiter.reply.send(Ok(Answered { index, answer }));
                }
            }
            Effect::Fail { request, error } => {
                if let Some(waiter) = self.proposals.remove(&request) {
                    let _ = waiter.reply.send(Err(error));
                }
            }
            Effect::Changed { request, result } => {
                if let Some(waiter) = self.changes.remove(&request) {
                    let _ = waiter.reply.send(result);
                }
            }
            Effect::Readable { read, index } => {
                if let Some(waiter) = self.reads.remove(&read) {
                    let _ = waiter.reply.send(Ok(index));
                }
            }
            Effect::Leadership(now) => {
                tracing::debug!(term = now.term, leader = now.leader.map(MemberId::get), role = ?now.role, "leadership");
                self.told.leadership.send_replace(now);
            }
            Effect::Members(members) => {
                tracing::info!(voters = ?members.voters, learners = ?members.learners, "the group changed");
                self.told.members.send_replace(members);
            }
            Effect::Diverged(divergence) => {
                tracing::error!(%divergence, "two members came to different states");
            }
        }
    }

    /// The member is dropped, and with it whoever waits; others are told why, and that it leads nothing.
    fn halt(&mut self, fatal: Fatal) -> Arc<Fatal> {
        self.peer = None;
        self.proposals.clear();
        self.changes.clear();
        self.reads.clear();
        self.told.leadership.send_modify(|leadership| {
            leadership.leader = None;
            leadership.role = super::effect::Role::Follower;
        });
        let fatal = Arc::new(fatal);
        self.told.halted.send_replace(Some(Arc::clone(&fatal)));
        fatal
    }

    fn wait_for_room(
        &mut self,
        open: &mut dyn FnMut() -> Result<Peer<D, M>, StartError>,
    ) -> Result<Go, Fatal> {
        loop {
            let until = Instant::now() + FULL_RETRY;
            while Instant::now() < until {
                if let Go::Stop = self.take_asks(until) {
                    return Ok(Go::Stop);
                }
            }
            match open() {
                Ok(peer) => {
                    self.peer = Some(peer);
                    return Ok(Go::On);
                }
                Err(StartError::Disk(DiskError::Full { .. })) => {}
                Err(error) => return Err(Fatal::Start(error)),
            }
        }
    }
}

/// Answers while the disk is full.
fn refuse<A>(ask: Ask<A>) -> Go {
    match ask {
        Ask::Propose { waiter, .. } => drop(waiter.reply.send(Err(ProposeError::DiskFull))),
        Ask::Change { waiter, .. } => {
            drop(waiter.reply.send(Err(ChangeError::Propose(ProposeError::DiskFull))));
        }
        Ask::Read { waiter, .. } => drop(waiter.reply.send(Err(ReadError::Stopped))),
        Ask::Transfer { reply, .. } => drop(reply.send(Err(TransferError::Stopped))),
        Ask::SnapshotBegin { reply, .. } => drop(reply.send(Err(SnapshotError::Stopped))),
        Ask::SnapshotFrame { reply, .. } | Ask::SnapshotEnd { reply, .. } => {
            drop(reply.send(Err(SnapshotError::Stopped)));
        }
        Ask::Message { .. }
        | Ask::Campaign
        | Ask::Status { .. }
        | Ask::Unreachable { .. }
        | Ask::SnapshotSent { .. }
        | Ask::SnapshotAbort { .. }
        | Ask::ForgetProposal { .. }
        | Ask::ForgetRead { .. } => {}
        Ask::Stop => return Go::Stop,
    }
    Go::On
}

fn reason_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "panic without a text".to_owned())
}

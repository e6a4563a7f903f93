//! One member of the group without any IO of its own but that of its [`Disk`]: time comes in as ticks, messages as
//! bytes, and what has to be done goes out as [`Effect`]s from [`Peer::ready`].
//!
//! The same type runs on a thread in production and thousands of times a second in the simulation. Invariants: after a
//! [`Fatal`] it does nothing more; nothing is proposed by a member that does not lead, since raft would forward it
//! without a word.

use bytes::Bytes;
use cluster::MemberId;
use raft::eraftpb::MessageType;
use raft::{RawNode, SnapshotStatus, StateRole};

use super::config::{Config, Limits, Timing};
use super::digests::{Digests, Verdict};
use super::disk::{AppliedState, Boot, Disk, DiskError, Identity, Incarnation};
use super::effect::{Effect, Leadership, Progress, ReadId, Role, Status};
use super::envelope::{Purpose, seal};
use super::error::{Fatal, MessageError, ProposeError, ReadError, StartError, TransferError};
use super::log::Log;
use super::machine::{Digest, Machine, Publication, RequestId};
use super::proposals::Proposals;
use super::read_index::Reads;
use super::slog_bridge;
use super::snapshot::{Incoming, Verified};
use super::wire::{self, Content, Received};

/// A member of the group.
pub struct Peer<D: Disk, M: Machine> {
    pub(super) identity: Identity,
    pub(super) config: Config,
    pub(super) raw: RawNode<Log<D>>,
    pub(super) machine: M,
    pub(super) applied: AppliedState,
    pub(super) leadership: Leadership,
    pub(super) proposals: Proposals,
    /// The change of members whose joint configuration has not ended.
    pub(super) joint_change: Option<RequestId>,
    pub(super) reads: Reads,
    pub(super) digests: Digests,
    pub(super) incoming: Option<Incoming>,
    pub(super) incoming_count: u64,
    pub(super) verified: Option<Verified<M>>,
    pub(super) strangers_refused: u64,
    /// Members whose snapshot was announced by raft and has no state.
    pub(super) unsent: Vec<MemberId>,
    /// What is to be handed out at the next [`Peer::ready`].
    pub(super) out: Vec<Effect<M::Answer>>,
    pub(super) is_dead: bool,
    /// Why it is about to be.
    pub(super) fatal: Option<Fatal>,
    /// Ticks since the leader last looked whether a joint configuration was left hanging.
    pub(super) joint_ticks: usize,
}

impl<D: Disk, M: Machine> Peer<D, M> {
    /// Takes up what is on `disk`. The machine is restored through `machine`, whose own content does not matter.
    pub fn start(disk: D, machine: &M, config: Config) -> Result<Self, StartError> {
        config.validate()?;
        let boot = disk.load()?;
        let own = boot.applied.members.logs.get(&boot.identity.member.get());
        if own.is_some_and(|own| *own != boot.identity.incarnation) {
            return Err(StartError::OtherLog);
        }
        let machine = restore(&disk, machine, &boot)?;
        let mut machine = machine;
        machine.published(Publication::Whole { index: boot.applied.index });
        let log = Log::new(disk, &boot, config.limits);
        let raw = RawNode::new(&raft_config(&config, &boot), log, &slog_bridge::logger())
            .map_err(|error| StartError::Raft { reason: error.to_string() })?;
        let mut peer = Self {
            identity: boot.identity,
            config,
            raw,
            machine,
            applied: boot.applied,
            leadership: Leadership::default(),
            proposals: Proposals::default(),
            joint_change: None,
            reads: Reads::new(mix(config.seed, boot.identity.member.get()), config.timing.election_ticks / 2),
            digests: Digests::default(),
            incoming: None,
            incoming_count: 0,
            verified: None,
            strangers_refused: 0,
            unsent: Vec::new(),
            out: Vec::new(),
            is_dead: false,
            fatal: None,
            joint_ticks: 0,
        };
        peer.leadership = peer.leadership_now();
        peer.steady_timeout();
        Ok(peer)
    }

    /// Who this is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(super) fn limits(&self) -> Limits {
        self.config.limits
    }

    pub(super) fn timing(&self) -> Timing {
        self.config.timing
    }

    /// The state machine, as of everything applied.
    pub fn machine(&self) -> &M {
        &self.machine
    }

    /// The disk, for looking at.
    pub fn disk(&self) -> &D {
        self.raw.store().disk()
    }

    /// Ends the peer and gives its disk back.
    pub fn into_disk(self) -> D {
        self.raw.raft.r.raft_log.store.into_disk()
    }

    /// One tick of [`super::Timing::tick`] has passed.
    pub fn tick(&mut self) {
        if self.is_dead {
            return;
        }
        self.raw.tick();
        self.reads.tick();
        self.end_joint_left_hanging();
        self.after_step();
    }

    /// A message came in. An error concerns this message alone.
    pub fn step(&mut self, message: Bytes) -> Result<(), MessageError> {
        if self.is_dead {
            return Err(MessageError::Stopped);
        }
        let received = self.receive(message)?;
        match received.content {
            Content::Digest { index, digest } => {
                let verdict = self.digests.theirs(received.from, index, digest, &self.applied.members);
                self.judge(verdict);
            }
            Content::Raft(message) => {
                if message.msg_type == i32::from(MessageType::MsgSnapshot) {
                    return Err(MessageError::Malformed { reason: "a snapshot comes with its records" });
                }
                // Answers to members that are gone are the only refusals, and nothing is to be done about them.
                let _ = self.raw.step(*message);
                self.after_step();
            }
        }
        Ok(())
    }

    /// Reads a message and looks at who sends it.
    pub(super) fn receive(&mut self, message: Bytes) -> Result<Received, MessageError> {
        let received = wire::read(&self.identity, message);
        if let Err(MessageError::Disowned { by }) = received {
            self.die(Fatal::Disowned { by });
        }
        let received = received?;
        self.admit(received.from, received.incarnation)?;
        Ok(received)
    }

    /// Whether the sender has the log it was added with. Of one that does not belong to the group as applied here nothing
    /// is known, and nothing that counts is asked of it.
    fn admit(&mut self, from: MemberId, incarnation: Incarnation) -> Result<(), MessageError> {
        match self.applied.members.logs.get(&from.get()) {
            Some(known) if *known != incarnation => {
                self.strangers_refused += 1;
                Err(MessageError::OtherIncarnation { member: from })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Proposes a command. `Ok` means that an [`Effect::Answer`] or [`Effect::Fail`] with this id will come.
    pub fn propose(&mut self, request: RequestId, command: &[u8]) -> Result<(), ProposeError> {
        self.may_propose(request)?;
        let limit = self.config.limits.command_bytes_max;
        if command.len() > limit {
            return Err(ProposeError::TooLarge { bytes: command.len(), limit });
        }
        let sealed = seal(Purpose::Command, request, command);
        let before = self.raw.raft.raft_log.last_index();
        self.raw.propose(Vec::new(), sealed.into()).map_err(|_| ProposeError::Busy)?;
        self.note_proposal(request, before, false)
    }

    /// What has to hold before anything is given to raft.
    pub(super) fn may_propose(&self, request: RequestId) -> Result<(), ProposeError> {
        if self.is_dead {
            return Err(ProposeError::Stopped);
        }
        if self.raw.raft.state != StateRole::Leader {
            return Err(ProposeError::NotLeader { leader: self.leader() });
        }
        if self.raw.raft.lead_transferee.is_some() || self.proposals.len() >= self.config.limits.proposals_max
        {
            return Err(ProposeError::Busy);
        }
        if self.proposals.contains(request) {
            return Err(ProposeError::Duplicate);
        }
        Ok(())
    }

    pub(super) fn note_proposal(
        &mut self,
        request: RequestId,
        last_index_before: u64,
        is_change: bool,
    ) -> Result<(), ProposeError> {
        let last = self.raw.raft.raft_log.last_index();
        if last != last_index_before + 1 {
            return Err(ProposeError::Busy);
        }
        self.proposals.add(request, last, self.raw.raft.term, is_change);
        self.after_step();
        Ok(())
    }

    /// Nobody waits for this proposal any longer. It may happen nevertheless.
    pub fn forget_proposal(&mut self, request: RequestId) {
        self.proposals.forget(request);
    }

    /// Asks for a state as new as any that was answered anywhere so far; works at every member. An
    /// [`Effect::Readable`] comes when a majority was reached, however long that takes, unless the read is forgotten.
    pub fn read_index(&mut self, read: ReadId) -> Result<(), ReadError> {
        if self.is_dead {
            return Err(ReadError::Stopped);
        }
        if self.reads.len() >= self.config.limits.reads_max {
            return Err(ReadError::Busy);
        }
        #[cfg(feature = "sabotage")]
        if self.config.sabotage == Some(super::config::Sabotage::ReadWithoutQuorum) {
            self.out.push(Effect::Readable { read, index: self.applied.index });
            return Ok(());
        }
        self.reads.add(read);
        self.begin_reads();
        Ok(())
    }

    /// Nobody waits for this read any longer.
    pub fn forget_read(&mut self, read: ReadId) {
        self.reads.forget(read);
    }

    /// Hands leadership over. Whether it happened shows in [`Effect::Leadership`].
    pub fn transfer_leader(&mut self, to: MemberId) -> Result<(), TransferError> {
        if self.is_dead {
            return Err(TransferError::Stopped);
        }
        if self.raw.raft.state != StateRole::Leader {
            return Err(TransferError::NotLeader { leader: self.leader() });
        }
        if !self.applied.members.voters.contains(&to.get()) {
            return Err(TransferError::NotVoter { member: to });
        }
        self.raw.transfer_leader(to.get());
        self.after_step();
        Ok(())
    }

    /// Stands for election at once, if it has a vote.
    pub fn campaign(&mut self) {
        if !self.is_dead && self.raw.raft.promotable() {
            // It refuses only where a change of members waits, and then it may not.
            let _ = self.raw.campaign();
            self.after_step();
        }
    }

    /// A member could not be reached: what was sent last is probably lost.
    pub fn report_unreachable(&mut self, member: MemberId) {
        if !self.is_dead {
            self.raw.report_unreachable(member.get());
        }
    }

    /// Sending a state came to an end, well or not.
    pub fn report_snapshot(&mut self, member: MemberId, arrived: bool) {
        if self.is_dead {
            return;
        }
        self.raw.store().sent(member);
        let status = if arrived { SnapshotStatus::Finish } else { SnapshotStatus::Failure };
        self.raw.report_snapshot(member.get(), status);
    }

    /// Where it stands.
    pub fn status(&self) -> Status {
        let (first_index, last_index) = self.raw.store().bounds();
        Status {
            member: self.identity.member,
            leadership: self.leadership_now(),
            commit: self.raw.raft.raft_log.committed,
            applied: self.applied.index,
            first_index,
            last_index,
            members: self.applied.members.clone(),
            progress: self.progress(),
            strangers_refused: self.strangers_refused,
        }
    }

    fn progress(&self) -> Vec<Progress> {
        if self.raw.raft.state != StateRole::Leader {
            return Vec::new();
        }
        let mut all: Vec<_> = self
            .raw
            .raft
            .prs()
            .iter()
            .filter_map(|(&id, progress)| {
                let member = MemberId::new(id).filter(|member| *member != self.identity.member)?;
                let snapshot = progress.state == raft::ProgressState::Snapshot;
                Some(Progress { member, matched: progress.matched, active: progress.recent_active, snapshot })
            })
            .collect();
        all.sort_by_key(|progress| progress.member);
        all
    }

    pub(super) fn leader(&self) -> Option<MemberId> {
        MemberId::new(self.raw.raft.leader_id)
    }

    pub(super) fn leadership_now(&self) -> Leadership {
        let role = match self.raw.raft.state {
            StateRole::Follower => Role::Follower,
            StateRole::PreCandidate => Role::PreCandidate,
            StateRole::Candidate => Role::Candidate,
            StateRole::Leader => Role::Leader,
        };
        Leadership { term: self.raw.raft.term, leader: self.leader(), role }
    }

    /// What has to follow whatever changed raft.
    pub(super) fn after_step(&mut self) {
        self.steady_timeout();
        let now = self.leadership_now();
        if now != self.leadership {
            let failed = self.proposals.deposed(now.term, now.role == Role::Leader);
            for failed in failed {
                self.fail(failed);
            }
            if now.leader != self.leadership.leader || now.term != self.leadership.term {
                self.reads.restart();
            }
            if now.role != Role::Leader {
                self.raw.store().forget_sending();
            }
            self.leadership = now;
            self.out.push(Effect::Leadership(now));
        }
        self.begin_reads();
    }

    /// Raft draws timeouts from a generator of its own. Drawn from the seed instead, by term, they are the same whenever
    /// the same seed is run, and other for each term, so that two members do not collide for ever.
    fn steady_timeout(&mut self) {
        let ticks = self.config.timing.election_ticks;
        let seed = mix(mix(self.config.seed, self.identity.member.get()), self.raw.raft.term);
        let extra = usize::try_from(seed % ticks as u64).unwrap_or(0);
        self.raw.raft.set_randomized_election_timeout(ticks + extra);
    }

    /// Begins a round of reads if one is wanted and somebody leads.
    pub(super) fn begin_reads(&mut self) {
        let raft = &self.raw.raft;
        // A leader that has committed nothing in its term yet drops reads without a word.
        if raft.leader_id == 0 || (raft.state == StateRole::Leader && !raft.commit_to_current_term()) {
            return;
        }
        if let Some(name) = self.reads.begin() {
            self.raw.read_index(name);
        }
    }

    /// Tells of differing states, and stops if this member's is the wrong one.
    pub(super) fn judge(&mut self, verdict: Verdict) {
        self.out.extend(verdict.differences.into_iter().map(Effect::Diverged));
        if let Some(divergence) = verdict.stop {
            self.die(Fatal::Diverged(divergence));
        }
    }

    pub(super) fn disk_failed(&mut self, error: DiskError) -> Fatal {
        self.die(Fatal::Disk(error))
    }
}

/// Makes the machine of what is on disk and compares it with the digest there.
pub(super) fn restore<D: Disk, M: Machine>(disk: &D, machine: &M, boot: &Boot) -> Result<M, StartError> {
    let mut records = Vec::new();
    disk.records(&mut |record| records.push(record))?;
    let machine = machine.restore(boot.applied.index, &mut records.into_iter())?;
    let found = machine.digest();
    // The state that a log begins with was written without a machine at hand.
    let has_digest = boot.applied.digest != Digest::default();
    if has_digest && found != boot.applied.digest {
        return Err(StartError::Digest { found, written: boot.applied.digest });
    }
    Ok(machine)
}

fn raft_config(config: &Config, boot: &Boot) -> raft::Config {
    let (timing, limits) = (&config.timing, &config.limits);
    raft::Config {
        id: boot.identity.member.get(),
        election_tick: timing.election_ticks,
        heartbeat_tick: timing.heartbeat_ticks,
        applied: boot.applied.index,
        max_size_per_msg: limits.message_bytes_max,
        max_inflight_msgs: limits.messages_in_flight_max,
        check_quorum: true,
        pre_vote: true,
        read_only_option: raft::ReadOnlyOption::Safe,
        max_uncommitted_size: limits.uncommitted_bytes_max,
        max_committed_size_per_ready: limits.apply_bytes_max,
        ..raft::Config::default()
    }
}

/// A number that depends on both, and looks like chance (the finaliser of `SplitMix64`).
pub(super) fn mix(one: u64, other: u64) -> u64 {
    let mut mixed = one ^ other.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

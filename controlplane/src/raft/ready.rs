//! The ready loop: what raft wants done, one function a step, in the order that raft documents.
//!
//! Invariants: what a message promises is on disk before the message leaves (a leader's own entries excepted, which
//! raft counts only when they are); records, applied index and members change in one write; an answer is given after
//! that write. Two of raft's steps, appending entries and saving its hard state, are one write and one sync here.

use bytes::Bytes;
use cluster::MemberId;
use fail::fail_point;
use raft::eraftpb::{Entry, EntryType, Message, MessageType, Snapshot};
use raft::{ReadState, Ready, StateRole};

use super::convert::{kind_of, read_logs, to_conf_change, to_members};
use super::disk::{AppliedState, Disk};
use super::effect::Effect;
use super::envelope::{self, Envelope, Purpose};
use super::error::{ChangeError, Fatal, ProposeError};
use super::machine::{Change, Digest, Machine, Publication, RequestId};
use super::peer::Peer;
use super::proposals::Failed;
use super::snapshot::OutgoingSnapshot;
use super::wire::{self, Content};

/// Where effects go, in order, at once.
pub type Sink<'a, A> = &'a mut dyn FnMut(Effect<A>);

impl<D: Disk, M: Machine> Peer<D, M> {
    /// Whether [`Self::ready`] has something to do.
    pub fn has_ready(&self) -> bool {
        !self.is_dead && (!self.out.is_empty() || self.raw.has_ready() || self.fatal.is_some())
    }

    /// Does what is due on disk, in the state machine and towards others. After an error the peer is dead; effects
    /// given before it are valid, and every accepted proposal was failed.
    pub fn ready(&mut self, sink: Sink<'_, M::Answer>) -> Result<(), Fatal> {
        if self.is_dead {
            return Ok(());
        }
        let result = match self.fatal.take() {
            None => self.turn(sink),
            Some(fatal) => Err(fatal),
        };
        if result.is_err() {
            self.is_dead = true;
            for failed in self.proposals.deposed(u64::MAX, false) {
                self.fail(failed);
            }
            if let Some(request) = self.joint_change.take() {
                let result = Err(ChangeError::Propose(ProposeError::OutcomeUnknown));
                self.out.push(Effect::Changed { request, result });
            }
            self.flush(sink);
        }
        result
    }

    fn turn(&mut self, sink: Sink<'_, M::Answer>) -> Result<(), Fatal> {
        self.flush(sink);
        self.disk_was_read()?;
        if !self.raw.has_ready() {
            self.verified = None;
            return Ok(());
        }
        let mut ready = self.raw.ready();
        self.send(ready.take_messages(), sink);
        #[cfg(feature = "sabotage")]
        if self.config.sabotage == Some(super::config::Sabotage::SendBeforeSync) {
            self.send(ready.take_persisted_messages(), sink);
        }
        self.install_snapshot(&ready)?;
        self.apply(&ready.take_committed_entries(), sink)?;
        self.persist(&mut ready)?;
        self.send(ready.take_persisted_messages(), sink);
        self.confirm_reads(ready.take_read_states());
        let mut light = self.raw.advance(ready);
        self.send(light.take_messages(), sink);
        self.apply(&light.take_committed_entries(), sink)?;
        self.raw.advance_apply();
        self.finish(sink)
    }

    /// Messages to others. One that announces a state takes the state along.
    fn send(&mut self, messages: Vec<Message>, sink: Sink<'_, M::Answer>) {
        if messages.is_empty() {
            return;
        }
        fail_point!("raft::ready::before_send");
        for mut message in messages {
            let Some(to) = MemberId::new(message.to) else { continue };
            message.from = self.identity.member.get();
            let is_snapshot = message.msg_type == i32::from(MessageType::MsgSnapshot);
            let known = self.applied.members.logs.get(&to.get()).copied();
            let bytes = wire::write(&self.identity, known, &Content::Raft(Box::new(message)));
            if !is_snapshot {
                sink(Effect::Send { to, message: bytes });
            } else if let Some(source) = self.raw.store().take_source(to.get()) {
                let frame_bytes = self.config.limits.frame_bytes;
                let snapshot = OutgoingSnapshot { message: bytes, source, frame_bytes, frame: 0 };
                sink(Effect::SendSnapshot { to, snapshot });
            } else {
                // Raft would wait for its end for ever.
                self.unsent.push(to);
            }
        }
    }

    /// A state from the leader takes the place of ours.
    fn install_snapshot(&mut self, ready: &Ready) -> Result<(), Fatal> {
        let snapshot = ready.snapshot();
        if snapshot.is_empty() {
            return Ok(());
        }
        let applied = self.state_of(snapshot)?;
        fail_point!("raft::snapshot::before_install");
        let hard = ready.hs();
        self.raw.mut_store().install(&applied, hard).map_err(|error| self.disk_failed(error))?;
        fail_point!("raft::snapshot::after_install");
        let members_changed = applied.members != self.applied.members;
        self.applied = applied;
        self.machine.published(Publication::Whole { index: self.applied.index });
        if members_changed {
            self.out.push(Effect::Members(self.applied.members.clone()));
        }
        Ok(())
    }

    /// Takes the machine that was made of the snapshot's records.
    fn state_of(&mut self, snapshot: &Snapshot) -> Result<AppliedState, Fatal> {
        let metadata = snapshot.get_metadata();
        let verified = self.verified.take_if(|verified| verified.at == (metadata.index, metadata.term));
        let Some(verified) = verified else {
            return Err(self.die(Fatal::Raft { reason: "snapshot without its records".to_owned() }));
        };
        self.machine = verified.machine;
        Ok(AppliedState {
            index: metadata.index,
            term: metadata.term,
            members: to_members(metadata.get_conf_state(), verified.descriptor.logs),
            digest: verified.descriptor.digest,
            records: verified.descriptor.records,
        })
    }

    /// Entries that a majority has are applied, written with their index in one step, and answered.
    fn apply(&mut self, entries: &[Entry], sink: Sink<'_, M::Answer>) -> Result<(), Fatal> {
        let Some(last) = entries.last() else { return Ok(()) };
        fail_point!("raft::apply::before");
        let mut batch = Batch::new(&self.applied);
        (batch.applied.index, batch.applied.term) = (last.index, last.term);
        if let Err(fatal) = self.fill_and_write(entries, &mut batch) {
            // They happened, or will when this member comes back; but nobody can say so here.
            self.out.extend(batch.answers.into_iter().map(Self::unanswered));
            return Err(fatal);
        }
        fail_point!("raft::apply::after");
        self.raw.mut_store().applied(&batch.applied);
        if batch.applied.members != self.applied.members {
            self.out.push(Effect::Members(batch.applied.members.clone()));
        }
        self.applied = batch.applied;
        self.machine.published(Publication::Changes { index: self.applied.index, entries: &batch.groups });
        self.out.append(&mut batch.answers);
        for (index, digest) in batch.digests {
            self.tell_digest(index, digest);
        }
        self.flush(sink);
        Ok(())
    }

    fn fill_and_write(&mut self, entries: &[Entry], batch: &mut Batch<M::Answer>) -> Result<(), Fatal> {
        for entry in entries {
            self.apply_entry(entry, batch)?;
        }
        batch.applied.digest = self.machine.digest();
        batch.applied.records = self.machine.record_count();
        self.write(batch)
    }

    fn write(&mut self, batch: &Batch<M::Answer>) -> Result<(), Fatal> {
        let changes: Vec<Change> = batch.groups.iter().flat_map(|(_, changes)| changes).cloned().collect();
        let disk = self.raw.mut_store().disk_mut();
        #[cfg(feature = "sabotage")]
        if self.config.sabotage == Some(super::config::Sabotage::IndexApartFromRecords) {
            let written = disk.apply(&changes, &self.applied).and_then(|()| disk.apply(&[], &batch.applied));
            return written.map_err(|error| self.disk_failed(error));
        }
        disk.apply(&changes, &batch.applied).map_err(|error| self.disk_failed(error))
    }

    fn apply_entry(&mut self, entry: &Entry, batch: &mut Batch<M::Answer>) -> Result<(), Fatal> {
        match kind_of(entry) {
            None | Some(EntryType::EntryConfChange) => {
                return Err(self.unreadable(entry.index, "it is of an unknown kind"));
            }
            // An entry without data ends a joint configuration: it is no empty one.
            Some(EntryType::EntryConfChangeV2) => self.apply_members(entry, batch)?,
            // A new leader begins its term with an empty entry.
            Some(EntryType::EntryNormal) if entry.data.is_empty() => drop(self.settle(entry, None, batch)),
            Some(EntryType::EntryNormal) => self.apply_command(entry, batch)?,
        }
        if entry.index.is_multiple_of(self.config.limits.digest_interval) {
            batch.digests.push((entry.index, self.machine.digest()));
        }
        Ok(())
    }

    fn apply_command(&mut self, entry: &Entry, batch: &mut Batch<M::Answer>) -> Result<(), Fatal> {
        let Envelope { purpose, request, command } = self.open(entry.index, &entry.data)?;
        if purpose != Purpose::Command {
            return Err(self.unreadable(entry.index, "its envelope is for something else"));
        }
        let applied = self.machine.apply(entry.index, request, &command);
        let applied = match applied {
            Ok(applied) => applied,
            Err(source) => return Err(self.die(Fatal::Machine { index: entry.index, source })),
        };
        if !applied.changes.is_empty() {
            batch.groups.push((entry.index, applied.changes));
        }
        if self.settle(entry, Some(request), batch) {
            batch.answers.push(Effect::Answer { request, index: entry.index, answer: applied.answer });
        }
        Ok(())
    }

    fn apply_members(&mut self, entry: &Entry, batch: &mut Batch<M::Answer>) -> Result<(), Fatal> {
        let change = to_conf_change(entry).map_err(|reason| self.unreadable(entry.index, reason))?;
        let (request, added) = if change.context.is_empty() {
            (None, Vec::new())
        } else {
            let envelope = self.open(entry.index, &change.context)?;
            let added = read_logs(envelope.command);
            let added = added.ok_or("its members' logs cannot be read");
            (Some(envelope.request), added.map_err(|reason| self.unreadable(entry.index, reason))?)
        };
        fail_point!("raft::members::before_apply");
        let result = self.raw.apply_conf_change(&change);
        fail_point!("raft::members::after_apply");
        // Every member refuses alike: the same change of the same group.
        let result = match result {
            Ok(state) => Ok(to_members(&state, batch.applied.members.logs.clone().into_iter().chain(added))),
            Err(error) => Err(ChangeError::Refused { reason: error.to_string() }),
        };
        if let Ok(members) = &result {
            batch.applied.members = members.clone();
        }
        let is_ours = self.settle(entry, request, batch);
        let is_joint = batch.applied.members.is_joint();
        match (request, &result) {
            // Answered when the joint configuration ends.
            (Some(request), Ok(_)) if is_ours && is_joint => self.joint_change = Some(request),
            (Some(request), _) if is_ours => batch.answers.push(Effect::Changed { request, result }),
            (Some(_) | None, _) => {}
        }
        if !is_joint && let Some(request) = self.joint_change.take() {
            let result = Ok(batch.applied.members.clone());
            batch.answers.push(Effect::Changed { request, result });
        }
        Ok(())
    }

    /// Whether somebody here waits for what this entry holds; who waited for another entry in its place hears so.
    fn settle(&mut self, entry: &Entry, request: Option<RequestId>, batch: &mut Batch<M::Answer>) -> bool {
        let (is_ours, lost) = self.proposals.applied(entry.index, entry.term, request);
        batch.answers.extend(lost.map(Self::failure));
        is_ours
    }

    /// New entries, term, vote and commit index in one write, synced where raft asks for it.
    fn persist(&mut self, ready: &mut Ready) -> Result<(), Fatal> {
        let (entries, must_sync) = (ready.take_entries(), ready.must_sync());
        if must_sync {
            fail_point!("raft::log::before_sync");
        }
        self.raw
            .mut_store()
            .persist(&entries, ready.hs(), must_sync)
            .map_err(|error| self.disk_failed(error))?;
        if must_sync {
            fail_point!("raft::log::after_sync");
        }
        Ok(())
    }

    fn confirm_reads(&mut self, states: Vec<ReadState>) {
        for state in states {
            self.reads.confirmed(&state.request_ctx, state.index);
        }
    }

    /// What follows a turn: reads, the log's length, a leader without a vote.
    fn finish(&mut self, sink: Sink<'_, M::Answer>) -> Result<(), Fatal> {
        let applied = self.applied.index;
        self.out.extend(
            self.reads.readable(applied).into_iter().map(|read| Effect::Readable { read, index: applied }),
        );
        // A state that raft did not want.
        self.verified = None;
        self.compact()?;
        if self.raw.raft.state == StateRole::Leader && !self.applied.members.is_voter(self.identity.member) {
            let term = self.raw.raft.term;
            self.raw.raft.become_follower(term, raft::INVALID_ID);
        }
        for member in std::mem::take(&mut self.unsent) {
            self.report_snapshot(member, false);
        }
        self.after_step();
        self.disk_was_read()?;
        self.flush(sink);
        Ok(())
    }

    /// Cuts the log when it is long, but leaves what members need that are a little behind.
    fn compact(&mut self) -> Result<(), Fatal> {
        let limits = &self.config.limits;
        let store = self.raw.store();
        let entries = self.applied.index.saturating_sub(store.truncated_index());
        if entries <= limits.log_entries_max && store.log_bytes() <= limits.log_bytes_max {
            return Ok(());
        }
        let kept = if entries <= limits.log_entries_max { entries / 4 } else { limits.log_entries_kept };
        let mut through = self.applied.index.saturating_sub(kept);
        // Whoever is being sent a state asks for the entries after it next.
        through = through.min(store.oldest_sending().unwrap_or(u64::MAX));
        fail_point!("raft::log::before_compact");
        self.raw.mut_store().compact(through).map_err(|error| self.disk_failed(error))
    }

    fn tell_digest(&mut self, index: u64, digest: Digest) {
        for other in self.applied.members.all() {
            if let Some(to) = MemberId::new(other).filter(|to| *to != self.identity.member) {
                let known = self.applied.members.logs.get(&other).copied();
                let message = wire::write(&self.identity, known, &Content::Digest { index, digest });
                self.out.push(Effect::Send { to, message });
            }
        }
        let members = self.applied.members.clone();
        let verdict = self.digests.ours(index, digest, &members);
        self.judge(verdict);
    }

    /// Raft reads the disk where it cannot be told of an error; here it is.
    fn disk_was_read(&mut self) -> Result<(), Fatal> {
        if let Some(fatal) = self.fatal.take() {
            return Err(fatal);
        }
        self.raw.store().take_error().map_or(Ok(()), |error| Err(self.disk_failed(error)))
    }

    fn open(&mut self, index: u64, sealed: &Bytes) -> Result<Envelope, Fatal> {
        envelope::open(sealed).map_err(|reason| self.unreadable(index, reason))
    }

    fn unreadable(&mut self, index: u64, reason: &'static str) -> Fatal {
        self.die(Fatal::Entry { index, reason })
    }

    pub(super) fn fail(&mut self, failed: Failed) {
        self.out.push(Self::failure(failed));
    }

    fn failure(failed: Failed) -> Effect<M::Answer> {
        let Failed { request, is_change, error } = failed;
        if is_change {
            Effect::Changed { request, result: Err(ChangeError::Propose(error)) }
        } else {
            Effect::Fail { request, error }
        }
    }

    /// What is told instead of an answer that did not reach the disk.
    fn unanswered(effect: Effect<M::Answer>) -> Effect<M::Answer> {
        let error = ProposeError::OutcomeUnknown;
        match effect {
            Effect::Answer { request, .. } => Effect::Fail { request, error },
            Effect::Changed { request, result: Ok(_) } => {
                Effect::Changed { request, result: Err(ChangeError::Propose(error)) }
            }
            Effect::Send { .. }
            | Effect::SendSnapshot { .. }
            | Effect::Fail { .. }
            | Effect::Changed { .. }
            | Effect::Readable { .. }
            | Effect::Leadership(_)
            | Effect::Members(_)
            | Effect::Diverged(_) => effect,
        }
    }

    fn flush(&mut self, sink: Sink<'_, M::Answer>) {
        self.out.drain(..).for_each(sink);
    }
}

/// Entries that are applied in one write.
struct Batch<A> {
    applied: AppliedState,
    groups: Vec<(u64, Vec<Change>)>,
    answers: Vec<Effect<A>>,
    digests: Vec<(u64, Digest)>,
}

impl<A> Batch<A> {
    fn new(applied: &AppliedState) -> Self {
        Self { applied: applied.clone(), groups: Vec::new(), answers: Vec::new(), digests: Vec::new() }
    }
}

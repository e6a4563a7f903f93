//! Clients: they write, read and change the members, and remember what they were told.

use std::collections::{BTreeMap, BTreeSet};

use cluster::{ActorRole, Command, MemberId, Proposal, State};
use controlplane::raft::{ChangeError, MemberChange, ReadId, RequestId};

use super::steps::Step;
use super::support::{self, Cluster};
use super::world::{World, member};

/// Commands under way at most: fewer than the members take, so that refusals have other reasons.
const UNDER_WAY_MAX: usize = 6;

#[derive(Default)]
pub(crate) struct Clients {
    requests: Vec<RequestId>,
    waiting: BTreeSet<RequestId>,
    reads: BTreeMap<ReadId, MemberId>,
    next_read: u64,
    changes: u128,
    /// Requests that were made when nothing went wrong any more, and whether one was answered.
    calm_from: Option<usize>,
    is_answered_after_calm: bool,
}

impl Clients {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn answered(&mut self, request: RequestId) {
        if self.waiting.remove(&request)
            && let Some(from) = self.calm_from
            && self.requests.get(from..).is_some_and(|later| later.contains(&request))
        {
            self.is_answered_after_calm = true;
        }
    }

    pub(crate) fn read_ended(&mut self, at: MemberId, read: ReadId) -> bool {
        self.reads.get(&read) == Some(&at) && self.reads.remove(&read).is_some()
    }

    /// What waited there is never answered.
    pub(crate) fn member_gone(&mut self, id: MemberId) {
        self.reads.retain(|_, at| *at != id);
        // Its proposals may happen or not; nobody waits.
        self.waiting.clear();
    }

    pub(crate) fn calm(&mut self) {
        self.calm_from = Some(self.requests.len());
    }

    pub(crate) fn last_acknowledged_after_calm(&self) -> bool {
        self.is_answered_after_calm
    }

    pub(crate) fn all_requests(&self) -> Vec<RequestId> {
        self.requests.clone()
    }

    fn is_calm(&self) -> bool {
        self.calm_from.is_some()
    }
}

impl World {
    /// One of the clients does something.
    pub(crate) fn client(&mut self) {
        let ids = self.ids();
        let Some(somewhere) = self.rng.pick(&ids) else { return };
        if self.clients.is_calm() {
            if !self.clients.last_acknowledged_after_calm() {
                self.write(somewhere);
            }
            return;
        }
        match self.rng.below(20) {
            0..=12 => {
                let leader = self.group().map(|(leader, _)| leader);
                let to = if self.rng.chance(800) { leader.unwrap_or(somewhere) } else { somewhere };
                self.write(to);
            }
            13..=17 => {
                self.clients.next_read += 1;
                let read = ReadId(self.clients.next_read);
                self.clients.reads.insert(read, somewhere);
                self.read(somewhere, read);
            }
            18 => self.change(),
            _ => {
                if let Some((leader, _)) = self.group().filter(|(leader, _)| self.is_awake(*leader)) {
                    self.with(leader, |peer| drop(peer.transfer_leader(somewhere)));
                }
            }
        }
    }

    /// One of them writes to whoever leads.
    pub(crate) fn client_writes(&mut self) {
        if let Some((leader, _)) = self.group() {
            self.write(leader);
        }
    }

    fn write(&mut self, to: MemberId) {
        if self.clients.waiting.len() >= UNDER_WAY_MAX || !self.is_awake(to) {
            return;
        }
        let request = RequestId::new(self.clients.requests.len() as u128 + 1);
        let Some(command) = self.wish(to, request) else { return };
        self.clients.requests.push(request);
        self.clients.waiting.insert(request);
        match self.with(to, |peer| peer.propose(request, &command)) {
            Some(Ok(())) => {}
            Some(Err(error)) => self.refused(request, error.is_certain()),
            None => self.refused(request, true),
        }
    }

    /// What somebody wants who has just looked at the state of `at`: mostly something that fits.
    pub(crate) fn wish(&mut self, at: MemberId, request: RequestId) -> Option<Vec<u8>> {
        let state = self.nodes.get(&at)?.peer.as_ref()?.machine().state().clone();
        let proposal = wish(state, self.now, request, || self.rng.next());
        Some(proposal.encode().unwrap())
    }

    /// An operator changes the group.
    fn change(&mut self) {
        let Some((leader, members)) = self.group().filter(|(leader, _)| self.is_awake(*leader)) else {
            return;
        };
        self.clients.changes += 1;
        let request = RequestId::new(u128::MAX - self.clients.changes);
        let learner = self.rng.pick(&members.learners.iter().copied().collect::<Vec<_>>());
        let voter = self.rng.pick(&members.voters.iter().copied().collect::<Vec<_>>());
        let changes = match (self.rng.below(4), learner, voter) {
            (0, None, _) if self.next_member <= 8 => {
                let id = member(self.next_member);
                self.next_member += 1;
                let log = self.new_log();
                self.add(id, log, None);
                vec![MemberChange::Add { member: id, log }]
            }
            (1, Some(learner), _) => vec![MemberChange::Promote { member: member(learner) }],
            (2, _, Some(voter)) if members.voters.len() > 3 => {
                vec![MemberChange::Remove { member: member(voter) }]
            }
            (3, Some(learner), Some(voter)) => {
                vec![
                    MemberChange::Promote { member: member(learner) },
                    MemberChange::Remove { member: member(voter) },
                ]
            }
            _ => return,
        };
        self.log(|| format!("change {request}: {changes:?}"));
        let asked = self.with(leader, |peer| peer.propose_members(request, &changes));
        if let Some(Err(ChangeError::Refused { reason })) = asked {
            self.log(|| format!("change {request} is refused: {reason}"));
        }
    }
}

fn wish(state: State, now_ms: u64, request: RequestId, mut number: impl FnMut() -> u64) -> Proposal {
    // An hour passes in a second, so that what expires does.
    let cluster = Cluster { state, log: Vec::new(), clock_ms: now_ms * 3_600, index: 0 };
    let mut number = || (number() >> 32) as u32;
    let (role, command) = if cluster.state.tables().cluster.is_none() {
        (ActorRole::Admin, Command::Bootstrap(Box::new(support::bootstrap(support::replicas(2)))))
    } else {
        let (what, pick, value) = (number(), number(), number());
        Step { what, pick, value, odd: number() % 100, pass: number() }.command(&cluster)
    };
    let request = cluster::RequestId::from_bytes(request.get().to_be_bytes());
    Proposal { request, ..cluster.proposal(role, command) }
}

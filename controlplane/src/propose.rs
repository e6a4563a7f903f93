//! Getting a command into the log, from any member: proposed here if this one leads, else by the leader.
//!
//! What did certainly not happen is tried again until the deadline; so is what may have happened, if asking twice does once.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use cluster::{
    Actor, Answer, Command, IdempotencyKey, MemberId, Note, Outcome, Proposal, RequestId, Revision,
};
use parking_lot::Mutex;
use proto::raft::v1::ProposeRequest;
use proto::{ErrorCode, Fault};

use crate::agreed_time::agreed_time;
use crate::observed::Observed;
use crate::peers::Peers;
use crate::raft::{self, ProposeError, RaftHandle};
use crate::services::convert::{refused, timestamp};
use crate::truth::Shared;

/// Pause before the leader is looked for again.
const PAUSE: Duration = Duration::from_millis(20);

/// What somebody wants, and who.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    /// Who.
    pub(crate) actor: Actor,
    /// The client's name for the attempt.
    pub(crate) key: Option<IdempotencyKey>,
    /// Why.
    pub(crate) why: Option<Note>,
    /// What.
    pub(crate) command: Command,
}

impl Wish {
    /// Something that a task of the leader wants.
    pub(crate) fn of(actor: Actor, command: Command) -> Self {
        Self { actor, key: None, why: None, command }
    }

    /// Whether asking twice does once, so that an attempt with an unknown end can be repeated.
    fn is_repeatable(&self) -> bool {
        self.key.is_some()
    }

    fn proposal(&self) -> Proposal {
        Proposal {
            request: RequestId::from_bytes(rand::random()),
            key: self.key.clone(),
            actor: self.actor.clone(),
            at: timestamp(SystemTime::now()),
            why: self.why.clone(),
            command: self.command.clone(),
        }
    }
}

/// A command that was applied.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Done {
    /// The index of its entry.
    pub(crate) index: u64,
    /// The answer.
    pub(crate) answer: Answer,
}

/// Gets commands into the log. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Proposer {
    /// Talks to this member.
    pub(crate) raft: RaftHandle<Outcome>,
    /// Talks to the others.
    pub(crate) peers: Arc<Peers>,
    /// What readers here see.
    pub(crate) shared: Shared,
    /// Who this is.
    pub(crate) me: MemberId,
    /// What this member has seen of the others, if it leads.
    pub(crate) observed: Arc<Mutex<Observed>>,
}

impl Proposer {
    /// Has a wish carried out; readers on this member see what came of it when this returns.
    pub(crate) async fn propose(&self, wish: &Wish, deadline: Instant) -> Result<Done, Fault> {
        let done = self.attempts(wish, deadline).await?;
        let reached = self.shared.reached(done.index);
        // It is done in any case; a member that lags shows it a little later.
        let _ = tokio::time::timeout_at(deadline.into(), reached).await;
        Ok(done)
    }

    /// What would come of a wish, by what this member knows. Nothing is changed.
    pub(crate) fn dry_run(&self, wish: &Wish) -> Result<Answer, Fault> {
        let proposal = wish.proposal();
        self.shared.read(|state| {
            let next = Revision::new(state.revision().get().saturating_add(1));
            state.apply(next, &proposal).result.map_err(|refusal| refused(&refusal))
        })
    }

    async fn attempts(&self, wish: &Wish, deadline: Instant) -> Result<Done, Fault> {
        let mut without_leader = None;
        loop {
            let failure = match self.attempt(wish, deadline).await {
                Ok(done) => return Ok(done),
                Err(failure) => failure,
            };
            let again = match failure.again {
                Again::Always => true,
                Again::IfRepeatable => wish.is_repeatable(),
                Again::Never => return Err(failure.fault),
            };
            if failure.fault.code == ErrorCode::NoQuorum {
                without_leader = Some(failure.fault.clone());
            }
            if !again || Instant::now() + PAUSE >= deadline {
                // That nobody leads says more than that the last attempt ran out of time.
                return Err(without_leader.unwrap_or(failure.fault));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn attempt(&self, wish: &Wish, deadline: Instant) -> Result<Done, Failure> {
        let leader = self.raft.leadership().borrow().leader;
        match leader {
            Some(leader) if leader != self.me => self.forward(leader, wish, deadline).await,
            // With nobody known, raft says so itself.
            Some(_) | None => self.local(&wish.proposal(), deadline).await,
        }
    }

    /// Proposes on this member, which has to lead.
    pub(crate) async fn local(&self, proposal: &Proposal, deadline: Instant) -> Result<Done, Failure> {
        let bytes = self.in_time(proposal).encode().map_err(|error| Failure {
            fault: Fault::new(ErrorCode::TooLarge, error.to_string()),
            again: Again::Never,
        })?;
        let request = raft::RequestId::new(u128::from_be_bytes(*proposal.request.as_bytes()));
        let answered = self
            .raft
            .propose(Bytes::from(bytes), request, deadline)
            .await
            .map_err(|error| Failure::of(&error))?;
        match answered.answer.result {
            Ok(answer) => Ok(Done { index: answered.index, answer }),
            Err(refusal) => Err(Failure { fault: refused(&refusal), again: Again::Never }),
        }
    }

    /// The proposal at the time that a majority bears out.
    fn in_time(&self, proposal: &Proposal) -> Proposal {
        // In this order, as the reconcilers take them.
        let observed = self.observed.lock();
        let agreed = self
            .shared
            .read(|state| agreed_time(state.tables(), self.me, &observed, Instant::now(), SystemTime::now()));
        Proposal { at: agreed.unwrap_or(proposal.at), ..proposal.clone() }
    }

    async fn forward(&self, leader: MemberId, wish: &Wish, deadline: Instant) -> Result<Done, Failure> {
        let unreachable = |text: String| Failure {
            fault: Fault::new(ErrorCode::NoQuorum, text),
            again: Again::IfRepeatable,
        };
        let Some(mut client) = self.peers.peer(leader) else {
            let failure =
                unreachable(format!("the address of the leader, member {leader}, is not known here"));
            return Err(Failure { again: Again::Always, ..failure });
        };
        let proposal = wish.proposal().encode().map_err(|error| Failure {
            fault: Fault::new(ErrorCode::TooLarge, error.to_string()),
            again: Again::Never,
        })?;
        let mut request = tonic::Request::new(ProposeRequest { proposal: proposal.into() });
        request.set_timeout(deadline.saturating_duration_since(Instant::now()));
        let answered = client.propose(request).await.map_err(|status| {
            // Made on this side, of a connection that broke: the leader may have done it before.
            let broken = std::error::Error::source(&status).is_some();
            let fault = Fault::of_status(&status);
            // The leader's own words for what it certainly did not do.
            let undone = matches!(fault.code, ErrorCode::NotLeader | ErrorCode::Overloaded);
            let unheard = broken
                || matches!(fault.code, ErrorCode::Unavailable | ErrorCode::Deadline | ErrorCode::Cancelled);
            if undone && !broken {
                Failure { fault, again: Again::Always }
            } else if unheard {
                unreachable(format!("the leader did not answer: {}", fault.message))
            } else {
                Failure { fault, again: Again::Never }
            }
        })?;
        let answered = answered.into_inner();
        let answer = serde_json::from_slice(&answered.answer)
            .map_err(|error| unreachable(format!("the leader's answer cannot be read: {error}")))?;
        Ok(Done { index: answered.index, answer })
    }
}

/// Whether an attempt can be repeated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Again {
    /// It certainly did not happen.
    Always,
    /// It may have happened.
    IfRepeatable,
    /// It was refused.
    Never,
}

/// Why an attempt came to nothing, as far as is known.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) fault: Fault,
    pub(crate) again: Again,
}

impl Failure {
    fn of(error: &ProposeError) -> Self {
        let text = error.to_string();
        let (code, again) = match error {
            ProposeError::Busy => (ErrorCode::Overloaded, Again::Always),
            ProposeError::NotLeader { .. } | ProposeError::Dropped => (ErrorCode::NotLeader, Again::Always),
            ProposeError::TooLarge { .. } => (ErrorCode::TooLarge, Again::Never),
            ProposeError::Duplicate => (ErrorCode::Conflict, Again::Never),
            ProposeError::DiskFull => (ErrorCode::Unhealthy, Again::Never),
            ProposeError::Stopped => (ErrorCode::Unavailable, Again::Never),
            ProposeError::OutcomeUnknown => (ErrorCode::Deadline, Again::IfRepeatable),
        };
        let fault = Fault::new(code, text);
        let fault = match error {
            ProposeError::NotLeader { leader: None } => {
                Fault::new(ErrorCode::NoQuorum, "no member leads: too few control nodes reach one another")
                    .hint("start the control nodes that are down; see `goproxyctl cluster health`")
            }
            ProposeError::OutcomeUnknown => fault.hint("ask again with the same idempotency key"),
            ProposeError::NotLeader { .. }
            | ProposeError::Busy
            | ProposeError::Dropped
            | ProposeError::TooLarge { .. }
            | ProposeError::Duplicate
            | ProposeError::DiskFull
            | ProposeError::Stopped => fault,
        };
        Self { fault, again }
    }
}

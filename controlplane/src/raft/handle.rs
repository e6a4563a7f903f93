//! How the rest of the program talks to the member: a handle that is cheap to clone, and what it sends.
//!
//! Every call has a deadline and every queue a bound. Who gives up a call, by its deadline or by dropping it, leaves
//! nothing behind.

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cluster::MemberId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

use super::disk::Members;
use super::effect::{Leadership, MemberChange, ReadId, Status};
use super::error::{ChangeError, Fatal, MessageError, ProposeError, ReadError, SnapshotError, TransferError};
use super::machine::RequestId;
use super::snapshot::IncomingId;

/// Raft gives an attempt to hand over up after its election timeout, without a word: as when the other one has just started and is not heard of
/// yet, or takes longer than that to store its vote. After so long it is tried again.
const TRANSFER_PAUSE: Duration = Duration::from_millis(600);

/// Messages of other members that wait for raft's thread; more are dropped.
const MESSAGES_MAX: usize = 4096;

/// Answer to a command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answered<A> {
    /// Index of its entry: the state's revision after it.
    pub index: u64,
    /// What the state machine says.
    pub answer: A,
}

pub(super) type Reply<T> = oneshot::Sender<T>;

/// What raft's thread is asked.
pub(super) enum Ask<A> {
    Message { message: Bytes, _permit: OwnedSemaphorePermit },
    Propose { request: RequestId, command: Bytes, waiter: Waiter<Result<Answered<A>, ProposeError>> },
    Change { request: RequestId, changes: Vec<MemberChange>, waiter: Waiter<Result<Members, ChangeError>> },
    Read { waiter: Waiter<Result<u64, ReadError>>, id: Reply<ReadId> },
    Transfer { to: MemberId, reply: Reply<Result<(), TransferError>> },
    Campaign,
    Status { reply: Reply<Status> },
    Unreachable { member: MemberId },
    SnapshotSent { member: MemberId, arrived: bool },
    SnapshotBegin { message: Bytes, reply: Reply<Result<IncomingId, SnapshotError>> },
    SnapshotFrame { id: IncomingId, frame: Bytes, reply: Reply<Result<(), SnapshotError>> },
    SnapshotEnd { id: IncomingId, reply: Reply<Result<(), SnapshotError>> },
    SnapshotAbort { id: IncomingId },
    ForgetProposal { request: RequestId },
    ForgetRead { read: ReadId },
    Stop,
}

/// Somebody who waits, and the place held for it.
pub(super) struct Waiter<T> {
    pub(super) reply: Reply<T>,
    pub(super) _permit: OwnedSemaphorePermit,
}

/// What raft's thread tells everybody.
pub(super) struct Told {
    pub(super) leadership: watch::Sender<Leadership>,
    pub(super) members: watch::Sender<Members>,
    pub(super) halted: watch::Sender<Option<Arc<Fatal>>>,
}

/// Talks to the member. Cheap to clone.
pub struct RaftHandle<A> {
    asks: Sender<Ask<A>>,
    messages: Arc<Semaphore>,
    proposals: Arc<Semaphore>,
    reads: Arc<Semaphore>,
    leadership: watch::Receiver<Leadership>,
    members: watch::Receiver<Members>,
    halted: watch::Receiver<Option<Arc<Fatal>>>,
}

impl<A> Clone for RaftHandle<A> {
    fn clone(&self) -> Self {
        Self {
            asks: self.asks.clone(),
            messages: Arc::clone(&self.messages),
            proposals: Arc::clone(&self.proposals),
            reads: Arc::clone(&self.reads),
            leadership: self.leadership.clone(),
            members: self.members.clone(),
            halted: self.halted.clone(),
        }
    }
}

impl<A> RaftHandle<A> {
    pub(super) fn new(asks: Sender<Ask<A>>, proposals_max: usize, reads_max: usize) -> (Self, Told) {
        let (leadership_sender, leadership) = watch::channel(Leadership::default());
        let (members_sender, members) = watch::channel(Members::default());
        let (halted_sender, halted) = watch::channel(None);
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        let handle = Self {
            asks,
            messages: semaphore(MESSAGES_MAX),
            proposals: semaphore(proposals_max),
            reads: semaphore(reads_max),
            leadership,
            members,
            halted,
        };
        let told = Told { leadership: leadership_sender, members: members_sender, halted: halted_sender };
        (handle, told)
    }

    /// Proposes a command and waits until it is applied here, on disk. Only the leader can; see
    /// [`ProposeError::is_certain`] for whether it may be tried again.
    pub async fn propose(
        &self,
        command: Bytes,
        request: RequestId,
        deadline: Instant,
    ) -> Result<Answered<A>, ProposeError> {
        let (reply, answer) = oneshot::channel();
        let place = Arc::clone(&self.proposals).acquire_owned();
        let permit =
            before(deadline, place).await.ok_or(ProposeError::Busy)?.map_err(|_| ProposeError::Stopped)?;
        let waiter = Waiter { reply, _permit: permit };
        self.ask(Ask::Propose { request, command, waiter }).map_err(|()| ProposeError::Stopped)?;
        let _forget = self.forget(Ask::ForgetProposal { request });
        match before(deadline, answer).await {
            Some(Ok(answer)) => answer,
            // Given up, or the thread is gone with the question.
            Some(Err(_)) | None => Err(ProposeError::OutcomeUnknown),
        }
    }

    /// Changes the members, and waits until the change is complete: several steps at once go through a joint
    /// configuration.
    pub async fn change_membership(
        &self,
        changes: Vec<MemberChange>,
        request: RequestId,
        deadline: Instant,
    ) -> Result<Members, ChangeError> {
        let (reply, answer) = oneshot::channel();
        let place = Arc::clone(&self.proposals).acquire_owned();
        let failed = ChangeError::Propose;
        let permit = before(deadline, place)
            .await
            .ok_or(failed(ProposeError::Busy))?
            .map_err(|_| failed(ProposeError::Stopped))?;
        let waiter = Waiter { reply, _permit: permit };
        let asked = self.ask(Ask::Change { request, changes, waiter });
        asked.map_err(|()| failed(ProposeError::Stopped))?;
        let _forget = self.forget(Ask::ForgetProposal { request });
        match before(deadline, answer).await {
            Some(Ok(answer)) => answer,
            Some(Err(_)) | None => Err(failed(ProposeError::OutcomeUnknown)),
        }
    }

    /// Waits until the state here is at least as new as it was anywhere when this was called; the state's index.
    /// Works at every member.
    pub async fn read_index(&self, deadline: Instant) -> Result<u64, ReadError> {
        let (reply, answer) = oneshot::channel();
        let place = Arc::clone(&self.reads).acquire_owned();
        let permit = before(deadline, place).await.ok_or(ReadError::Busy)?.map_err(|_| ReadError::Stopped)?;
        let (id, named) = oneshot::channel();
        let waiter = Waiter { reply, _permit: permit };
        self.ask(Ask::Read { waiter, id }).map_err(|()| ReadError::Stopped)?;
        let read = before(deadline, named).await.ok_or(ReadError::Deadline)?;
        let _forget = read.ok().map(|read| self.forget(Ask::ForgetRead { read }));
        match before(deadline, answer).await {
            Some(Ok(answer)) => answer,
            Some(Err(_)) => Err(ReadError::Stopped),
            None => Err(ReadError::Deadline),
        }
    }

    /// Where the member stands; `None` when it has stopped.
    pub async fn status(&self) -> Option<Status> {
        let (reply, answer) = oneshot::channel();
        self.ask(Ask::Status { reply }).ok()?;
        answer.await.ok()
    }

    /// Hands leadership over and waits until `to` leads.
    pub async fn transfer_leader(&self, to: MemberId, deadline: Instant) -> Result<(), TransferError> {
        let mut leadership = self.leadership.clone();
        loop {
            let (reply, answer) = oneshot::channel();
            self.ask(Ask::Transfer { to, reply }).map_err(|()| TransferError::Stopped)?;
            answer.await.map_err(|_| TransferError::Stopped)??;
            let leads = leadership.wait_for(|now| now.leader == Some(to));
            match before(deadline.min(Instant::now() + TRANSFER_PAUSE), leads).await {
                Some(Ok(_)) => return Ok(()),
                Some(Err(_)) => return Err(TransferError::Stopped),
                None if Instant::now() >= deadline => return Err(TransferError::Deadline),
                None => {}
            }
        }
    }

    /// Stands for election at once, if it has a vote.
    pub fn campaign(&self) {
        let _ = self.ask(Ask::Campaign);
    }

    /// A message of another member came in. It is dropped when too many wait.
    pub fn deliver(&self, message: Bytes) -> Result<(), MessageError> {
        // Raft sends again what is lost.
        let Ok(permit) = Arc::clone(&self.messages).try_acquire_owned() else { return Ok(()) };
        self.ask(Ask::Message { message, _permit: permit }).map_err(|()| MessageError::Stopped)
    }

    /// A member could not be reached.
    pub fn report_unreachable(&self, member: MemberId) {
        let _ = self.ask(Ask::Unreachable { member });
    }

    /// Sending a state to a member came to an end: it arrived whole, or not.
    pub fn report_snapshot(&self, member: MemberId, arrived: bool) {
        let _ = self.ask(Ask::SnapshotSent { member, arrived });
    }

    /// A state is announced by this message: give its frames to what comes back.
    pub async fn receive_snapshot(&self, message: Bytes) -> Result<SnapshotReceiver<A>, SnapshotError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Ask::SnapshotBegin { message, reply }).map_err(|()| SnapshotError::Stopped)?;
        let id = answer.await.map_err(|_| SnapshotError::Stopped)??;
        Ok(SnapshotReceiver { handle: self.clone(), id, is_done: false })
    }

    /// Who leads, and the term, as it changes.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.clone()
    }

    /// Who belongs to the group, as it changes.
    pub fn members(&self) -> watch::Receiver<Members> {
        self.members.clone()
    }

    /// Why the member takes part in nothing, as it changes. With a full disk it begins again when there is room;
    /// everything else needs the process to end.
    pub fn halted(&self) -> watch::Receiver<Option<Arc<Fatal>>> {
        self.halted.clone()
    }

    pub(super) fn stop(&self) {
        let _ = self.ask(Ask::Stop);
    }

    fn ask(&self, ask: Ask<A>) -> Result<(), ()> {
        self.asks.send(ask).map_err(|_| ())
    }

    fn forget(&self, ask: Ask<A>) -> Forget<A> {
        Forget { asks: self.asks.clone(), ask: Some(ask) }
    }
}

/// Takes a question back when whoever asked it is gone. Harmless when it was answered.
struct Forget<A> {
    asks: Sender<Ask<A>>,
    ask: Option<Ask<A>>,
}

impl<A> Drop for Forget<A> {
    fn drop(&mut self) {
        if let Some(ask) = self.ask.take() {
            let _ = self.asks.send(ask);
        }
    }
}

/// Takes in one state. Dropping it before [`Self::finish`] gives it up.
pub struct SnapshotReceiver<A> {
    handle: RaftHandle<A>,
    id: IncomingId,
    is_done: bool,
}

impl<A> SnapshotReceiver<A> {
    /// Gives the next frame, and waits until it is staged: this is what slows the sender down.
    pub async fn frame(&mut self, frame: Bytes) -> Result<(), SnapshotError> {
        let (reply, answer) = oneshot::channel();
        let ask = Ask::SnapshotFrame { id: self.id, frame, reply };
        self.handle.ask(ask).map_err(|()| SnapshotError::Stopped)?;
        answer.await.map_err(|_| SnapshotError::Stopped)?
    }

    /// All frames were given: the state is verified and installed.
    pub async fn finish(mut self) -> Result<(), SnapshotError> {
        self.is_done = true;
        let (reply, answer) = oneshot::channel();
        self.handle.ask(Ask::SnapshotEnd { id: self.id, reply }).map_err(|()| SnapshotError::Stopped)?;
        answer.await.map_err(|_| SnapshotError::Stopped)?
    }
}

impl<A> Drop for SnapshotReceiver<A> {
    fn drop(&mut self) {
        if !self.is_done {
            let _ = self.handle.ask(Ask::SnapshotAbort { id: self.id });
        }
    }
}

/// The value of `future`, unless the deadline comes first.
async fn before<T>(deadline: Instant, future: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout_at(deadline.into(), future).await.ok()
}

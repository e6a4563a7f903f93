//! Calls to whichever control node answers: who is asked next, what is asked again, and until when.
//!
//! Invariant: a change is asked again only under the key that it was first asked under, so that it is not made twice.

use std::cell::{Cell, RefCell};
use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::duration_text::DurationText;
use common::redacted::Redacted;
use proto::{ErrorCode, Fault};
use rustls::ClientConfig;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};

use crate::dial::{self, DialError};
use crate::failure::{Failure, too_late};
use crate::output::Screen;
use crate::server::Server;

/// The first pause before asking again; doubled each time.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
/// The longest pause: an election takes about a second.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// What an answer that the server gives at the last moment may take on its way.
const GRACE: Duration = Duration::from_millis(250);

/// What a call does to the cluster.
#[derive(Clone, Copy)]
pub(crate) enum Kind<'a> {
    /// It looks. Where no server can be reached this is said at once.
    Read,
    /// It looks again, where there was an answer before. Servers that cannot be reached are waited for.
    ReadOn,
    /// It changes something, under this idempotency key. Servers that cannot be reached are waited for.
    Change(&'a str),
}

/// What to do after a call that failed.
enum Next {
    Stop,
    Again,
    Elsewhere(Option<Server>),
}

/// Calls control nodes.
pub(crate) struct Client {
    servers: Vec<Server>,
    trust: Arc<ClientConfig>,
    token: Option<Redacted<MetadataValue<Ascii>>>,
    timeout: Duration,
    screen: Rc<Screen>,
    current: RefCell<Option<(Server, Channel)>>,
    /// Where the next round through the servers begins.
    first: Cell<usize>,
    /// The leader that a server named though we were not given it; it is asked before the others.
    detour: RefCell<Option<Server>>,
}

impl Client {
    /// A client of these servers; nothing is connected yet.
    pub(crate) fn new(
        servers: Vec<Server>,
        trust: Arc<ClientConfig>,
        token: Option<Redacted<MetadataValue<Ascii>>>,
        timeout: Duration,
        screen: Rc<Screen>,
    ) -> Self {
        let (current, detour) = (RefCell::new(None), RefCell::new(None));
        Self { servers, trust, token, timeout, screen, current, first: Cell::new(0), detour }
    }

    /// What servers have to show.
    pub(crate) fn trust(&self) -> &Arc<ClientConfig> {
        &self.trust
    }

    /// Whether callers are told who this is.
    pub(crate) fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// Makes a call, again and elsewhere as long as that can help and there is time.
    pub(crate) async fn call<Q: Clone, R>(
        &self,
        kind: Kind<'_>,
        request: &Q,
        method: impl AsyncFn(Channel, Request<Q>) -> Result<Response<R>, Status>,
    ) -> Result<R, Failure> {
        self.until(Instant::now() + self.timeout, kind, request, true, &method).await
    }

    /// The same, within `time` if that is longer than what calls have.
    pub(crate) async fn call_within<Q: Clone, R>(
        &self,
        time: Duration,
        kind: Kind<'_>,
        request: &Q,
        method: impl AsyncFn(Channel, Request<Q>) -> Result<Response<R>, Status>,
    ) -> Result<R, Failure> {
        self.until(Instant::now() + self.timeout.max(time), kind, request, true, &method).await
    }

    /// Follows a stream until `each` has seen enough or the server ends it. A stream that breaks is opened again.
    pub(crate) async fn watch<Q: Clone, T>(
        &self,
        request: &Q,
        open: impl AsyncFn(Channel, Request<Q>) -> Result<Response<Streaming<T>>, Status>,
        mut each: impl FnMut(T) -> Result<ControlFlow<()>, Failure>,
    ) -> Result<(), Failure> {
        let mut end = Instant::now() + self.timeout;
        let mut kind = Kind::Read;
        loop {
            let mut stream = self.until(end, kind, request, false, &open).await?;
            let mut heard = false;
            let status = loop {
                match stream.message().await {
                    Ok(None) => return Ok(()),
                    Ok(Some(message)) => {
                        heard = true;
                        if each(message)?.is_break() {
                            return Ok(());
                        }
                    }
                    Err(status) => break status,
                }
            };
            let (fault, next) = judge(&status);
            let Some((server, _)) = self.current.borrow().clone() else { continue };
            self.screen.verbose(&format!("{server}: the stream ended early: {fault}"));
            if heard {
                // However long it was quiet, the trouble begins now.
                end = Instant::now() + self.timeout;
                kind = Kind::ReadOn;
            }
            if matches!(next, Next::Stop) || Instant::now() >= end {
                return Err(Failure::refused(fault, server));
            }
            self.leave(None);
            pause(PAUSE_FIRST, end).await;
        }
    }

    async fn until<Q: Clone, R>(
        &self,
        end: Instant,
        kind: Kind<'_>,
        request: &Q,
        bounded: bool,
        method: &impl AsyncFn(Channel, Request<Q>) -> Result<Response<R>, Status>,
    ) -> Result<R, Failure> {
        let mut wait = PAUSE_FIRST;
        let mut sent = false;
        let mut refused: Option<Failure> = None;
        loop {
            match self.connected().await {
                Err(tries) => {
                    let failure = Failure::Unreachable { tries, hint: String::new() };
                    // Who answered a moment ago may be starting again.
                    if matches!(kind, Kind::Read) && !sent {
                        return Err(failure);
                    }
                    self.screen.talk_once(&format!(
                        "no server can be reached, trying for {}",
                        DurationText(self.timeout)
                    ));
                    refused = Some(failure);
                }
                Ok((server, channel)) => {
                    let left = end.saturating_duration_since(Instant::now());
                    sent = true;
                    let answer = self.ask(&server, channel, request, bounded.then_some(left), method).await;
                    let (fault, next) = match answer {
                        Ok(answer) => return Ok(answer),
                        Err(refusal) => refusal,
                    };
                    self.screen.verbose(&format!("{server}: {} ({})", fault, fault.code));
                    // That there was no time left for one more attempt says less than what the one before was told.
                    let late = fault.code == ErrorCode::Deadline;
                    let failure = Failure::refused(fault, server);
                    let failure = refused.take().filter(|_| late).unwrap_or(failure);
                    match next {
                        Next::Stop => return Err(doubtful(failure, kind, sent)),
                        Next::Again => {}
                        Next::Elsewhere(server) => self.leave(server),
                    }
                    refused = Some(failure);
                }
            }
            if Instant::now() + wait >= end
                && let Some(failure) = refused
            {
                return Err(doubtful(failure, kind, sent));
            }
            pause(wait, end).await;
            wait = (wait * 2).min(PAUSE_MAX);
        }
    }

    async fn ask<Q: Clone, R>(
        &self,
        server: &Server,
        channel: Channel,
        request: &Q,
        left: Option<Duration>,
        method: &impl AsyncFn(Channel, Request<Q>) -> Result<Response<R>, Status>,
    ) -> Result<R, (Fault, Next)> {
        let began = Instant::now();
        let mut request = Request::new(request.clone());
        if let Some(token) = &self.token {
            request.metadata_mut().insert("authorization", token.expose().clone());
        }
        if let Some(left) = left {
            request.set_timeout(left);
        }
        let answer =
            tokio::time::timeout(left.unwrap_or(self.timeout) + GRACE, method(channel, request)).await;
        let took = began.elapsed();
        match answer {
            Ok(Ok(answer)) => {
                self.screen.verbose(&format!("{server}: answered in {} ms", took.as_millis()));
                Ok(answer.into_inner())
            }
            Ok(Err(status))
                if matches!(status.code(), tonic::Code::Cancelled | tonic::Code::DeadlineExceeded)
                    && left.is_some_and(|left| took >= left) =>
            {
                Err((too_late(self.timeout), Next::Stop))
            }
            Ok(Err(status)) => Err(judge(&status)),
            Err(_) => Err((too_late(self.timeout), Next::Stop)),
        }
    }

    /// The connection that there is, else one to the first server that can be reached.
    async fn connected(&self) -> Result<(Server, Channel), Vec<(Server, DialError)>> {
        if let Some(current) = self.current.borrow().clone() {
            return Ok(current);
        }
        let mut tries = Vec::new();
        let first = self.first.get();
        let detour = self.detour.take();
        let order = self.servers.iter().enumerate().cycle().skip(first).take(self.servers.len());
        for (at, server) in detour.iter().map(|server| (first, server)).chain(order) {
            match dial::dial(server, Arc::clone(&self.trust)).await {
                Ok(channel) => {
                    self.screen.verbose(&format!("{server}: connected"));
                    self.first.set(at);
                    self.current.replace(Some((server.clone(), channel.clone())));
                    return Ok((server.clone(), channel));
                }
                Err(error) => {
                    self.screen.verbose(&format!("{server}: {}", error.chain()));
                    tries.push((server.clone(), error));
                }
            }
        }
        Err(tries)
    }

    /// Goes on with the named server, else with the next.
    fn leave(&self, named: Option<Server>) {
        self.current.replace(None);
        self.detour.replace(named);
        self.first.set((self.first.get() + 1) % self.servers.len().max(1));
    }
}

/// What a refusal means, and what to do.
fn judge(status: &Status) -> (Fault, Next) {
    let mut fault = Fault::of_status(status);
    // A status that this side made of a broken connection has that as its source.
    if let Some(source) = std::error::Error::source(status) {
        // Each layer in between says that there was an error; the last one says which.
        let cause = std::iter::successors(Some(source), |error| error.source()).last();
        let broken = format!("the connection broke: {}", cause.map(ToString::to_string).unwrap_or_default());
        return (Fault::new(ErrorCode::Unavailable, broken), Next::Elsewhere(None));
    }
    let next = match fault.code {
        // Its hint is the leader's address, nothing for people.
        ErrorCode::NotLeader => Next::Elsewhere(std::mem::take(&mut fault.hint).parse().ok()),
        ErrorCode::NoQuorum | ErrorCode::Unavailable | ErrorCode::LeftBehind => Next::Elsewhere(None),
        ErrorCode::Overloaded => Next::Again,
        ErrorCode::Unspecified
        | ErrorCode::InvalidArgument
        | ErrorCode::TooLarge
        | ErrorCode::NoRoom
        | ErrorCode::Unauthenticated
        | ErrorCode::CredentialsExpired
        | ErrorCode::JoinRefused
        | ErrorCode::PermissionDenied
        | ErrorCode::WrongCluster
        | ErrorCode::NotFound
        | ErrorCode::AlreadyExists
        | ErrorCode::WrongEpoch
        | ErrorCode::WrongGeneration
        | ErrorCode::KeyReused
        | ErrorCode::WouldLoseData
        | ErrorCode::WouldLoseQuorum
        | ErrorCode::LearnerLags
        | ErrorCode::WrongState
        | ErrorCode::Conflict
        | ErrorCode::Compacted
        | ErrorCode::Unhealthy
        | ErrorCode::Deadline
        | ErrorCode::Cancelled
        | ErrorCode::Unimplemented
        | ErrorCode::DataLoss
        | ErrorCode::Internal => Next::Stop,
    };
    (fault, next)
}

/// Says how to find out where a change may have been made though nobody said so.
fn doubtful(failure: Failure, kind: Kind<'_>, sent: bool) -> Failure {
    let unknown = matches!(failure, Failure::Unreachable { .. })
        || matches!(
            failure.code(),
            Some(ErrorCode::Deadline | ErrorCode::Unavailable | ErrorCode::NoQuorum | ErrorCode::NotLeader)
        );
    match kind {
        Kind::Change(key) if sent && unknown => failure.or_hint(format!(
            "it may have been done all the same; the same command with `--idempotency-key {key}` finds out, and does nothing twice"
        )),
        Kind::Change(_) | Kind::Read | Kind::ReadOn => failure,
    }
}

async fn pause(wait: Duration, end: Instant) {
    tokio::time::sleep(wait.min(end.saturating_duration_since(Instant::now()))).await;
}

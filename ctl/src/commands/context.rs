//! What every verb works with: the settings, the screen, a client that is made when it is first needed.

use std::cell::OnceCell;
use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::Duration;

use common::error_chain::ErrorChain;
use common::redacted::Redacted;
use identity::OperatorToken;
use proto::ErrorCode;
use proto::control::v1::MutationOptions;
use proto::limits::{IDEMPOTENCY_KEY_BYTES_MAX, PAGE_SIZE_MAX, REASON_BYTES_MAX};
use ring::rand::{SecureRandom as _, SystemRandom};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};

use crate::args::shared::Mutation;
use crate::client::{Client, Kind};
use crate::dial;
use crate::failure::Failure;
use crate::files;
use crate::output::Screen;
use crate::settings::{Settings, TokenPlace};
use crate::surroundings::Surroundings;

/// Bytes of randomness in an idempotency key.
const KEY_BYTES: usize = 16;

/// Settings, screen and client of this run.
pub(crate) struct Context {
    /// The settings in force.
    pub(crate) settings: Settings,
    /// Where it is said.
    pub(crate) screen: Rc<Screen>,
    around: Surroundings,
    client: OnceCell<Client>,
}

impl Context {
    /// A context in which nothing has been asked yet.
    pub(crate) fn new(settings: Settings, around: Surroundings, screen: Rc<Screen>) -> Self {
        Self { settings, screen, around, client: OnceCell::new() }
    }

    /// The token in force, if there is one.
    pub(crate) fn token(&self) -> Result<Option<Redacted<String>>, Failure> {
        Ok(match self.settings.token.as_ref().map(|token| &token.value) {
            None => None,
            Some(TokenPlace::File(path)) => Some(files::read_token(path)?),
            Some(TokenPlace::Variable) => {
                self.around.token().map(|token| Redacted::new(token.expose().trim().to_owned()))
            }
        })
    }

    /// The client.
    pub(crate) fn client(&self) -> Result<&Client, Failure> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let ca = self.settings.ca.as_ref().ok_or_else(|| self.settings.no_ca())?;
        let trust = dial::trust(dial::bundle(&ca.value)?)?;
        let token = self.token()?.map(|token| bearer(&token)).transpose()?;
        let servers = self.settings.servers.value.clone();
        let timeout = self.settings.timeout.value;
        let client = Client::new(servers, trust, token, timeout, Rc::clone(&self.screen));
        Ok(self.client.get_or_init(|| client))
    }

    /// Asks for something.
    pub(crate) async fn read<Q: Clone, R>(
        &self,
        request: Q,
        method: impl AsyncFn(Channel, Request<Q>) -> Result<Response<R>, Status>,
    ) -> Result<R, Failure> {
        let answer = self.client()?.call(Kind::Read, &request, method).await;
        answer.map_err(|failure| self.explained(failure))
    }

    /// Changes something, under the key that is in the request's options.
    pub(crate) async fn change<Q: Clone, R>(
        &self,
        key: &str,
        request: Q,
        method: impl AsyncFn(Channel, Request<Q>) -> Result<Response<R>, Status>,
    ) -> Result<R, Failure> {
        let answer = self.client()?.call(Kind::Change(key), &request, method).await;
        answer.map_err(|failure| self.explained(failure))
    }

    /// The same for what takes long: `--timeout` makes it at most longer than `time`.
    pub(crate) async fn change_within<Q: Clone, R>(
        &self,
        time: Duration,
        key: &str,
        request: Q,
        method: impl AsyncFn(Channel, Request<Q>) -> Result<Response<R>, Status>,
    ) -> Result<R, Failure> {
        let answer = self.client()?.call_within(time, Kind::Change(key), &request, method).await;
        answer.map_err(|failure| self.explained(failure))
    }

    /// Follows a stream.
    pub(crate) async fn watch<Q: Clone, T>(
        &self,
        request: Q,
        open: impl AsyncFn(Channel, Request<Q>) -> Result<Response<Streaming<T>>, Status>,
        each: impl FnMut(T) -> Result<ControlFlow<()>, Failure>,
    ) -> Result<(), Failure> {
        self.client()?.watch(&request, open, each).await.map_err(|failure| self.explained(failure))
    }

    fn explained(&self, failure: Failure) -> Failure {
        let anonymous = self.client.get().is_some_and(|client| !client.has_token());
        if anonymous && failure.code() == Some(ErrorCode::Unauthenticated) {
            return failure.or_hint(self.settings.no_token());
        }
        failure
    }
}

/// The token as it is sent.
fn bearer(token: &Redacted<String>) -> Result<Redacted<MetadataValue<Ascii>>, Failure> {
    let read = token.expose().parse::<OperatorToken>();
    let read = read.map_err(|error| {
        let problem = format!("what should be the operator's token is none: {}", ErrorChain::new(&error));
        Failure::usage(problem, "`goproxyctl env` shows where it is from; `admin.token` in a control node's data directory is one")
    })?;
    let value = format!("Bearer {}", read.text()).parse::<MetadataValue<Ascii>>();
    let mut value = value.map_err(|_| Failure::Internal("the token does not fit in a header".to_owned()))?;
    value.set_sensitive(true);
    Ok(Redacted::new(value))
}

/// How a change is to be made. The key is drawn here, once, and stays the same over all attempts.
pub(crate) fn options(mutation: &Mutation) -> Result<MutationOptions, Failure> {
    let key = match &mutation.idempotency_key {
        Some(key)
            if key.is_empty()
                || key.len() > IDEMPOTENCY_KEY_BYTES_MAX
                || !key.chars().all(|c| c.is_ascii_graphic()) =>
        {
            return Err(Failure::usage(
                "an idempotency key is 1 to 64 printable ASCII characters without spaces",
                "",
            ));
        }
        Some(key) => key.clone(),
        None => draw_key()?,
    };
    let reason = mutation.reason.clone().unwrap_or_default();
    if reason.len() > REASON_BYTES_MAX {
        return Err(Failure::usage(format!("the reason is longer than {REASON_BYTES_MAX} bytes"), ""));
    }
    Ok(MutationOptions { idempotency_key: key, dry_run: mutation.dry_run, reason })
}

fn draw_key() -> Result<String, Failure> {
    let mut bytes = [0; KEY_BYTES];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| Failure::Internal("the system gives no randomness".to_owned()))?;
    let mut key = String::with_capacity(2 * KEY_BYTES);
    for byte in bytes {
        let _ = write!(key, "{byte:02x}");
    }
    Ok(key)
}

/// What to say beside the answer to a change.
pub(crate) fn dry_run_note(mutation: &Mutation) -> Option<String> {
    mutation.dry_run.then(|| "dry run: the server evaluated this and changed nothing".to_owned())
}

/// What an answer must have.
pub(crate) fn there<T>(part: Option<T>, what: &str) -> Result<T, Failure> {
    part.ok_or_else(|| Failure::Internal(format!("the server's answer has no {what}")))
}

/// Reads page after page until `limit` entries are there or no more come; 0 for all.
pub(crate) async fn pages<T>(
    limit: usize,
    fetch: impl AsyncFn(u32, String) -> Result<(Vec<T>, String), Failure>,
) -> Result<Vec<T>, Failure> {
    let mut all: Vec<T> = Vec::new();
    let mut token = String::new();
    loop {
        let size = match limit {
            0 => PAGE_SIZE_MAX,
            limit => u32::try_from(limit - all.len()).unwrap_or(PAGE_SIZE_MAX).clamp(1, PAGE_SIZE_MAX),
        };
        let (page, next) = fetch(size, token.clone()).await?;
        all.extend(page);
        if limit != 0 && all.len() >= limit {
            all.truncate(limit);
            return Ok(all);
        }
        if next.is_empty() {
            return Ok(all);
        }
        if next == token {
            return Err(Failure::Internal("the server gives the same page again and again".to_owned()));
        }
        token = next;
    }
}

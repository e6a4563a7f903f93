//! Why a request was not answered with content. One variant per thing a client, a load balancer or an operator
//! does differently; `Display` is the first line that a developer sees in the terminal, [`ServeError::hint`]
//! the second.

use std::borrow::Cow;
use std::time::Duration;

use http::StatusCode;

/// What to do when the request itself forbade the fetch that would have answered it.
pub(super) const FETCH_FORBIDDEN_NEXT: &str =
    "ask for it without /cached-only/ or Disable-Module-Fetch, or of a proxy that may fetch";

/// What to do about a private module that this proxy cannot fetch. Also what such a refusal is told by, here and where
/// another node heard it: the hint is the one part of it that says how things will go on.
pub(super) const PRIVATE_NEXT: &str =
    "set GONOPROXY for this prefix, so that the go command fetches it directly";

/// What to do while this node has no place left at an origin. Such a refusal is told by it, too: another node has places of its own.
pub(super) const CROWDED_NEXT: &str =
    "too much is being fetched through this proxy just now; try again in a moment";

/// What to do where nobody has it, unless a node that could not look. Such a refusal is told by it, too: every node would hear the same.
pub(super) const UNSURE_NEXT: &str = "try again in a moment, when the node that may hold it can tell";

/// `Retry-After` where nobody says how long it takes, and at most: an origin that asks for more is asked again after that, too.
const RETRY_AFTER_SECONDS: u32 = 10;
const RETRY_AFTER_SECONDS_MAX: u32 = 60;

/// See the head of this file. Cloned to every waiter of one fetch.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ServeError {
    /// The path is not a canonical request.
    #[error("bad request: {why}")]
    Malformed {
        /// What is wrong with it.
        why: String,
    },
    /// Neither GET nor HEAD.
    #[error("method not allowed: this server answers GET and HEAD")]
    MethodRefused,
    /// A request with a body.
    #[error("bad request: requests to this server have no body")]
    BodyRefused,
    /// Nothing by that name; the go command tries its next GOPROXY entry.
    #[error("not found: {what}: {why}")]
    NotFound {
        /// The path, module or module@version.
        what: Cow<'static, str>,
        /// Who says so.
        why: String,
    },
    /// Not held here, and not to be fetched for this request, or by this node at all. Says nothing of what there is,
    /// so no cache may keep it.
    #[error("not found: {what}: {why}")]
    NotHeld {
        /// The path, module or module@version.
        what: Cow<'static, str>,
        /// Why it is not fetched.
        why: Cow<'static, str>,
        /// What the developer can do.
        next: Cow<'static, str>,
    },
    /// Taken down, here or at the origin.
    #[error("gone: {what}: {why}")]
    Gone {
        /// The module@version.
        what: Cow<'static, str>,
        /// Who says so.
        why: String,
    },
    /// A rule forbids it; the go command stops here.
    #[error("refused: {what}: {why}")]
    Refused {
        /// The module or module@version.
        what: Cow<'static, str>,
        /// The rule.
        why: String,
        /// What the developer can do.
        next: Cow<'static, str>,
    },
    /// The bytes that an origin sent are not what they must be.
    #[error("bad content: {what}: {why}")]
    BadContent {
        /// The module@version.
        what: Cow<'static, str>,
        /// What was wrong.
        why: String,
    },
    /// The checksum database does not vouch for it in a way that can be believed. The origin is not to blame.
    #[error("not verified: {what}: {why}")]
    Unverified {
        /// The module@version.
        what: Cow<'static, str>,
        /// What was wrong with the database's answer.
        why: String,
    },
    /// An origin failed or could not be reached.
    #[error("origin unavailable: {what}: {why}")]
    OriginUnavailable {
        /// The module or module@version.
        what: Cow<'static, str>,
        /// Which origin and how.
        why: String,
    },
    /// An origin took too long.
    #[error("origin timed out: {what}: {why}")]
    OriginTimeout {
        /// The module or module@version.
        what: Cow<'static, str>,
        /// Which origin and in which phase.
        why: String,
    },
    /// An origin, or the checksum database, asks for patience or cannot be reached for now.
    #[error("unavailable: {what}: {why}")]
    OriginBusy {
        /// The module or module@version.
        what: Cow<'static, str>,
        /// Who, and how.
        why: String,
        /// What the developer can do.
        next: Cow<'static, str>,
        /// For how long, if that was said.
        retry_after: Option<Duration>,
    },
    /// This server cannot answer just now.
    #[error("unavailable: {what}: {why}")]
    Unavailable {
        /// The module or module@version.
        what: Cow<'static, str>,
        /// What is in the way.
        why: String,
        /// What the developer or operator can do.
        next: Cow<'static, str>,
    },
    /// Too many requests in flight.
    #[error("overloaded: too many requests in flight")]
    Overloaded,
    /// A `Range` that does not touch the content.
    #[error("range not satisfiable: the content has {size} bytes")]
    RangeRefused {
        /// Bytes of the whole content.
        size: u64,
    },
    /// The content is none of those that `If-Match` names.
    #[error("precondition failed: the content has another ETag")]
    PreconditionFailed,
    /// The store failed or a task died; the log has the rest.
    #[error("internal error: {what}")]
    Internal {
        /// What was being done.
        what: String,
    },
}

impl ServeError {
    /// The status that makes the go command do the right thing: 404 and 410 walk on to the next GOPROXY entry,
    /// everything else stops (protocol.md 57, 58).
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Malformed { .. } | Self::BodyRefused => StatusCode::BAD_REQUEST,
            Self::MethodRefused => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotFound { .. } | Self::NotHeld { .. } => StatusCode::NOT_FOUND,
            Self::Gone { .. } => StatusCode::GONE,
            Self::Refused { .. } => StatusCode::FORBIDDEN,
            Self::BadContent { .. } | Self::Unverified { .. } | Self::OriginUnavailable { .. } => {
                StatusCode::BAD_GATEWAY
            }
            Self::OriginTimeout { .. } => StatusCode::GATEWAY_TIMEOUT,
            Self::OriginBusy { .. } | Self::Unavailable { .. } | Self::Overloaded => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::RangeRefused { .. } => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
            Self::Internal { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// What to do next, for the second line.
    pub fn hint(&self) -> Option<Cow<'static, str>> {
        let fixed = match self {
            Self::Malformed { .. } => {
                "see https://go.dev/ref/mod#goproxy-protocol for the paths a module proxy answers"
            }
            Self::NotFound { .. } => {
                "check the module path and version; a private module needs GOPRIVATE or a proxy that may read it"
            }
            Self::Gone { .. } => "use another version; whoever runs this proxy, or the origin, can say more",
            Self::NotHeld { next, .. }
            | Self::Refused { next, .. }
            | Self::OriginBusy { next, .. }
            | Self::Unavailable { next, .. } => return Some(next.clone()),
            Self::BadContent { .. } => {
                "nothing was stored; if it stays so, tell the operator of this proxy: the origin may be compromised"
            }
            Self::Unverified { .. } => {
                "nothing was stored; if it stays so, tell the operator of this proxy: the checksum database may be under attack"
            }
            Self::OriginUnavailable { .. } | Self::OriginTimeout { .. } => {
                "try again in a moment; what this proxy already holds is not affected"
            }
            Self::Overloaded => "try again in a moment",
            Self::Internal { .. } => {
                "the operator finds the cause in the log under this answer's X-Request-Id"
            }
            Self::MethodRefused
            | Self::BodyRefused
            | Self::RangeRefused { .. }
            | Self::PreconditionFailed => {
                return None;
            }
        };
        Some(Cow::Borrowed(fixed))
    }

    /// Seconds for `Retry-After`, where waiting helps.
    pub fn retry_after_seconds(&self) -> Option<u32> {
        match self {
            Self::Overloaded => Some(1),
            // It is as private in ten seconds.
            Self::Unavailable { next, .. } if next == PRIVATE_NEXT => None,
            Self::Unavailable { .. } => Some(RETRY_AFTER_SECONDS),
            Self::OriginBusy { retry_after, .. } => Some(retry_after.map_or(RETRY_AFTER_SECONDS, seconds)),
            Self::Malformed { .. }
            | Self::MethodRefused
            | Self::BodyRefused
            | Self::NotFound { .. }
            | Self::NotHeld { .. }
            | Self::Gone { .. }
            | Self::Refused { .. }
            | Self::BadContent { .. }
            | Self::Unverified { .. }
            | Self::OriginUnavailable { .. }
            | Self::OriginTimeout { .. }
            | Self::RangeRefused { .. }
            | Self::PreconditionFailed
            | Self::Internal { .. } => None,
        }
    }
}

/// As `Retry-After` has it; one that asks to be asked again at once would only be asked more.
fn seconds(wait: Duration) -> u32 {
    u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).clamp(1, RETRY_AFTER_SECONDS_MAX)
}

#[cfg(test)]
mod tests {
    use super::super::convert::from_fetch;
    use super::*;
    use crate::upstream::{FetchError, OriginId, Phase, Unavailability};

    #[test]
    fn only_what_waiting_helps_against_is_to_be_waited_for() {
        let private = from_fetch("a.example/m@v1.0.0", &FetchError::DirectUnavailable);
        assert_eq!(
            (private.status(), private.retry_after_seconds()),
            (StatusCode::SERVICE_UNAVAILABLE, None)
        );
        let origin = OriginId::new(0, "proxy.example");
        for (asked_for, told) in [(None, 10), (Some(30), 30), (Some(0), 1), (Some(86_400), 60)] {
            let limited = FetchError::RateLimited {
                retry_after: asked_for.map(Duration::from_secs),
                detail: String::new(),
                origin: origin.clone(),
            };
            let limited = from_fetch("a.example/m@v1.0.0", &limited);
            assert_eq!(
                (limited.status(), limited.retry_after_seconds()),
                (StatusCode::SERVICE_UNAVAILABLE, Some(told))
            );
        }
        for full in [
            FetchError::Timeout { phase: Phase::Queue, origin: origin.clone() },
            FetchError::Unavailable {
                origin,
                why: Unavailability::QueueFull,
                detail: String::new(),
                source: None,
            },
        ] {
            let told = from_fetch("a.example/m@v1.0.0", &full);
            assert_eq!(
                (told.status(), told.retry_after_seconds()),
                (StatusCode::SERVICE_UNAVAILABLE, Some(10))
            );
        }
        assert_eq!(ServeError::Overloaded.retry_after_seconds(), Some(1));
    }
}

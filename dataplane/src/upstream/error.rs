//! Owns what can go wrong with a fetch, in terms of what the caller does about it.
//!
//! Texts are for the Go developer who asked: which origin, what it answered, and its own first line. They never hold
//! credentials, and module names only where the origin itself said them.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::walk::Class;

/// A cause that many waiting callers share.
pub type Cause = Arc<dyn Error + Send + Sync>;

/// Names one entry of the chain, for provenance, metrics and messages.
///
/// Displays as the host (and port if it is not the default one) or as the directory: never path, never credentials.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OriginId {
    /// Two entries may name the same host.
    entry: u16,
    label: Arc<str>,
}

impl OriginId {
    /// The origin at place `entry` of the chain, shown as `label`.
    pub fn new(entry: u16, label: &str) -> Self {
        Self { entry, label: label.into() }
    }

    /// What is shown.
    pub fn as_str(&self) -> &str {
        &self.label
    }
}

impl fmt::Display for OriginId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label)
    }
}

/// The part of a fetch that took too long; each has a limit of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Waiting for one of this server's own places at the origin.
    Queue,
    /// Name resolution, TCP and TLS.
    Connect,
    /// From sending the request to the response head.
    Head,
    /// Between two parts of the body, or too few of them.
    Body,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Queue => "waiting for its turn",
            Self::Connect => "connecting",
            Self::Head => "waiting for an answer",
            Self::Body => "reading the body",
        })
    }
}

/// In which way an origin is not available.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unavailability {
    /// It answered with this 5xx status.
    Status(u16),
    /// No connection came about.
    Connect,
    /// The connection broke.
    Broken,
    /// The body ended before its announced length.
    Truncated,
    /// It failed so often that it is left alone for this long.
    CircuitOpen {
        /// Until the next probe.
        retry_in: Duration,
    },
    /// Too many requests of this server wait for it already.
    QueueFull,
    /// A directory could not be read.
    Directory,
}

impl fmt::Display for Unavailability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "answered {}", StatusText(*status)),
            Self::Connect => f.write_str("cannot be reached"),
            Self::Broken => f.write_str("broke the connection"),
            Self::Truncated => f.write_str("sent less than it announced"),
            Self::CircuitOpen { retry_in } => {
                write!(f, "failed too often and is not asked for {} s", retry_in.as_secs().max(1))
            }
            Self::QueueFull => f.write_str("has too many requests waiting"),
            Self::Directory => f.write_str("cannot be read"),
        }
    }
}

/// Why a fetch brought nothing. Cheap to clone, so that one failure can be told to all who wait for it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FetchError {
    /// The origin says that there is no such thing (404), or no longer (410).
    #[error("{origin} answered {}{}", StatusText(if *gone { 410 } else { 404 }), Detail(detail))]
    NotFound {
        /// 410 rather than 404.
        gone: bool,
        /// First line of its own text; may be empty.
        detail: String,
        /// Who said it.
        origin: OriginId,
    },
    /// Nobody was asked: on its host there can be no module at this path.
    #[error("a module on this host has an owner and a repository in its path")]
    NoRepository,
    /// The origin refuses (a 4xx other than 404, 410 and 429).
    #[error("{origin} answered {}{}", StatusText(*status), Detail(detail))]
    Refused {
        /// Its status.
        status: u16,
        /// First line of its own text; may be empty.
        detail: String,
        /// Who said it.
        origin: OriginId,
    },
    /// The origin asks to be left alone (429).
    #[error("{origin} answered {}{}", StatusText(429), Detail(detail))]
    RateLimited {
        /// For how long, if it said so.
        retry_after: Option<Duration>,
        /// First line of its own text; may be empty.
        detail: String,
        /// Who said it.
        origin: OriginId,
    },
    /// The origin cannot answer now.
    #[error("{origin} {why}{}", Detail(detail))]
    Unavailable {
        /// Which origin.
        origin: OriginId,
        /// In which way.
        why: Unavailability,
        /// First line of its own text, or what the system said; may be empty.
        detail: String,
        /// The fault below, if there is one.
        #[source]
        source: Option<Cause>,
    },
    /// The origin took too long.
    #[error("{origin} took too long ({phase})")]
    Timeout {
        /// Over what.
        phase: Phase,
        /// Which origin.
        origin: OriginId,
    },
    /// More bytes than such a file may have.
    #[error("{origin} sent more than {limit} bytes, the limit for such a file")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
        /// Which origin.
        origin: OriginId,
    },
    /// A success whose content cannot be what was asked for, such as a login page.
    #[error("{origin} answered with something that is not {expected}: {detail}")]
    Malformed {
        /// What was expected, such as "a version list".
        expected: &'static str,
        /// What is wrong with it.
        detail: String,
        /// Which origin.
        origin: OriginId,
    },
    /// A file changed at the origin while it was being read, so that its parts do not fit together.
    #[error("{origin} changed the file while it was being fetched")]
    Changed {
        /// Which origin.
        origin: OriginId,
    },
    /// A redirect that is not followed.
    #[error("{origin} redirects where this server does not follow: {detail}")]
    BadRedirect {
        /// Why not.
        detail: String,
        /// Which origin.
        origin: OriginId,
    },
    /// Every origin that could be asked is among those to avoid.
    #[error("no other upstream has this file")]
    NoOtherOrigin,
    /// The chain is `off` (or begins with it).
    #[error("fetching is turned off (upstream is `off`)")]
    Off,
    /// The module is private, so only its version control system may be asked, which this server cannot do.
    #[error("fetching directly from version control is not supported")]
    DirectUnavailable,
    /// A zip was asked for as a small file; it has to be streamed.
    #[error("a zip is streamed, not fetched whole")]
    NotSmall,
}

impl FetchError {
    /// Whether the origin has done nothing wrong: too much is asked of it through here.
    pub fn is_own_limit(&self) -> bool {
        matches!(
            self,
            Self::Timeout { phase: Phase::Queue, .. }
                | Self::Unavailable { why: Unavailability::QueueFull, .. }
        )
    }

    /// What the error means for the walk along the chain.
    pub fn class(&self) -> Class {
        match self {
            Self::NotFound { .. } | Self::NoRepository => Class::NotFound,
            Self::Off | Self::DirectUnavailable | Self::NotSmall | Self::NoOtherOrigin => Class::NotAsked,
            Self::Refused { .. }
            | Self::RateLimited { .. }
            | Self::Unavailable { .. }
            | Self::Timeout { .. }
            | Self::TooLarge { .. }
            | Self::Malformed { .. }
            | Self::Changed { .. }
            | Self::BadRedirect { .. } => Class::Other,
        }
    }

    /// The origin that the error is about, if it is about one.
    pub fn origin(&self) -> Option<&OriginId> {
        match self {
            Self::NotFound { origin, .. }
            | Self::Refused { origin, .. }
            | Self::RateLimited { origin, .. }
            | Self::Unavailable { origin, .. }
            | Self::Timeout { origin, .. }
            | Self::TooLarge { origin, .. }
            | Self::Malformed { origin, .. }
            | Self::Changed { origin }
            | Self::BadRedirect { origin, .. } => Some(origin),
            Self::NoOtherOrigin
            | Self::Off
            | Self::DirectUnavailable
            | Self::NoRepository
            | Self::NotSmall => None,
        }
    }
}

/// A status with its usual name: `404 Not Found`.
struct StatusText(u16);

impl fmt::Display for StatusText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = http::StatusCode::from_u16(self.0).ok().and_then(|status| status.canonical_reason());
        match reason {
            Some(reason) => write!(f, "{} {reason}", self.0),
            None => write!(f, "{}", self.0),
        }
    }
}

/// The origin's own words, if there are any.
struct Detail<'a>(&'a str);

impl fmt::Display for Detail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, ": {}", self.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_name_the_origin_and_its_words() {
        let origin = OriginId::new(0, "proxy.example");
        let error = FetchError::NotFound { gone: true, detail: String::new(), origin: origin.clone() };
        assert_eq!(error.to_string(), "proxy.example answered 410 Gone");
        let error =
            FetchError::Refused { status: 403, detail: "ask the admins".into(), origin: origin.clone() };
        assert_eq!(error.to_string(), "proxy.example answered 403 Forbidden: ask the admins");
        let error = FetchError::Unavailable {
            origin: origin.clone(),
            why: Unavailability::CircuitOpen { retry_in: Duration::from_millis(10) },
            detail: String::new(),
            source: None,
        };
        assert_eq!(error.to_string(), "proxy.example failed too often and is not asked for 1 s");
        let error = FetchError::Timeout { phase: Phase::Head, origin };
        assert_eq!(error.to_string(), "proxy.example took too long (waiting for an answer)");
    }
}

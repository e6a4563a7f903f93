//! Owns what one attempt at an origin fails with: the error, whether to ask again, and what it says of the origin.

use std::time::Duration;

use super::breaker::Pass;
use super::error::FetchError;
use super::window::Fault;

/// See the head of this file.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub(super) error: FetchError,
    pub(super) again: Again,
    pub(super) end: End,
}

/// Whether to ask again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// The answer is an answer.
    No,
    /// After the usual pause.
    Soon,
    /// After the pause that the origin asked for.
    After(Duration),
}

/// How an attempt ended, as the breaker sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// With an answer.
    Answered,
    /// By the origin's fault.
    Failed(Blame),
    /// Before the origin was asked.
    Unasked,
}

/// What the breaker is told if nobody asks again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Blame {
    pub(super) pass: Pass,
    pub(super) fault: Fault,
}

impl Failure {
    /// Asking again does not help.
    pub(super) fn last(error: FetchError) -> Self {
        Self { error, again: Again::No, end: End::Answered }
    }

    /// Asking again may help.
    pub(super) fn soon(error: FetchError) -> Self {
        Self { error, again: Again::Soon, end: End::Answered }
    }

    /// The origin was not asked, for a reason on this side.
    pub(super) fn unasked(error: FetchError) -> Self {
        Self { error, again: Again::No, end: End::Unasked }
    }

    /// The same, by the origin's fault.
    pub(super) fn blaming(self, pass: Pass, fault: Fault) -> Self {
        Self { end: End::Failed(Blame { pass, fault }), ..self }
    }
}

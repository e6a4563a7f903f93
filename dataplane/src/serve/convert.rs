//! Faults of the layers below, as what the client is told.

use std::borrow::Cow;
use std::time::Duration;

use common::error_chain::ErrorChain;

use super::error::{CROWDED_NEXT, FETCH_FORBIDDEN_NEXT, PRIVATE_NEXT, ServeError};
use crate::store::StoreError;
use crate::sumdb::SumDbError;
use crate::upstream::FetchError;

/// What is told when a fetch of `what` brought nothing.
pub(crate) fn from_fetch(what: &str, error: &FetchError) -> ServeError {
    let what = Cow::Owned(what.to_owned());
    let why = error.to_string();
    if error.is_own_limit() {
        return ServeError::Unavailable { what, why, next: Cow::Borrowed(CROWDED_NEXT) };
    }
    match error {
        FetchError::NotFound { gone: true, .. } => ServeError::Gone { what, why },
        FetchError::NotFound { gone: false, .. } | FetchError::NoRepository => {
            ServeError::NotFound { what, why }
        }
        // Nobody was asked, so it says nothing of what there is.
        FetchError::Off => ServeError::NotHeld {
            what,
            why: Cow::Owned(why),
            next: Cow::Borrowed(
                "use a version that is held, or have the operator of this proxy name an upstream",
            ),
        },
        FetchError::DirectUnavailable => {
            ServeError::Unavailable { what, why, next: Cow::Borrowed(PRIVATE_NEXT) }
        }
        FetchError::Refused { .. } => ServeError::Refused {
            what,
            why,
            next: Cow::Borrowed("the origin refuses this version; ask its operator, or use another version"),
        },
        FetchError::Timeout { .. } => ServeError::OriginTimeout { what, why },
        FetchError::RateLimited { .. } => ServeError::OriginBusy {
            what,
            why,
            next: Cow::Borrowed("the origin asks for patience; try again in a moment"),
            retry_after: patience(error),
        },
        FetchError::Unavailable { .. } | FetchError::BadRedirect { .. } | FetchError::NoOtherOrigin => {
            ServeError::OriginUnavailable { what, why }
        }
        FetchError::TooLarge { .. } | FetchError::Malformed { .. } | FetchError::Changed { .. } => {
            ServeError::BadContent { what, why }
        }
        FetchError::NotSmall => ServeError::Internal { what: why },
    }
}

/// What is told when the checksum database does not vouch for `what`.
pub(crate) fn from_sumdb(what: &str, error: &SumDbError) -> ServeError {
    let text = error.to_string();
    let what = Cow::Owned(what.to_owned());
    match error {
        SumDbError::NotFound { .. } | SumDbError::UnknownDatabase | SumDbError::UnknownPath => {
            ServeError::NotFound { what, why: text }
        }
        SumDbError::NotHeld { what: part } => ServeError::NotHeld {
            what: Cow::Owned(part.clone()),
            why: Cow::Borrowed(
                "the checksum database's answer is not held here, and the request forbids fetching",
            ),
            next: Cow::Borrowed(FETCH_FORBIDDEN_NEXT),
        },
        SumDbError::Private => ServeError::Refused {
            what,
            why: text,
            next: Cow::Borrowed("set GONOSUMDB (or GOPRIVATE) for this prefix in your environment"),
        },
        SumDbError::Unavailable(error) if error.is_own_limit() => {
            ServeError::Unavailable { what, why: text, next: Cow::Borrowed(CROWDED_NEXT) }
        }
        SumDbError::Unavailable(error) => ServeError::OriginBusy {
            what,
            why: text,
            next: Cow::Borrowed("try again in a moment; content that was verified before is still served"),
            retry_after: patience(error),
        },
        SumDbError::Offline { .. } => ServeError::Unavailable {
            what,
            why: text,
            next: Cow::Borrowed("try again in a moment; content that was verified before is still served"),
        },
        SumDbError::Store(_) => {
            tracing::error!(error = %ErrorChain::new(error), "failed to use what is kept of the checksum database");
            ServeError::Internal { what: text }
        }
        SumDbError::BadSignature(_)
        | SumDbError::Fork
        | SumDbError::TileMismatch(_)
        | SumDbError::RecordMismatch(_)
        | SumDbError::Unrelated { .. }
        | SumDbError::Malformed(_) => ServeError::Unverified { what, why: text },
    }
}

/// How long an origin asks to be left alone.
fn patience(error: &FetchError) -> Option<Duration> {
    if let FetchError::RateLimited { retry_after, .. } = error { *retry_after } else { None }
}

/// What is told when the store fails. The cause is for the operator, not for the client.
pub(crate) fn from_store(what: &str, error: &StoreError) -> ServeError {
    tracing::error!(error = %ErrorChain::new(error), what, "failed to use the store");
    ServeError::Internal { what: format!("the store could not {what}") }
}

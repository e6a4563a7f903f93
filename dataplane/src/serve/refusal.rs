//! Why there is no answer, as nodes tell each other.

use std::borrow::Cow;

use cluster::Epoch;
use proto::data::v1::{Refusal, RefusalReason};

use super::error::ServeError;

/// Bytes of a text that another node sent; the rest is cut off.
const TEXT_BYTES_MAX: usize = 600;

/// What another node is told. `epoch` is the layout that this one knows.
pub fn to_refusal(error: &ServeError, epoch: Epoch) -> Refusal {
    let (reason, subject, why) = match error {
        ServeError::NotFound { what, why } => (RefusalReason::NotFound, what.as_ref(), why.as_str()),
        ServeError::Gone { what, why } => (RefusalReason::Gone, what.as_ref(), why.as_str()),
        ServeError::NotHeld { what, why, .. } => (RefusalReason::NotHeld, what.as_ref(), why.as_ref()),
        ServeError::Refused { what, why, .. } => (RefusalReason::Forbidden, what.as_ref(), why.as_str()),
        ServeError::BadContent { what, why } => (RefusalReason::BadContent, what.as_ref(), why.as_str()),
        ServeError::Unverified { what, why } => (RefusalReason::Unverified, what.as_ref(), why.as_str()),
        ServeError::OriginUnavailable { what, why } => {
            (RefusalReason::OriginUnavailable, what.as_ref(), why.as_str())
        }
        ServeError::OriginTimeout { what, why } => {
            (RefusalReason::OriginTimeout, what.as_ref(), why.as_str())
        }
        ServeError::OriginBusy { what, why, .. } => (RefusalReason::OriginBusy, what.as_ref(), why.as_str()),
        ServeError::Unavailable { what, why, .. } => {
            (RefusalReason::Unavailable, what.as_ref(), why.as_str())
        }
        ServeError::Overloaded => (RefusalReason::Unavailable, "", "too many requests in flight"),
        ServeError::Internal { what } => (RefusalReason::Internal, "", what.as_str()),
        ServeError::Malformed { .. }
        | ServeError::MethodRefused
        | ServeError::BodyRefused
        | ServeError::RangeRefused { .. } => (RefusalReason::Internal, "", "it is no request of a node"),
    };
    Refusal {
        reason: reason.into(),
        subject: subject.to_owned(),
        why: why.to_owned(),
        next: error.hint().map(Cow::into_owned).unwrap_or_default(),
        layout_epoch: epoch.get(),
    }
}

/// What a client is told that another node refused.
pub fn from_refusal(refusal: Refusal) -> ServeError {
    let reason = refusal.reason();
    let (what, why, next) =
        (Cow::Owned(cut(refusal.subject)), cut(refusal.why), Cow::Owned(cut(refusal.next)));
    match reason {
        RefusalReason::NotFound => ServeError::NotFound { what, why },
        RefusalReason::Gone => ServeError::Gone { what, why },
        RefusalReason::NotHeld => ServeError::NotHeld { what, why: Cow::Owned(why), next },
        RefusalReason::Forbidden => ServeError::Refused { what, why, next },
        RefusalReason::BadContent => ServeError::BadContent { what, why },
        RefusalReason::Unverified => ServeError::Unverified { what, why },
        RefusalReason::OriginUnavailable => ServeError::OriginUnavailable { what, why },
        RefusalReason::OriginTimeout => ServeError::OriginTimeout { what, why },
        RefusalReason::OriginBusy => ServeError::OriginBusy { what, why, next },
        RefusalReason::Unavailable => ServeError::Unavailable { what, why, next },
        RefusalReason::Internal | RefusalReason::Moved | RefusalReason::Unspecified => {
            ServeError::Internal { what: why }
        }
    }
}

fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_hears_the_same_from_every_node() {
        let (what, why) = (Cow::Borrowed("a.example/m@v1.0.0"), "because".to_owned());
        let next = Cow::Borrowed("do something");
        for error in [
            ServeError::NotFound { what: what.clone(), why: why.clone() },
            ServeError::Gone { what: what.clone(), why: why.clone() },
            ServeError::NotHeld { what: what.clone(), why: Cow::Borrowed("because"), next: next.clone() },
            ServeError::Refused { what: what.clone(), why: why.clone(), next: next.clone() },
            ServeError::BadContent { what: what.clone(), why: why.clone() },
            ServeError::Unverified { what: what.clone(), why: why.clone() },
            ServeError::OriginUnavailable { what: what.clone(), why: why.clone() },
            ServeError::OriginTimeout { what: what.clone(), why: why.clone() },
            ServeError::OriginBusy { what: what.clone(), why: why.clone(), next: next.clone() },
            ServeError::Unavailable { what, why, next },
            ServeError::Internal { what: "store a zip".to_owned() },
        ] {
            let heard = from_refusal(to_refusal(&error, Epoch::new(3)));
            assert_eq!(
                (heard.to_string(), heard.hint(), heard.status()),
                (error.to_string(), error.hint(), error.status())
            );
        }
    }

    #[test]
    fn what_another_node_says_is_bounded() {
        let refusal =
            Refusal {
                reason: RefusalReason::NotFound.into(), why: "ü".repeat(10_000), ..Refusal::default()
            };
        assert!(from_refusal(refusal).to_string().len() < 700);
    }
}

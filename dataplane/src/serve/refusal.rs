//! Why there is no answer, as nodes tell each other, and what it means for whoever is asked next.

use std::borrow::Cow;

use cluster::Epoch;
use proto::data::v1::{Refusal, RefusalReason};

use super::error::ServeError;
use super::meaning::Meaning;

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
        | ServeError::RangeRefused { .. }
        | ServeError::PreconditionFailed => (RefusalReason::Internal, "", "it is no request of a node"),
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
        // For how long is not said between nodes.
        RefusalReason::OriginBusy => ServeError::OriginBusy { what, why, next, retry_after: None },
        RefusalReason::Unavailable => ServeError::Unavailable { what, why, next },
        RefusalReason::Internal | RefusalReason::Moved | RefusalReason::Unspecified => {
            ServeError::Internal { what: why }
        }
    }
}

/// What a refusal means for whoever is asked next.
pub(super) enum Heard {
    /// It is the answer.
    Final(ServeError),
    /// The origins fail: a copy is looked for, or another node tries `elsewhere`.
    Trouble { error: ServeError, elsewhere: bool },
    /// The slot is another node's, by this layout.
    Moved(Epoch),
    /// The next one may do better.
    Next,
}

/// Hears a node that was asked to fetch if it `fetches`, else for what it holds.
pub(super) fn hear(refusal: Refusal, fetches: bool) -> Heard {
    if refusal.reason() == RefusalReason::Moved {
        return Heard::Moved(crate::peers::epoch_of(&refusal));
    }
    let error = from_refusal(refusal);
    match error.meaning() {
        Meaning::Gone | Meaning::Forbidden => Heard::Final(error),
        // Who fetches speaks for the origins; who does not knows nothing of what there is.
        Meaning::Absent if fetches => Heard::Final(error),
        Meaning::Distrusted if fetches => Heard::Trouble { error, elsewhere: false },
        Meaning::Trouble { elsewhere } if fetches => Heard::Trouble { error, elsewhere },
        Meaning::Absent
        | Meaning::NotHeld
        | Meaning::Distrusted
        | Meaning::Trouble { .. }
        | Meaning::NotNow
        | Meaning::Failed
        | Meaning::NoRequest => Heard::Next,
    }
}

/// Whether a node that was asked for what it holds says that it holds none.
pub(super) fn holds_none(refusal: &Refusal) -> bool {
    from_refusal(refusal.clone()).meaning().is_of_who_holds_none()
}

/// Whether a node that said this of a zip in the middle of it would say it again.
pub(super) fn is_about_the_content(refusal: &Refusal) -> bool {
    match from_refusal(refusal.clone()).meaning() {
        Meaning::Absent | Meaning::Gone | Meaning::Forbidden | Meaning::Distrusted => true,
        Meaning::NotHeld
        | Meaning::Trouble { .. }
        | Meaning::NotNow
        | Meaning::Failed
        | Meaning::NoRequest => false,
    }
}

fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
    text
}

#[cfg(test)]
mod tests {
    use super::super::convert::from_fetch;
    use super::super::error::{CROWDED_NEXT, PRIVATE_NEXT, UNSURE_NEXT};
    use super::*;
    use crate::upstream::{FetchError, OriginId, Phase, Unavailability};

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
            ServeError::OriginBusy {
                what: what.clone(),
                why: why.clone(),
                next: next.clone(),
                retry_after: None,
            },
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

    fn refused(reason: RefusalReason, next: &str) -> Refusal {
        Refusal { reason: reason.into(), next: next.to_owned(), layout_epoch: 7, ..Refusal::default() }
    }

    /// What is heard of a node that fetches, and of one that does not.
    fn heard(refusal: &Refusal) -> [&'static str; 2] {
        [true, false].map(|fetches| match hear(refusal.clone(), fetches) {
            Heard::Final(_) => "final",
            Heard::Trouble { elsewhere: true, .. } => "elsewhere",
            Heard::Trouble { elsewhere: false, .. } => "trouble",
            Heard::Moved(epoch) if epoch == Epoch::new(7) => "moved",
            Heard::Moved(_) => "moved by another layout",
            Heard::Next => "next",
        })
    }

    #[test]
    fn who_is_asked_next_depends_on_what_was_heard() {
        for (reason, next, expected) in [
            (RefusalReason::NotFound, "", ["final", "next"]),
            (RefusalReason::Gone, "", ["final", "final"]),
            (RefusalReason::NotHeld, "", ["next", "next"]),
            (RefusalReason::Forbidden, "", ["final", "final"]),
            (RefusalReason::BadContent, "", ["trouble", "next"]),
            (RefusalReason::Unverified, "", ["trouble", "next"]),
            (RefusalReason::OriginUnavailable, "", ["elsewhere", "next"]),
            (RefusalReason::OriginTimeout, "", ["elsewhere", "next"]),
            (RefusalReason::OriginBusy, "", ["trouble", "next"]),
            (RefusalReason::Unavailable, "ask another replica", ["next", "next"]),
            (RefusalReason::Unavailable, PRIVATE_NEXT, ["next", "next"]),
            (RefusalReason::Unavailable, CROWDED_NEXT, ["elsewhere", "next"]),
            (RefusalReason::Unavailable, UNSURE_NEXT, ["trouble", "next"]),
            (RefusalReason::Internal, "", ["next", "next"]),
            (RefusalReason::Moved, "", ["moved", "moved"]),
            (RefusalReason::Unspecified, "", ["next", "next"]),
        ] {
            assert_eq!(heard(&refused(reason, next)), expected, "{reason:?} {next}");
        }
    }

    /// An origin that asks for patience is asked by nobody else; a node without a place there speaks for itself alone.
    #[test]
    fn what_fetching_came_to_means_the_same_at_the_next_node() {
        let origin = || OriginId::new(0, "proxy.example");
        let limited = FetchError::RateLimited { retry_after: None, detail: String::new(), origin: origin() };
        let full = FetchError::Unavailable {
            origin: origin(),
            why: Unavailability::QueueFull,
            detail: String::new(),
            source: None,
        };
        let waited = FetchError::Timeout { phase: Phase::Queue, origin: origin() };
        for (error, expected) in [(limited, "trouble"), (full, "elsewhere"), (waited, "elsewhere")] {
            let told = from_fetch("a.example/m@v1.0.0", &error);
            assert_eq!(heard(&to_refusal(&told, Epoch::new(7))), [expected, "next"], "{told}");
        }
    }

    #[test]
    fn what_is_said_in_the_middle_of_a_zip_is_of_it_or_of_the_node() {
        for (reason, is_of_it, none) in [
            (RefusalReason::NotFound, true, true),
            (RefusalReason::Gone, true, true),
            (RefusalReason::NotHeld, false, true),
            (RefusalReason::Forbidden, true, true),
            (RefusalReason::BadContent, true, false),
            (RefusalReason::Unverified, true, false),
            (RefusalReason::OriginUnavailable, false, false),
            (RefusalReason::OriginTimeout, false, false),
            (RefusalReason::OriginBusy, false, false),
            (RefusalReason::Unavailable, false, false),
            (RefusalReason::Internal, false, false),
            (RefusalReason::Moved, false, false),
            (RefusalReason::Unspecified, false, false),
        ] {
            let refusal = refused(reason, "");
            assert_eq!(is_about_the_content(&refusal), is_of_it, "{reason:?}");
            assert_eq!(holds_none(&refusal), none, "{reason:?}");
        }
        // It looked before it said that it fetches nothing private.
        assert!(holds_none(&refused(RefusalReason::Unavailable, PRIVATE_NEXT)));
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

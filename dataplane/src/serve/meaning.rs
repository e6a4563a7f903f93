//! What an error says of the thing that was asked for, and of who may do better: what an older answer, another origin or another node
//! is good for after it.
//!
//! Here the kinds of errors are told apart, once for all who go on elsewhere; what each of them does then is its own. Invariant: an error
//! that came from another node means here what it meant there (`refusal`).

use super::error::{CROWDED_NEXT, PRIVATE_NEXT, ServeError, UNSURE_NEXT};

/// See the head of this file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// There is no such thing.
    Absent,
    /// There was; it was taken down.
    Gone,
    /// It is not held, and nobody was asked for it, which says nothing of what there is.
    NotHeld,
    /// A rule forbids it, whoever is asked.
    Forbidden,
    /// What came is not what it must be, or nobody vouches for it.
    Distrusted,
    /// Whoever would know cannot say for now.
    Trouble {
        /// Whether another node may fare better: it has a way to the origins of its own, and places there.
        elsewhere: bool,
    },
    /// The node cannot answer just now, for reasons of its own.
    NotNow,
    /// The node failed.
    Failed,
    /// It is no request that can be answered at all.
    NoRequest,
}

impl Meaning {
    /// Whether it is the origins' last word: what was heard before is over.
    pub(super) fn is_absence(self) -> bool {
        match self {
            Self::Absent | Self::Gone => true,
            Self::NotHeld
            | Self::Forbidden
            | Self::Distrusted
            | Self::Trouble { .. }
            | Self::NotNow
            | Self::Failed
            | Self::NoRequest => false,
        }
    }

    /// Whether a node that was asked for what it holds says that it holds none. One in trouble may hold it all the same.
    pub(super) fn is_of_who_holds_none(self) -> bool {
        match self {
            Self::Absent | Self::Gone | Self::NotHeld | Self::Forbidden => true,
            Self::Distrusted | Self::Trouble { .. } | Self::NotNow | Self::Failed | Self::NoRequest => false,
        }
    }
}

impl ServeError {
    /// What it says of the thing that was asked for.
    pub(super) fn meaning(&self) -> Meaning {
        match self {
            Self::NotFound { .. } => Meaning::Absent,
            Self::Gone { .. } => Meaning::Gone,
            Self::NotHeld { .. } => Meaning::NotHeld,
            Self::Refused { .. } => Meaning::Forbidden,
            Self::BadContent { .. } | Self::Unverified { .. } => Meaning::Distrusted,
            Self::OriginUnavailable { .. } | Self::OriginTimeout { .. } => {
                Meaning::Trouble { elsewhere: true }
            }
            // To ask it from another node is not patience.
            Self::OriginBusy { .. } => Meaning::Trouble { elsewhere: false },
            Self::Unavailable { next, .. } => of_unavailable(next),
            Self::Overloaded => Meaning::NotNow,
            Self::Internal { .. } => Meaning::Failed,
            Self::Malformed { .. }
            | Self::MethodRefused
            | Self::BodyRefused
            | Self::RangeRefused { .. }
            | Self::PreconditionFailed => Meaning::NoRequest,
        }
    }
}

/// The hint is all that tells them apart once another node has sent them.
fn of_unavailable(next: &str) -> Meaning {
    match next {
        // Only what is not held comes to that.
        PRIVATE_NEXT => Meaning::NotHeld,
        CROWDED_NEXT => Meaning::Trouble { elsewhere: true },
        UNSURE_NEXT => Meaning::Trouble { elsewhere: false },
        _ => Meaning::NotNow,
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use cluster::Epoch;

    use super::super::refusal::{from_refusal, to_refusal};
    use super::*;

    /// Each error, and what it means.
    fn table() -> Vec<(ServeError, Meaning)> {
        let (what, why) = (Cow::Borrowed("a.example/m@v1.0.0"), "because".to_owned());
        let next = Cow::Borrowed("do something");
        let unavailable = |next: &'static str| {
            let (what, why) = (Cow::Borrowed("a.example/m@v1.0.0"), "because".to_owned());
            ServeError::Unavailable { what, why, next: Cow::Borrowed(next) }
        };
        vec![
            (ServeError::Malformed { why: why.clone() }, Meaning::NoRequest),
            (ServeError::MethodRefused, Meaning::NoRequest),
            (ServeError::BodyRefused, Meaning::NoRequest),
            (ServeError::RangeRefused { size: 1 }, Meaning::NoRequest),
            (ServeError::PreconditionFailed, Meaning::NoRequest),
            (ServeError::NotFound { what: what.clone(), why: why.clone() }, Meaning::Absent),
            (ServeError::Gone { what: what.clone(), why: why.clone() }, Meaning::Gone),
            (
                ServeError::NotHeld { what: what.clone(), why: Cow::Borrowed("because"), next: next.clone() },
                Meaning::NotHeld,
            ),
            (
                ServeError::Refused { what: what.clone(), why: why.clone(), next: next.clone() },
                Meaning::Forbidden,
            ),
            (ServeError::BadContent { what: what.clone(), why: why.clone() }, Meaning::Distrusted),
            (ServeError::Unverified { what: what.clone(), why: why.clone() }, Meaning::Distrusted),
            (
                ServeError::OriginUnavailable { what: what.clone(), why: why.clone() },
                Meaning::Trouble { elsewhere: true },
            ),
            (
                ServeError::OriginTimeout { what: what.clone(), why: why.clone() },
                Meaning::Trouble { elsewhere: true },
            ),
            (
                ServeError::OriginBusy { what, why, next, retry_after: None },
                Meaning::Trouble { elsewhere: false },
            ),
            (unavailable(PRIVATE_NEXT), Meaning::NotHeld),
            (unavailable(CROWDED_NEXT), Meaning::Trouble { elsewhere: true }),
            (unavailable(UNSURE_NEXT), Meaning::Trouble { elsewhere: false }),
            (unavailable("ask another replica"), Meaning::NotNow),
            (ServeError::Overloaded, Meaning::NotNow),
            (ServeError::Internal { what: "store a record".to_owned() }, Meaning::Failed),
        ]
    }

    #[test]
    fn every_error_has_its_meaning_and_keeps_it_between_nodes() {
        for (error, meaning) in table() {
            assert_eq!(error.meaning(), meaning, "{error}");
            let heard = from_refusal(to_refusal(&error, Epoch::new(3)));
            // No node asks for what is no request: who hears so hears of a fault.
            let kept = if meaning == Meaning::NoRequest { Meaning::Failed } else { meaning };
            assert_eq!(heard.meaning(), kept, "{error}");
        }
    }

    #[test]
    fn only_who_could_look_holds_none() {
        for (error, meaning) in table() {
            let is_absence = meaning == Meaning::Absent || meaning == Meaning::Gone;
            let holds_none = is_absence || meaning == Meaning::NotHeld || meaning == Meaning::Forbidden;
            assert_eq!(meaning.is_absence(), is_absence, "{error}");
            assert_eq!(meaning.is_of_who_holds_none(), holds_none, "{error}");
            // Whoever may hold it is never told by 404 or 410 that there is none.
            assert!(holds_none || ![404, 410].contains(&error.status().as_u16()), "{error}");
        }
    }
}

//! Why the state machine refused, as a client is told.

use cluster::{Refusal, RefusalCode};
use proto::{ErrorCode, Fault};

/// A refusal with what to do about it.
pub(crate) fn refused(refusal: &Refusal) -> Fault {
    let fault = Fault::new(code(refusal), refusal.to_string());
    match hint(refusal) {
        "" => fault,
        hint => fault.hint(hint),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the others go by what a client does about them")]
fn code(refusal: &Refusal) -> ErrorCode {
    match refusal {
        Refusal::WrongEpoch { .. } => ErrorCode::WrongEpoch,
        Refusal::WrongGeneration { .. } => ErrorCode::WrongGeneration,
        Refusal::NoLongerThere { .. } => ErrorCode::Conflict,
        Refusal::KeyReused { .. } => ErrorCode::KeyReused,
        Refusal::Limit { .. } => ErrorCode::TooLarge,
        Refusal::Last { .. } => ErrorCode::WouldLoseQuorum,
        other => match other.code() {
            RefusalCode::Precondition | RefusalCode::WrongEpoch => ErrorCode::WrongState,
            RefusalCode::AlreadyThere => ErrorCode::AlreadyExists,
            RefusalCode::NotFound => ErrorCode::NotFound,
            RefusalCode::WouldLoseData => ErrorCode::WouldLoseData,
            RefusalCode::Invalid => ErrorCode::InvalidArgument,
            RefusalCode::Denied => ErrorCode::JoinRefused,
        },
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "most refusals say all there is to say")]
fn hint(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::WrongEpoch { .. } => {
            "somebody else has changed the layout: look at `goproxyctl layout plan` again, then apply with the epoch that it names"
        }
        Refusal::WrongGeneration { .. } => {
            "somebody else has changed it: look at it again, then name the generation that it has now"
        }
        Refusal::NoLongerThere { .. } => "say it again: it is looked for anew",
        Refusal::WouldLoseData { .. } => {
            "run `goproxyctl node drain` and wait for `goproxyctl layout status --watch` to end"
        }
        Refusal::NobodyElse { .. } => {
            "add another node with `goproxyctl node add`, uncordon one, or take in one that waits with `goproxyctl layout apply`"
        }
        Refusal::Paused => "run `goproxyctl layout resume`",
        Refusal::WrongSecret { .. } | Refusal::SecretExpired { .. } => {
            "get another token with `goproxyctl node add` or `goproxyctl member add`"
        }
        Refusal::Bootstrapped => "leave --bootstrap away: the cluster is there",
        _ => "",
    }
}

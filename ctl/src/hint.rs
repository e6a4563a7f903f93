//! What to do about an error where the server did not say. One sentence each, no full stop, commands in back-ticks.

use proto::ErrorCode;

use crate::dial::DialError;

/// The hint for a refusal; empty where there is nothing to say.
pub(crate) const fn of_code(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::Unauthenticated => {
            "pass the operator's token by --token-file or GOPROXYCTL_TOKEN; `goproxyctl env` shows which is used"
        }
        ErrorCode::CredentialsExpired => {
            "have an admin give the token a new secret with `goproxyctl token rotate`"
        }
        ErrorCode::PermissionDenied => "`goproxyctl token whoami` shows what this token may do",
        ErrorCode::WrongCluster => {
            "--ca and token belong to another cluster; `goproxyctl env` shows which are used"
        }
        ErrorCode::WrongEpoch => {
            "see what would change now with `goproxyctl layout plan`, and name the epoch it shows"
        }
        ErrorCode::WrongGeneration => {
            "it was changed meanwhile: look at it again, and name its present generation"
        }
        ErrorCode::KeyReused => "draw a new key, or leave --idempotency-key out",
        ErrorCode::WouldLoseData => {
            "`goproxyctl layout status --watch` shows when everything is held twice again"
        }
        ErrorCode::WouldLoseQuorum => "add a member first: `goproxyctl member add NAME`",
        ErrorCode::LearnerLags => "`goproxyctl member list` shows how far it has come",
        ErrorCode::NoQuorum => {
            "`goproxyctl doctor` says which members are gone; a lost majority is in docs/operations"
        }
        ErrorCode::LeftBehind => "ask the control nodes that the cluster goes on with",
        ErrorCode::NotLeader | ErrorCode::Unhealthy => "`goproxyctl doctor` says what is wrong",
        ErrorCode::NoRoom => "make room on the data nodes' disks, or add a node: `goproxyctl cache usage`",
        ErrorCode::Overloaded | ErrorCode::Unavailable => "try again in a moment",
        ErrorCode::Deadline => {
            "allow more time with --timeout, or look what is wrong with `goproxyctl doctor`"
        }
        ErrorCode::Unimplemented => {
            "the server is of another release; `goproxyctl cluster status` shows which"
        }
        ErrorCode::DataLoss => "`goproxyctl cluster status` shows alarms; see docs/operations",
        ErrorCode::Unspecified
        | ErrorCode::InvalidArgument
        | ErrorCode::TooLarge
        | ErrorCode::JoinRefused
        | ErrorCode::NotFound
        | ErrorCode::AlreadyExists
        | ErrorCode::WrongState
        | ErrorCode::Conflict
        | ErrorCode::Compacted
        | ErrorCode::Cancelled
        | ErrorCode::Internal => "",
    }
}

/// The hint for servers that could not be reached, by what was the matter with the one that was got furthest with.
pub(crate) fn of_tries<'a>(tries: impl Iterator<Item = &'a DialError>) -> String {
    let Some(furthest) = tries.max_by_key(|error| error.stage()) else { return String::new() };
    format!("{}; `goproxyctl doctor` looks step by step", of_dial(furthest))
}

/// The hint for one server that could not be reached.
pub(crate) const fn of_dial(error: &DialError) -> &'static str {
    match error {
        DialError::Tls { .. } => {
            "--ca must be the `ca.pem` of this cluster, and --server one of its control nodes"
        }
        DialError::Resolve { .. } => "check the name given by --server or GOPROXYCTL_SERVER",
        DialError::Connect { .. } | DialError::TimedOut { .. } | DialError::Http { .. } => {
            "check that goproxyd runs there and that this is its --rpc-listen"
        }
    }
}

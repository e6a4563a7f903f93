//! What an error means on every side: one table from [`ErrorCode`] to gRPC's code, HTTP's status and goproxyctl's exit code;
//! and how it travels, in the details of a gRPC status, in the form that other gRPC programs read (`google.rpc.Status`).

use std::fmt;

use prost::Message as _;
use prost_types::Any;
use tonic::{Code, Status};

use crate::error::v1::{ErrorCode, ErrorDetail};
use crate::json::Named as _;

/// The type of [`ErrorDetail`] as an [`Any`] names it.
const DETAIL_URL: &str = "type.googleapis.com/goproxy.error.v1.ErrorDetail";

/// Bytes of a status's message, of a subject and of a hint, each: headers carry them, and their room is a few KiB.
const TEXT_BYTES_MAX: usize = 1024;

/// Exit codes of goproxyctl, as `goproxyctl help exit-codes` prints them.
pub mod exit {
    /// Failed, for a reason that has no code of its own.
    pub const FAILED: u8 = 1;
    /// A precondition is not met.
    pub const PRECONDITION: u8 = 3;
    /// Authentication or permission.
    pub const DENIED: u8 = 4;
    /// No quorum, or the cluster is unhealthy.
    pub const UNHEALTHY: u8 = 5;
    /// Not reachable, or the deadline has passed.
    pub const UNREACHABLE: u8 = 6;
    /// Usage.
    pub const USAGE: u8 = 64;
    /// Interrupted.
    pub const INTERRUPTED: u8 = 130;
}

/// What an [`ErrorCode`] is called elsewhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Meaning {
    /// gRPC's code.
    pub grpc: Code,
    /// HTTP's status.
    pub http: u16,
    /// goproxyctl's exit code.
    pub exit: u8,
}

impl ErrorCode {
    /// The table.
    pub const fn meaning(self) -> Meaning {
        let (grpc, http, exit) = match self {
            Self::InvalidArgument => (Code::InvalidArgument, 400, exit::USAGE),
            Self::TooLarge => (Code::ResourceExhausted, 413, exit::FAILED),
            Self::Unauthenticated | Self::CredentialsExpired | Self::JoinRefused => {
                (Code::Unauthenticated, 401, exit::DENIED)
            }
            Self::PermissionDenied | Self::WrongCluster => (Code::PermissionDenied, 403, exit::DENIED),
            Self::NotFound => (Code::NotFound, 404, exit::FAILED),
            Self::AlreadyExists => (Code::AlreadyExists, 409, exit::PRECONDITION),
            Self::WrongEpoch
            | Self::WrongGeneration
            | Self::KeyReused
            | Self::WouldLoseData
            | Self::WouldLoseQuorum
            | Self::LearnerLags
            | Self::WrongState => (Code::FailedPrecondition, 409, exit::PRECONDITION),
            Self::Conflict => (Code::Aborted, 409, exit::PRECONDITION),
            Self::Compacted => (Code::OutOfRange, 410, exit::FAILED),
            Self::NotLeader | Self::NoQuorum | Self::Unhealthy | Self::LeftBehind => {
                (Code::Unavailable, 503, exit::UNHEALTHY)
            }
            Self::NoRoom => (Code::ResourceExhausted, 507, exit::UNHEALTHY),
            Self::Overloaded => (Code::ResourceExhausted, 429, exit::FAILED),
            Self::Unavailable => (Code::Unavailable, 503, exit::UNREACHABLE),
            Self::Deadline => (Code::DeadlineExceeded, 504, exit::UNREACHABLE),
            Self::Cancelled => (Code::Cancelled, 499, exit::INTERRUPTED),
            Self::Unimplemented => (Code::Unimplemented, 501, exit::FAILED),
            Self::DataLoss => (Code::DataLoss, 500, exit::FAILED),
            Self::Internal => (Code::Internal, 500, exit::FAILED),
            Self::Unspecified => (Code::Unknown, 500, exit::FAILED),
        };
        Meaning { grpc, http, exit }
    }

    /// The best guess where a peer gave no detail: it is no server of ours, or none was reached.
    const fn of_grpc(code: Code) -> Self {
        match code {
            Code::InvalidArgument => Self::InvalidArgument,
            Code::Unauthenticated => Self::Unauthenticated,
            Code::PermissionDenied => Self::PermissionDenied,
            Code::NotFound => Self::NotFound,
            Code::AlreadyExists => Self::AlreadyExists,
            Code::FailedPrecondition => Self::WrongState,
            Code::Aborted => Self::Conflict,
            Code::OutOfRange => Self::TooLarge,
            Code::ResourceExhausted => Self::Overloaded,
            Code::Unavailable => Self::Unavailable,
            Code::DeadlineExceeded => Self::Deadline,
            Code::Cancelled => Self::Cancelled,
            Code::Unimplemented => Self::Unimplemented,
            Code::DataLoss => Self::DataLoss,
            Code::Internal => Self::Internal,
            Code::Ok | Code::Unknown => Self::Unspecified,
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.short_name())
    }
}

/// `google.rpc.Status`, which a gRPC status's details are by convention.
#[derive(Clone, PartialEq, prost::Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// A refusal as it is made by a server and read by a client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// The reason.
    pub code: ErrorCode,
    /// What was refused and why, lower case, no full stop.
    pub message: String,
    /// What it is about, such as `node data-1`; may be empty.
    pub subject: String,
    /// What can be done about it, as a sentence; may be empty.
    pub hint: String,
}

impl Fault {
    /// A refusal without subject and hint.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), subject: String::new(), hint: String::new() }
    }

    /// Says what it is about.
    #[must_use]
    pub fn about(mut self, subject: impl Into<String>) -> Self {
        self.subject = subject.into();
        self
    }

    /// Says what can be done about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    /// Reads what a server said. A status without our detail keeps its message, and its code is translated as well as may be.
    pub fn of_status(status: &Status) -> Self {
        let code = ErrorCode::of_grpc(status.code());
        let Some(detail) = detail(status) else { return Self::new(code, status.message()) };
        // What a later release added is still told by gRPC's code.
        let known = Some(detail.code()).filter(|known| *known != ErrorCode::Unspecified).unwrap_or(code);
        Self { code: known, message: status.message().to_owned(), subject: detail.subject, hint: detail.hint }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

impl From<Fault> for Status {
    fn from(fault: Fault) -> Self {
        let meaning = fault.code.meaning();
        let message = cut(fault.message);
        let detail =
            ErrorDetail { code: fault.code.into(), subject: cut(fault.subject), hint: cut(fault.hint) };
        let rpc_status = RpcStatus {
            code: meaning.grpc.into(),
            message: message.clone(),
            details: vec![Any { type_url: DETAIL_URL.to_owned(), value: detail.encode_to_vec() }],
        };
        Self::with_details(meaning.grpc, message, rpc_status.encode_to_vec().into())
    }
}

/// Our detail among those that a status carries.
fn detail(status: &Status) -> Option<ErrorDetail> {
    let details = RpcStatus::decode(status.details()).ok()?.details;
    let any = details.into_iter().find(|any| any.type_url == DETAIL_URL)?;
    ErrorDetail::decode(any.value.as_slice()).ok()
}

fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every code there is, since a new one without a place here would go untested.
    fn codes() -> impl Iterator<Item = ErrorCode> {
        (0..).map_while(|number| ErrorCode::try_from(number).ok())
    }

    #[test]
    fn each_code_comes_back_as_itself() {
        assert_eq!(codes().count(), 31);
        for code in codes().filter(|code| *code != ErrorCode::Unspecified) {
            let fault = Fault::new(code, "layout has epoch 7").about("layout").hint("Run layout plan again.");
            let status = Status::from(fault.clone());
            assert_eq!(status.code(), code.meaning().grpc);
            assert_eq!(Fault::of_status(&status), fault);
        }
    }

    #[test]
    fn it_survives_the_headers_that_carry_it() {
        let fault = Fault::new(ErrorCode::NotLeader, "zwölf\nZeilen").hint("control-2:8083");
        let http = Status::from(fault.clone()).into_http::<()>();
        let read = Status::from_header_map(http.headers()).unwrap();
        assert_eq!(Fault::of_status(&read), fault);
    }

    #[test]
    fn scripts_can_rely_on_the_exit_codes() {
        let exits = |code: ErrorCode| code.meaning().exit;
        assert_eq!(exits(ErrorCode::WrongEpoch), 3);
        assert_eq!(exits(ErrorCode::WouldLoseData), 3);
        assert_eq!(exits(ErrorCode::LearnerLags), 3);
        assert_eq!(exits(ErrorCode::AlreadyExists), 3);
        assert_eq!(exits(ErrorCode::Unauthenticated), 4);
        assert_eq!(exits(ErrorCode::PermissionDenied), 4);
        assert_eq!(exits(ErrorCode::NoQuorum), 5);
        assert_eq!(exits(ErrorCode::Deadline), 6);
        assert_eq!(exits(ErrorCode::InvalidArgument), 64);
        // 2 means that a plan found changes and 7 a partial success: no refusal is either.
        assert!(codes().all(|code| ![0, 2, 7].contains(&exits(code))));
    }

    #[test]
    fn a_status_of_another_program_is_understood_as_far_as_it_goes() {
        let unreachable = Fault::of_status(&Status::unavailable("tcp connect error"));
        assert_eq!((unreachable.code.meaning().exit, unreachable.message.as_str()), (6, "tcp connect error"));
        for details in [&b"\xff\xff"[..], b"", b"\x1a\x02\x0a\x00"] {
            let status = Status::with_details(Code::NotFound, "gone", details.into());
            assert_eq!(Fault::of_status(&status), Fault::new(ErrorCode::NotFound, "gone"));
        }
        // A code that a later release added.
        let detail = ErrorDetail { code: 4_000, subject: "x".to_owned(), hint: String::new() };
        let any = Any { type_url: DETAIL_URL.to_owned(), value: detail.encode_to_vec() };
        let carried = RpcStatus { code: 9, message: String::new(), details: vec![any] }.encode_to_vec();
        let status = Status::with_details(Code::FailedPrecondition, "new", carried.into());
        assert_eq!(Fault::of_status(&status), Fault::new(ErrorCode::WrongState, "new").about("x"));
    }

    #[test]
    fn texts_too_long_for_a_header_are_cut_between_characters() {
        let status = Status::from(Fault::new(ErrorCode::Internal, "ä".repeat(1_000)).hint("x".repeat(9_000)));
        assert_eq!(status.message().len(), 1024);
        assert_eq!(Fault::of_status(&status).hint.len(), 1024);
    }
}

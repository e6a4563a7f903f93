//! What is said over gRPC: the only home of generated types. The `.proto` files under `goproxy/` are the truth, and what the
//! modules here are named after: `goproxy.control.v1` is [`control::v1`].
//!
//! Beside them: what an error means on every side ([`code`]), how messages stand in goproxyctl's JSON ([`json`]), and how
//! much may be said at once ([`limits`]), and which members must not be listened to any more ([`recovery`]). Who may call what, and what a call does, is not known here.

#![forbid(unsafe_code)]

pub mod code;
pub mod json;
pub mod limits;
pub mod recovery;

pub use code::{Fault, Meaning};
pub use error::v1::{ErrorCode, ErrorDetail};
pub use json::Named;

/// All files' descriptors, for reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// Modules of generated code, each `goproxy.<area>.v1`.
macro_rules! packages {
    ($($(#[$doc:meta])* $area:ident $package:literal;)*) => {$(
        $(#[$doc])*
        pub mod $area {
            /// The first version.
            #[allow(clippy::all, clippy::pedantic, missing_docs, unreachable_pub, reason = "generated")]
            pub mod v1 {
                tonic::include_proto!($package);
            }
        }
    )*};
}

packages! {
    /// The operator's side of the control plane: what goproxyctl calls.
    control "goproxy.control.v1";
    /// What data nodes say to each other.
    data "goproxy.data.v1";
    /// Why a call was refused.
    error "goproxy.error.v1";
    /// How a new process gets its credentials.
    join "goproxy.join.v1";
    /// What data nodes say to the control plane.
    node "goproxy.node.v1";
    /// What control nodes say to each other.
    raft "goproxy.raft.v1";
}

#[allow(clippy::all, clippy::pedantic, reason = "generated")]
mod extras {
    include!(concat!(env!("OUT_DIR"), "/extras.rs"));
}

//! What both planes need and neither owns. Every file is a noun; a thing moves here when a second crate needs it.

#![forbid(unsafe_code)]

pub mod build_info;
pub mod byte_size;
pub mod clock;
pub mod durable_file;
pub mod duration_text;
pub mod error_chain;
pub mod redacted;
pub mod shutdown;
pub mod slow_disk;
#[cfg(feature = "telemetry")]
pub mod telemetry;
pub mod tls;
pub mod wal;

//! What the benchmarks work on: module versions made in code, a store that holds them, a server without sockets.

#![forbid(unsafe_code)]
#![expect(clippy::expect_used, reason = "a benchmark that cannot be set up has nothing to measure")]
#![expect(clippy::missing_panics_doc, reason = "the same")]

mod bed;
mod sample;

pub use bed::{Bed, Server, commit, get};
pub use sample::{Sample, noise, version};

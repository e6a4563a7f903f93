//! What an operator's tools see of a running server: metrics as documented, traces and metrics by OTLP.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "what a helper cannot do fails the test"
)]

mod bed;
mod documents;
mod otlp;
mod receiver;

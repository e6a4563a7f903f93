//! What placement promises, for clusters of every shape: balance, spread, movement, stability.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_sign_loss,
    reason = "a test that cannot go on fails; shares are no less than 0"
)]

mod optimum;
mod properties;
mod support;
mod table;

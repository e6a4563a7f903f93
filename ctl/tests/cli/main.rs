//! The real program against fake control nodes: over TLS, with a token that is checked, everything that it prints and asks.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that meets what it did not expect fails"
)]

mod bed;
mod changes;
mod completion;
mod data;
mod data_modules;
mod destructive;
mod doctor;
mod errors;
mod fake;
mod looks;
mod profiles;
mod reach;
mod recover;
mod secrets;
mod terminal;
mod upkeep;
mod watch;

//! `cert`: the cluster's authority and the certificates that it gave out.

use std::time::Duration;

use clap::{Args, Subcommand};
use common::duration_text::parse_duration;

use super::shared::{Confirmation, Mutation, Waiting};

#[derive(Subcommand, Debug)]
pub(crate) enum Verb {
    /// Which authorities and certificates there are, and when they end
    #[command(after_help = "Example:\n  goproxyctl cert status")]
    Status,
    /// Put a new authority beside the old one, have everybody renew, then drop the old one
    #[command(after_help = "Example:\n  goproxyctl cert rotate --wait")]
    Rotate(Rotate),
}

#[derive(Args, Debug)]
pub(crate) struct Rotate {
    /// How long both are trusted, at least [default: the lifetime of a node's certificate]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) overlap: Option<Duration>,
    #[command(flatten)]
    pub(crate) waiting: Waiting,
    #[command(flatten)]
    pub(crate) confirmation: Confirmation,
    #[command(flatten)]
    pub(crate) mutation: Mutation,
}

//! `cert`: the cluster's authority and the certificates that it gave out.

use clap::{Args, Subcommand};

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
    #[command(flatten)]
    pub(crate) waiting: Waiting,
    #[command(flatten)]
    pub(crate) confirmation: Confirmation,
    #[command(flatten)]
    pub(crate) mutation: Mutation,
}

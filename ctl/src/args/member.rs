//! `member`: the control nodes.

use clap::{Args, Subcommand};
use clap_complete::ArgValueCandidates;

use super::shared::{Confirmation, Lifetime, Mutation};
use crate::complete;

#[derive(Subcommand, Debug)]
pub(crate) enum Verb {
    /// Stage a control node and print the command that it joins with
    #[command(after_help = "Example:\n  goproxyctl member add control-2")]
    Add(Add),
    /// The control nodes
    #[command(after_help = "Example:\n  goproxyctl member list -o json")]
    List,
    /// Make a learner that has caught up a voter
    ///
    /// Learners are promoted by themselves; this is for those that were not.
    #[command(after_help = "Example:\n  goproxyctl member promote control-2")]
    Promote {
        /// The learner
        #[arg(add = ArgValueCandidates::new(complete::members))]
        name: String,
        #[command(flatten)]
        mutation: Mutation,
    },
    /// Take a control node out for good
    #[command(after_help = "Example:\n  goproxyctl member remove control-3 --reason 'disk lost'")]
    Remove(Remove),
}

#[derive(Args, Debug)]
pub(crate) struct Add {
    /// The new control node's name
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) lifetime: Lifetime,
    #[command(flatten)]
    pub(crate) mutation: Mutation,
}

#[derive(Args, Debug)]
pub(crate) struct Remove {
    /// The control node
    #[arg(add = ArgValueCandidates::new(complete::members))]
    pub(crate) name: String,
    /// Do it though the voters that remain would not all be healthy
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) confirmation: Confirmation,
    #[command(flatten)]
    pub(crate) mutation: Mutation,
}

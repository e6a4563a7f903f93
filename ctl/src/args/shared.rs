//! Flags that several verbs take.

use std::time::Duration;

use clap::Args;
use common::duration_text::parse_duration;

/// What every change takes.
#[derive(Args, Debug, Default, Clone)]
#[command(next_help_heading = "Change")]
pub(crate) struct Mutation {
    /// Have the server evaluate it and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Why, for the audit trail
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Name of this attempt: with the key of an attempt whose end is not known, nothing is done twice
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
}

/// What every destructive verb takes.
#[derive(Args, Debug, Default, Clone)]
#[command(next_help_heading = "Change")]
pub(crate) struct Confirmation {
    /// Do not ask; needed where there is no terminal
    #[arg(short, long)]
    pub(crate) yes: bool,
}

/// What a verb takes that starts a job.
#[derive(Args, Debug, Default, Clone)]
#[command(next_help_heading = "Waiting")]
pub(crate) struct Waiting {
    /// Wait until it is done, with a progress bar on a terminal; the answer is the job then
    #[arg(long)]
    pub(crate) wait: bool,
    /// Show the job whenever it has got on, until it is done
    #[arg(long, conflicts_with = "wait")]
    pub(crate) watch: bool,
}

/// What a verb takes that gives out a join token.
#[derive(Args, Debug, Default, Clone)]
pub(crate) struct Lifetime {
    /// How long the join token is good [default: the server's]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) token_lifetime: Option<Duration>,
}

/// What a verb takes that lists the newest of something.
#[derive(Args, Debug, Default, Clone)]
pub(crate) struct Newest {
    /// Show at most so many; 0 for all
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub(crate) limit: usize,
}

/// What a verb takes that changes a node.
#[derive(Args, Debug, Default, Clone)]
pub(crate) struct Generation {
    /// Refuse unless the node has this generation
    #[arg(long, value_name = "N")]
    pub(crate) expect_generation: Option<u64>,
}

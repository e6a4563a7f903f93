//! `cluster`: the whole, its leader, its trail of changes, its jobs.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueHint};
use clap_complete::ArgValueCandidates;
use common::duration_text::parse_duration;
use proto::Named as _;
use proto::control::v1::JobState;

use super::shared::{Confirmation, Mutation, Newest};
use crate::complete;

#[derive(Subcommand, Debug)]
pub(crate) enum Verb {
    /// How the cluster is, on one screen
    #[command(
        after_help = "Examples:\n  goproxyctl cluster status\n  goproxyctl cluster status -o json | jq -r .leader"
    )]
    Status {
        /// Show it again whenever it has changed
        #[arg(long)]
        watch: bool,
        /// The shortest time between two pictures, with --watch
        #[arg(long, value_name = "DURATION", value_parser = parse_duration, requires = "watch")]
        interval: Option<Duration>,
    },
    /// Whether the cluster can decide and serve; needs no token
    ///
    /// Ends with exit code 0 if it is healthy, with 5 if not.
    #[command(after_help = "Example:\n  goproxyctl cluster health && echo well")]
    Health,
    /// Hand leadership to another member
    #[command(
        after_help = "Example:\n  goproxyctl cluster transfer-leader control-2 --reason 'kernel update'"
    )]
    TransferLeader {
        /// The member that is to lead [default: the one that has caught up furthest]
        #[arg(add = ArgValueCandidates::new(complete::members))]
        name: Option<String>,
        #[command(flatten)]
        mutation: Mutation,
    },
    /// Go on from the member in a directory of this machine, after the majority of members is lost for good
    ///
    /// The member has to be stopped. What it would come to is shown first: how far its log goes and which members go. The cluster
    /// keeps its id, authorities, tokens, policies, nodes and layout; what was agreed on without this member is lost, and the
    /// members that go never come back. No server is asked: `goproxyd recover` on this machine does it.
    /// docs/operations/losing-machines.md has the whole procedure.
    #[command(
        after_help = "Example:\n  goproxyctl cluster recover --data-dir /var/lib/goproxyd --reason 'two machines burnt'"
    )]
    Recover(Recover),
    /// Who changed what, when and why, newest first
    #[command(
        after_help = "Example:\n  goproxyctl cluster audit --subject data-1 --since 2026-01-31T00:00:00Z"
    )]
    Audit(Audit),
    /// Work that takes longer than a call
    #[command(subcommand, arg_required_else_help = true)]
    Jobs(Jobs),
}

#[derive(Args, Debug)]
pub(crate) struct Recover {
    /// The member's data directory [default: goproxyd's]
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    pub(crate) data_dir: Option<PathBuf>,
    /// The goproxyd to have it done by [default: the one beside this program, else the one that PATH finds]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::ExecutablePath)]
    pub(crate) goproxyd: Option<PathBuf>,
    /// Say what it would come to and change nothing
    #[arg(long, help_heading = "Change")]
    pub(crate) dry_run: bool,
    /// Why, for the audit trail
    #[arg(long, value_name = "TEXT", help_heading = "Change")]
    pub(crate) reason: Option<String>,
    #[command(flatten)]
    pub(crate) confirmation: Confirmation,
}

#[derive(Args, Debug)]
pub(crate) struct Audit {
    /// Only changes of this, such as `data-1`
    #[arg(long)]
    pub(crate) subject: Option<String>,
    /// Only changes by this caller, such as `token ci`
    #[arg(long)]
    pub(crate) caller: Option<String>,
    /// Only changes from this time on, RFC 3339
    #[arg(long, value_name = "TIME", value_parser = crate::time::parse)]
    pub(crate) since: Option<prost_types::Timestamp>,
    #[command(flatten)]
    pub(crate) newest: Newest,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Jobs {
    /// The jobs, newest first
    #[command(after_help = "Example:\n  goproxyctl cluster jobs list --state running")]
    List {
        /// Only jobs in these states
        #[arg(long = "state", value_name = "STATE", value_delimiter = ',', value_parser = job_state)]
        states: Vec<JobState>,
        #[command(flatten)]
        newest: Newest,
    },
    /// One job
    #[command(after_help = "Example:\n  goproxyctl cluster jobs show 01HV2 --watch")]
    Show {
        /// The job's id
        #[arg(add = ArgValueCandidates::new(complete::jobs))]
        id: String,
        /// Show it again whenever it has got on, until it is done
        #[arg(long)]
        watch: bool,
    },
    /// Ask a job to end early
    #[command(after_help = "Example:\n  goproxyctl cluster jobs cancel 01HV2 --reason 'wrong node'")]
    Cancel {
        /// The job's id
        #[arg(add = ArgValueCandidates::new(complete::jobs))]
        id: String,
        #[command(flatten)]
        mutation: Mutation,
    },
}

fn job_state(text: &str) -> Result<JobState, String> {
    JobState::from_short_name(text)
        .filter(|state| *state != JobState::Unspecified)
        .ok_or_else(|| "use queued, running, paused, succeeded, failed or cancelled".to_owned())
}

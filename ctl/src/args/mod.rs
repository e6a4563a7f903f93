//! The command line: which nouns and verbs there are, and what they take. What they do is in [`crate::commands`].
//!
//! Invariant: no flag takes a secret; those come by file or environment.

pub(crate) mod cert;
pub(crate) mod cluster;
pub(crate) mod failover;
pub(crate) mod global;
pub(crate) mod layout;
pub(crate) mod member;
pub(crate) mod node;
pub(crate) mod policy;
pub(crate) mod shared;
pub(crate) mod token;

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueHint};
use clap_complete::aot::Shell;

use crate::build::VERSION_TEXT;
use global::Global;

/// Columns of help and tables at most.
pub(crate) const COLUMNS: usize = 100;

const AFTER_HELP: &str = "\
Without --server, --ca and a token it uses 127.0.0.1:8083 with `ca.pem` and `admin.token` in goproxyd's default
data directory, so on the machine of a control node nothing has to be set; `goproxyctl env` shows what is in force

Examples:
  goproxyctl cluster status
  goproxyctl node add data-1 --zone a
  goproxyctl layout plan
  goproxyctl help exit-codes";

/// Runs a goproxyd cluster: its control nodes, data nodes, layout, policy, tokens and certificates
#[derive(Parser, Debug)]
#[command(
    name = "goproxyctl",
    bin_name = "goproxyctl",
    version = VERSION_TEXT,
    after_help = AFTER_HELP,
    max_term_width = COLUMNS,
    disable_help_subcommand = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) noun: Noun,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Noun {
    /// The cluster as a whole
    #[command(subcommand, arg_required_else_help = true)]
    Cluster(cluster::Verb),
    /// The control nodes: who votes, who learns
    #[command(subcommand, arg_required_else_help = true)]
    Member(member::Verb),
    /// The data nodes: which there are, and what becomes of them
    #[command(subcommand, arg_required_else_help = true)]
    Node(node::Verb),
    /// Which nodes hold what
    #[command(subcommand, arg_required_else_help = true)]
    Layout(layout::Verb),
    /// Hand over from what is sick, without waiting for it to be found out
    #[command(subcommand, arg_required_else_help = true)]
    Failover(failover::Verb),
    /// Who may do what with which modules
    #[command(subcommand, arg_required_else_help = true)]
    Policy(policy::Verb),
    /// Tokens of operators and programs
    #[command(subcommand, arg_required_else_help = true)]
    Token(token::Verb),
    /// The cluster's authority and the certificates that it gave out
    #[command(subcommand, arg_required_else_help = true)]
    Cert(cert::Verb),
    /// Show the settings in force and where each comes from
    #[command(after_help = "Example:\n  GOPROXYCTL_SERVER=control-2:8083 goproxyctl env")]
    Env,
    /// Check everything between this machine and the cluster, and say what to do
    #[command(after_help = "Example:\n  goproxyctl doctor --server control-1:8083,control-2:8083")]
    Doctor,
    /// Print what a shell needs to complete commands and names
    #[command(after_help = "Example:\n  source <(goproxyctl completion bash)")]
    Completion {
        /// The shell
        shell: Shell,
    },
    /// Print this program's version
    #[command(after_help = "Example:\n  goproxyctl version -o json")]
    Version,
    /// Print help on a command, or the table of exit codes
    #[command(after_help = "Examples:\n  goproxyctl help node add\n  goproxyctl help exit-codes")]
    Help {
        /// `exit-codes`, or a command such as `node add`
        topic: Vec<String>,
    },
    /// Write manual pages
    #[command(hide = true, after_help = "Example:\n  goproxyctl man /usr/local/share/man/man1")]
    Man {
        /// The folder to write to
        #[arg(value_hint = ValueHint::DirPath)]
        folder: PathBuf,
    },
}

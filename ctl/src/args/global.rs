//! Flags that every command takes: which server, as whom, and in which form to answer.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum, ValueHint};
use common::duration_text::parse_duration;

use crate::server::Server;

/// As given on the command line; [`crate::settings`] merges it with environment, profile and defaults.
#[expect(clippy::doc_markdown, reason = "shown on a terminal, where back-ticks stand for commands and paths")]
#[derive(Args, Debug, Default, Clone)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Control nodes to ask; the next one is tried when one cannot be reached
    /// [env: GOPROXYCTL_SERVER] [default: 127.0.0.1:8083]
    #[arg(long, global = true, value_name = "HOST:PORT[,…]", value_delimiter = ',')]
    pub(crate) server: Vec<Server>,
    /// PEM file with the cluster's authority, as `ca.pem` in a control node's data directory
    /// [env: GOPROXYCTL_CA]
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) ca: Option<PathBuf>,
    /// File with the operator's token; the token itself can be given in GOPROXYCTL_TOKEN
    /// [env: GOPROXYCTL_TOKEN_FILE]
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) token_file: Option<PathBuf>,
    /// Form of the answer [env: GOPROXYCTL_OUTPUT] [default: table]
    #[arg(short, long, global = true, value_name = "FORM", hide_possible_values = false)]
    pub(crate) output: Option<Format>,
    /// Time for a call with its retries [env: GOPROXYCTL_TIMEOUT] [default: 10s]
    #[arg(long, global = true, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) timeout: Option<Duration>,
    /// Settings under this name in goproxyctl/config.toml [env: GOPROXYCTL_PROFILE]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// Say on standard error which server is asked what
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
}

/// The form of an answer.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Format {
    /// For people
    #[default]
    Table,
    /// For programs; stable
    Json,
    /// The same in YAML
    Yaml,
}

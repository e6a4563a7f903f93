//! `token`: tokens of operators and programs.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum, ValueHint};
use clap_complete::ArgValueCandidates;
use common::duration_text::parse_duration;
use proto::control::v1::OperatorRole;

use super::shared::{Confirmation, Mutation};
use crate::complete;

#[derive(Subcommand, Debug)]
pub(crate) enum Verb {
    /// Make a token; its text is shown this once
    #[command(
        after_help = "Example:\n  goproxyctl token create ci --role viewer --lifetime 90d --out ci.token"
    )]
    Create(Create),
    /// The tokens, without their secrets, which nobody keeps
    #[command(after_help = "Example:\n  goproxyctl token list --all")]
    List {
        /// Also those that ended or were revoked
        #[arg(long)]
        all: bool,
    },
    /// Give a token a new secret
    #[command(after_help = "Example:\n  goproxyctl token rotate ci --grace 1h --out ci.token")]
    Rotate(Rotate),
    /// End a token at once
    #[command(after_help = "Example:\n  goproxyctl token revoke ci --reason 'leaked'")]
    Revoke {
        /// The token's name or id
        #[arg(add = ArgValueCandidates::new(complete::tokens))]
        token: String,
        #[command(flatten)]
        confirmation: Confirmation,
        #[command(flatten)]
        mutation: Mutation,
    },
    /// Who the caller is
    #[command(after_help = "Example:\n  GOPROXYCTL_TOKEN_FILE=ci.token goproxyctl token whoami")]
    Whoami,
}

#[derive(Args, Debug)]
pub(crate) struct Create {
    /// What the token is called
    pub(crate) name: String,
    /// What its holder may do with the cluster
    #[arg(long, value_enum, default_value_t)]
    pub(crate) role: Role,
    /// A group whose rules apply to its holder; may be given again
    #[arg(long = "group", value_name = "GROUP")]
    pub(crate) groups: Vec<String>,
    /// How long it is good [default: until it is revoked]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) lifetime: Option<Duration>,
    /// Write the text to this new file, which only its owner may read, and not to standard output
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) mutation: Mutation,
}

#[derive(Args, Debug)]
pub(crate) struct Rotate {
    /// The token's name or id
    #[arg(add = ArgValueCandidates::new(complete::tokens))]
    pub(crate) token: String,
    /// How long the old text stays good [default: not at all]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) grace: Option<Duration>,
    /// Write the text to this file, which only its owner may read, and not to standard output
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) mutation: Mutation,
}

/// What a token's holder may do with the cluster.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Role {
    /// Nothing: the token is for modules alone
    #[default]
    None,
    /// Look
    Viewer,
    /// Look, and change layout and nodes
    Operator,
    /// Everything, tokens and policy included
    Admin,
}

impl From<Role> for OperatorRole {
    fn from(role: Role) -> Self {
        match role {
            Role::None => Self::Unspecified,
            Role::Viewer => Self::Viewer,
            Role::Operator => Self::Operator,
            Role::Admin => Self::Admin,
        }
    }
}

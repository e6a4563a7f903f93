//! The command line: which nouns and verbs there are, and what they take. What they do is in [`crate::commands`].
//!
//! Invariant: no flag takes a secret; those come by file or environment.

pub(crate) mod cache;
pub(crate) mod cert;
pub(crate) mod cluster;
pub(crate) mod failover;
pub(crate) mod global;
pub(crate) mod layout;
pub(crate) mod lb;
pub(crate) mod member;
pub(crate) mod module;
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
Without --server, --ca and a token it uses 127.0.0.1:8083 with `ca.pem` and `admin.token` in
goproxyd's data directory (GOPROXYD_DATA_DIR, else its default): of a server with default settings
nothing has to be set (`goproxyctl env` shows what is in force)

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
    /// What the data nodes hold of modules, and what is to become of it
    #[command(subcommand, arg_required_else_help = true)]
    Module(module::Verb),
    /// What the data nodes store, and looking after it
    #[command(subcommand, arg_required_else_help = true)]
    Cache(cache::Verb),
    /// Tokens of operators and programs
    #[command(subcommand, arg_required_else_help = true)]
    Token(token::Verb),
    /// The cluster's authority and the certificates that it gave out
    #[command(subcommand, arg_required_else_help = true)]
    Cert(cert::Verb),
    /// Load balancers in front of the data nodes
    #[command(subcommand, arg_required_else_help = true)]
    Lb(lb::Verb),
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

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use clap::{Command, CommandFactory as _};
    use unicode_width::UnicodeWidthStr as _;

    use super::*;

    /// The command and all below it, with the words that lead there.
    fn all(command: &mut Command, path: &str, each: &mut dyn FnMut(&str, &mut Command)) {
        each(path, command);
        let names: Vec<_> = command.get_subcommands().map(|verb| verb.get_name().to_owned()).collect();
        for name in names {
            let path = format!("{path} {name}");
            all(command.find_subcommand_mut(&name).unwrap(), &path, each);
        }
    }

    fn cli() -> Command {
        let mut command = Cli::command();
        command.build();
        command
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_has_help_with_an_example_that_fits() {
        let mut noun = String::new();
        let mut text = String::new();
        let mut texts = Vec::new();
        all(&mut cli(), "goproxyctl", &mut |path, command| {
            // The version has the commit in it, and clap's own width follows the terminal.
            let help = command.clone().term_width(COLUMNS).render_long_help().to_string();
            let leaf = !command.has_subcommands();
            assert!(!leaf || help.contains("Example"), "{path} has no example");
            for line in help.lines() {
                assert!(line.width() <= COLUMNS, "{path}: {} columns: {line}", line.width());
            }
            let first = path.split(' ').nth(1).unwrap_or("goproxyctl").to_owned();
            if first != noun {
                texts.push((std::mem::replace(&mut noun, first), std::mem::take(&mut text)));
            }
            // They are the same everywhere; the program's own help has them.
            let own = help.split("Global options:").next().unwrap_or_default();
            let example = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let shown = if path == "goproxyctl" { help } else { format!("{}\n\n{example}", own.trim_end()) };
            writeln!(text, "=== {path}\n{}\n", shown.trim_end()).unwrap();
        });
        texts.push((noun, text));
        for (noun, text) in texts.into_iter().filter(|(noun, _)| !noun.is_empty()) {
            insta::assert_snapshot!(format!("help_{noun}"), text);
        }
    }

    #[test]
    fn no_flag_takes_a_secret() {
        all(&mut cli(), "goproxyctl", &mut |path, command| {
            for argument in command.get_arguments() {
                let name = argument.get_long().unwrap_or_default();
                let secret = ["token", "secret", "password", "key"].contains(&name);
                assert!(!secret, "{path} --{name}");
            }
        });
    }
}

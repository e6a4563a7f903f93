//! The command line: roles, the `config` and the `sumdb` commands. What the settings are stands in [`crate::settings`].

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, ValueHint, value_parser};
use cluster::Note;

use crate::build::VERSION_TEXT;
use crate::config::{self, Loaded, Problems, Surroundings};
use crate::recover::Recover;
use crate::settings::Settings;

const ABOUT: &str = "A Go module proxy: serves the GOPROXY protocol from a verified local store";

const AFTER_HELP: &str = "\
Each setting can also be given in the environment (--cache-size as GOPROXYD_CACHE_SIZE) and in a TOML file
(cache-size = \"50GiB\"); a flag wins over the environment, and that over the file. Sizes take KiB, MiB, GiB, TiB;
durations ms, s, m, h, d. `goproxyd config example` prints a file with every setting.

Example:
  goproxyd --listen 127.0.0.1:8081 --cache-size 20GiB
  GOPROXY=http://127.0.0.1:8081 go build ./...";

const FORK_ABOUT: &str = "Print the two tree heads that contradict each other, of a server that is stopped";

const FORK_AFTER_HELP: &str = "\
While a fork is known, the server verifies nothing new. Compare both tree heads with what others see of the
checksum database. If the server's own is the true one, --clear ends the alarm; it is raised again if the other
one comes again. If its own is the false one, what was verified under it is not to be trusted: start with an
empty data directory.

Example:
  systemctl stop goproxyd
  goproxyd sumdb fork --data-dir /var/lib/goproxyd
  goproxyd sumdb fork --data-dir /var/lib/goproxyd --clear";

const RECOVER_ABOUT: &str =
    "Go on from one control node that is stopped, after the majority of them is lost for good";

const RECOVER_AFTER_HELP: &str = "\
Without --yes it says how far this member's log goes, which members would go, and changes nothing. With --yes the
cluster goes on from this member alone: its id, authorities, tokens, policies, nodes and layout stay, what was
agreed on without this member is lost. Never do it while a majority may still come back.
docs/operations/losing-machines.md has the whole procedure; `goproxyctl cluster recover` does the same and asks.

With --accept-log-loss it is about the modules that this directory holds, when the server does not start because the
log of their store is damaged. Without --yes it says where, and changes nothing.

Example:
  goproxyd recover --data-dir /var/lib/goproxyd
  goproxyd recover --data-dir /var/lib/goproxyd --yes --reason 'two machines burnt'
  goproxyd recover --data-dir /var/lib/goproxyd --accept-log-loss --yes";

const CONTROL_AFTER_HELP: &str = "\
The first control node makes the cluster and writes ca.pem and admin.token into its data directory; goproxyctl
works with these two files. The others join with what `goproxyctl member add NAME` prints.

Example:
  goproxyd control --bootstrap --name control-1 --rpc-listen 10.0.0.1:8083
  goproxyctl --ca ca.pem --token-file admin.token member add control-2";

const DATA_AFTER_HELP: &str = "\
`goproxyctl node add NAME` prints the token and the whole command. Once the node has joined, the same command
without --join-token just goes on. A node whose control nodes are on other machines does not start at addresses
that only its own machine reaches, which is what --listen and --rpc-listen are by default.

Example:
  goproxyd data --name data-1 --join 10.0.0.1:8083 --join-token TOKEN --listen 10.0.0.11:8081 --rpc-listen 10.0.0.11:8083";

/// What the process is in a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Both planes; it makes a cluster of its own.
    Standalone,
    /// The data plane.
    Data,
    /// The control plane.
    Control {
        /// Whether it makes the cluster if it is in none.
        bootstrap: bool,
    },
}

/// What the command line asks for.
pub(crate) enum Action {
    /// Run the server.
    Serve { role: Role, loaded: Box<Loaded> },
    /// Show the fork alarm of a server that is stopped, and perhaps end it.
    Fork { loaded: Box<Loaded>, clear: bool },
    /// Go on from a control node that is stopped, or say what that would come to.
    Recover { loaded: Box<Loaded>, asked: Recover },
    /// Print to standard output and end well.
    Print(String),
    /// Print to standard error and end with the exit code for usage and settings.
    Refuse(String),
}

/// Reads the command line, and with it environment and file.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>, around: &Surroundings) -> Action {
    let matches = match command().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) if error.use_stderr() => return Action::Refuse(error.render().to_string()),
        Err(help) => return Action::Print(help.render().to_string()),
    };
    let action = match matches.subcommand() {
        Some(("config", matches)) => config_action(matches, around),
        Some(("sumdb", matches)) => fork_action(matches, around),
        Some(("recover", matches)) => recover_action(matches, around),
        Some(("data", matches)) => serve(Role::Data, matches, around),
        Some(("control", matches)) => {
            serve(Role::Control { bootstrap: matches.get_flag("bootstrap") }, matches, around)
        }
        Some((_standalone, matches)) => serve(Role::Standalone, matches, around),
        None => serve(Role::Standalone, &matches, around),
    };
    action.unwrap_or_else(|problems| Action::Refuse(problems.to_string()))
}

pub(crate) fn command() -> Command {
    let standalone = "Run control plane and data plane in this one process (the same as no command)";
    let show = "Print the settings in force and where each comes from";
    with_settings(Command::new("goproxyd"))
        .about(ABOUT)
        .version(VERSION_TEXT)
        .after_help(AFTER_HELP)
        .max_term_width(110)
        .args_conflicts_with_subcommands(true)
        // For all of them: whoever is given a command, as by `node add`, may append what he wants otherwise.
        .args_override_self(true)
        .subcommand(with_settings(Command::new("standalone")).about(standalone))
        .subcommand(
            with_settings(Command::new("data"))
                .about("Run a data node: it serves modules and follows a cluster's control plane")
                .after_help(DATA_AFTER_HELP),
        )
        .subcommand(
            with_settings(Command::new("control"))
                .about("Run a control node: one of those that agree on who is in the cluster and what is where")
                .after_help(CONTROL_AFTER_HELP)
                .arg(
                    Arg::new("bootstrap")
                        .long("bootstrap")
                        .help("Make a new cluster of which this is the first control node; no harm once it is made")
                        .action(ArgAction::SetTrue),
                ),
        )
        .subcommand(recover_command())
        .subcommand(
            Command::new("config")
                .about("Print or check settings")
                .subcommand_required(true)
                .arg_required_else_help(true)
                .subcommand(
                    Command::new("example").about("Print a TOML file with every setting and its default"),
                )
                .subcommand(
                    Command::new("check").about("Say what is wrong with a TOML file, by line and key").arg(
                        Arg::new("file")
                            .value_name("FILE")
                            .help("The file to check")
                            .required(true)
                            .value_parser(value_parser!(PathBuf))
                            .value_hint(ValueHint::FilePath),
                    ),
                )
                .subcommand(with_settings(Command::new("show")).about(show)),
        )
        .subcommand(
            Command::new("sumdb")
                .about("Look into the checksum database's alarm")
                .subcommand_required(true)
                .arg_required_else_help(true)
                .subcommand(
                    with_settings(Command::new("fork")).about(FORK_ABOUT).after_help(FORK_AFTER_HELP).arg(
                        Arg::new("clear")
                            .long("clear")
                            .help("End the alarm: the server goes on from its own tree head")
                            .action(ArgAction::SetTrue),
                    ),
                ),
        )
}

fn recover_command() -> Command {
    with_settings(Command::new("recover"))
        .about(RECOVER_ABOUT)
        .after_help(RECOVER_AFTER_HELP)
        .arg(Arg::new("yes").long("yes").help("Do it").action(ArgAction::SetTrue))
        .arg(
            Arg::new("reason")
                .long("reason")
                .value_name("TEXT")
                .help("Why, for the audit trail")
                .value_parser(Note::parse),
        )
        .arg(Arg::new("json").long("json").help("Answer as one JSON object").action(ArgAction::SetTrue))
        .arg(
            Arg::new("accept-log-loss")
                .long("accept-log-loss")
                .help("Go on without what the damaged log of the store holds after the damage, and do nothing else")
                .action(ArgAction::SetTrue)
                .conflicts_with_all(["json", "reason"]),
        )
}

/// Adds every setting as a flag, with the name that it has in the environment.
fn with_settings(command: Command) -> Command {
    Settings::augment_args(command).mut_args(|argument| match (argument.get_long(), argument.get_help()) {
        (Some(name), Some(help)) => {
            let help = format!("{help} [env: {}]", config::variable(name));
            argument.help(help)
        }
        _ => argument,
    })
}

fn serve(role: Role, matches: &ArgMatches, around: &Surroundings) -> Result<Action, Problems> {
    let serves_modules = match role {
        Role::Standalone | Role::Data => true,
        Role::Control { .. } => false,
    };
    Ok(Action::Serve { role, loaded: Box::new(config::load(matches, around, serves_modules)?) })
}

fn fork_action(matches: &ArgMatches, around: &Surroundings) -> Result<Action, Problems> {
    let Some(("fork", matches)) = matches.subcommand() else { return Ok(Action::Refuse(String::new())) };
    let loaded = Box::new(config::load(matches, around, true)?);
    Ok(Action::Fork { loaded, clear: matches.get_flag("clear") })
}

fn recover_action(matches: &ArgMatches, around: &Surroundings) -> Result<Action, Problems> {
    let asked = Recover {
        yes: matches.get_flag("yes"),
        json: matches.get_flag("json"),
        reason: matches.get_one::<Note>("reason").cloned(),
        accept_log_loss: matches.get_flag("accept-log-loss"),
    };
    Ok(Action::Recover { loaded: Box::new(config::load(matches, around, false)?), asked })
}

fn config_action(matches: &ArgMatches, around: &Surroundings) -> Result<Action, Problems> {
    let text = match matches.subcommand() {
        Some(("check", matches)) => {
            let file = matches.get_one::<PathBuf>("file").cloned().unwrap_or_default();
            config::check(&file, around)?;
            format!("{}: ok\n", file.display())
        }
        Some(("show", matches)) => config::show(&config::load(matches, around, true)?),
        _ => config::example(around),
    };
    Ok(Action::Print(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused_or_printed(arguments: &[&str]) -> String {
        let arguments = ["goproxyd"].iter().chain(arguments).map(OsString::from);
        match parse(arguments, &Surroundings::of_tests()) {
            Action::Serve { .. } | Action::Fork { .. } | Action::Recover { .. } => {
                panic!("must not touch anything")
            }
            Action::Print(text) => format!("(stdout)\n{text}"),
            Action::Refuse(text) => format!("(stderr)\n{text}"),
        }
    }

    #[test]
    fn the_command_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn help_shows_every_setting() {
        let mut text = Vec::new();
        command().term_width(110).write_help(&mut text).unwrap();
        insta::assert_snapshot!(String::from_utf8(text).unwrap());
    }

    #[test]
    fn wrong_command_lines_are_explained() {
        let all = [
            &["--cache-sze=1GiB"][..],
            &["--cache-size=50GB"],
            &["--eviction=fifo"],
            &["--private=a b"],
            &["--listen=example.com:80"],
            &["--offline=perhaps"],
            &["--tls-cert=cert.pem"],
            &["--join=127.0.0.1:8083", "--memory=1KiB", "--admin-listen=127.0.0.1:8081"],
            &["data", "--join-token=x"],
            &["control", "--join=a:b"],
            &["data", "--zone=Rack 1", "--datacenter=eu"],
            &["data", "--name=build_01", "--rpc-listen=127.0.0.1:1,127.0.0.1:2", "--admin-listen=:8081"],
            &["control", "--rpc-listen=:8081", "--admin-listen=127.0.0.1:8081"],
            &["--handoff-rate=0"],
            &["--retain-accessed=1h"],
            &["--retain-accessed=999999999d"],
            &["config"],
            &["config", "check"],
            &["sumdb"],
            &["sumdb", "fork", "--clear=yes"],
            &["recover", "--reason="],
            &["--listen=:1", "standalone"],
        ]
        .map(|arguments| format!("$ goproxyd {}\n{}", arguments.join(" "), refused_or_printed(arguments)));
        insta::assert_snapshot!(all.join("\n"));
    }

    #[test]
    fn both_spellings_of_the_default_role_take_every_setting() {
        for arguments in [["goproxyd", "--zone=a"].as_slice(), &["goproxyd", "standalone", "--zone=a"]] {
            match parse(arguments.iter().map(OsString::from), &Surroundings::of_tests()) {
                Action::Serve { role, loaded } => {
                    assert_eq!((role, loaded.settings.zone.as_str()), (Role::Standalone, "a"));
                }
                Action::Fork { .. } | Action::Recover { .. } => panic!("another command"),
                Action::Print(text) | Action::Refuse(text) => panic!("{text}"),
            }
        }
    }

    #[test]
    fn of_a_flag_that_is_given_twice_the_last_one_counts() {
        let twice = ["--listen=0.0.0.0:1", "--offline", "--listen", "127.0.0.1:2", "--offline=false"];
        for command in [&["standalone"][..], &["data"], &["control", "--bootstrap", "--bootstrap"], &[]] {
            let arguments = ["goproxyd"].iter().chain(command).chain(&twice).map(OsString::from);
            match parse(arguments, &Surroundings::of_tests()) {
                Action::Serve { loaded, .. } => {
                    assert_eq!(format!("{:?}", loaded.settings.listen), "[127.0.0.1:2]", "{command:?}");
                    assert!(!loaded.settings.offline, "{command:?}");
                }
                Action::Fork { .. } | Action::Recover { .. } => panic!("another command"),
                Action::Print(text) | Action::Refuse(text) => panic!("{text}"),
            }
        }
    }

    #[test]
    fn version_names_what_the_program_is_made_of() {
        let text = refused_or_printed(&["--version"]);
        for part in ["(stdout)\ngoproxyd ", "\ncommit  ", "\nRocksDB 1", "\nrustc 1."] {
            assert!(text.contains(part), "{text}");
        }
    }
}

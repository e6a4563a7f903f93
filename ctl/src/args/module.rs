//! `module`: what all data nodes together hold of modules, and what is to become of it.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

use super::shared::{Confirmation, Mutation, Newest};

#[derive(Subcommand, Debug)]
pub(crate) enum Verb {
    /// The versions that any node holds
    #[command(
        after_help = "Examples:\n  goproxyctl module list\n  goproxyctl module list 'github.com/spf13/*' --limit 0 -o json"
    )]
    List {
        /// Only modules that match, in GOPRIVATE's glob syntax
        #[arg(default_value = "", hide_default_value = true)]
        pattern: String,
        #[command(flatten)]
        newest: Newest,
    },
    /// A module: where it belongs, its versions, who holds what of them, and what is said of it
    #[command(after_help = "Example:\n  goproxyctl module show github.com/spf13/cobra@v1.8.0")]
    Show {
        /// The module, or one version of it
        #[arg(value_name = "MODULE[@VERSION]")]
        module: String,
    },
    /// Fetch versions before anybody asks for them
    ///
    /// Of a go.sum file, the versions of which it has only the go.mod are fetched only so far, and what comes must have the hashes that the
    /// file has. Ends with exit code 7 if some could not be had.
    #[command(
        after_help = "Examples:\n  goproxyctl module warm github.com/spf13/cobra@v1.8.0\n  goproxyctl module warm --go-sum go.sum"
    )]
    Warm(Warm),
    /// Take in a version that is nowhere else, from a module zip on disk
    ///
    /// It is published when most nodes that should hold it have it on stable storage, in two zones if there are two, and its name is bound to
    /// its content. Published once, a name never gets other content; the same again is fine. The module has to be private on the nodes
    /// (`goproxyd --private`), so that no public origin is asked for it.
    #[command(
        after_help = "Example:\n  git archive --prefix=git.example.com/lib@v1.2.0/ -o lib.zip v1.2.0\n  goproxyctl module publish git.example.com/lib@v1.2.0 lib.zip"
    )]
    Publish(Publish),
    /// Remove versions from all nodes; they are fetched anew when they are asked for
    #[command(after_help = "Example:\n  goproxyctl module purge example.com/broken@v1.0.0 --yes")]
    Purge(Destroy),
    /// Keep what is held, or comes to be held, of a module or a version, however full a node is
    #[command(
        after_help = "Example:\n  goproxyctl module pin github.com/spf13/cobra --reason 'all teams use it'"
    )]
    Pin(Say),
    /// Let it be evicted like everything else
    #[command(after_help = "Example:\n  goproxyctl module unpin github.com/spf13/cobra")]
    Unpin(Say),
    /// Stop serving a module or a version, or with --lift serve it again; what is held stays where it is
    ///
    /// Ends with exit code 7 if a node is not known to have heard of it, and names it.
    #[command(
        after_help = "Examples:\n  goproxyctl module quarantine example.com/odd@v1.2.3 --reason 'see ticket 12'\n  goproxyctl module quarantine example.com/odd@v1.2.3 --lift"
    )]
    Quarantine {
        /// Serve it again
        #[arg(long)]
        lift: bool,
        #[command(flatten)]
        say: Say,
    },
    /// Read what each node holds, and hold it against its hashes and the checksum database
    ///
    /// What is bad is set aside, unless it was published or is kept for good, and fetched anew when it is asked for. Ends with exit code 7 if
    /// something is bad, and with 1 if no node holds anything of it.
    #[command(after_help = "Example:\n  goproxyctl module verify github.com/spf13/cobra@v1.8.0")]
    Verify {
        /// The module, or one version of it
        #[arg(value_name = "MODULE[@VERSION]")]
        module: String,
        #[command(flatten)]
        mutation: Mutation,
    },
    /// Take a module or a version down for good: it is removed, and answered with 410 from now on
    ///
    /// Ends with exit code 7 if a node is not known to have heard of it, or has not removed it yet, and names it. What caches in front of the
    /// nodes hold is theirs to purge.
    #[command(
        after_help = "Examples:\n  goproxyctl module takedown example.com/evil --reason 'malware' --yes\n  goproxyctl module takedown example.com/evil --lift --yes"
    )]
    Takedown {
        /// Serve it again
        #[arg(long)]
        lift: bool,
        #[command(flatten)]
        destroy: Destroy,
    },
    /// What is said of modules: what is pinned, in quarantine, taken down
    #[command(after_help = "Example:\n  goproxyctl module marks")]
    Marks {
        #[command(flatten)]
        newest: Newest,
    },
}

#[derive(Args, Debug)]
pub(crate) struct Warm {
    /// Versions to fetch
    #[arg(value_name = "MODULE@VERSION", required_unless_present = "go_sum")]
    pub(crate) versions: Vec<String>,
    /// Fetch what this go.sum file has; `-` for standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) go_sum: Option<PathBuf>,
    /// Say what came of each version as it comes
    #[arg(long)]
    pub(crate) watch: bool,
    #[command(flatten)]
    pub(crate) mutation: Mutation,
}

#[derive(Args, Debug)]
pub(crate) struct Publish {
    /// What is published
    #[arg(value_name = "MODULE@VERSION")]
    pub(crate) version: String,
    /// A zip whose files all begin with `MODULE@VERSION/`
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) zip: PathBuf,
    #[command(flatten)]
    pub(crate) mutation: Mutation,
}

#[derive(Args, Debug)]
pub(crate) struct Say {
    /// The module, or one version of it
    #[arg(value_name = "MODULE[@VERSION]")]
    pub(crate) module: String,
    #[command(flatten)]
    pub(crate) mutation: Mutation,
}

#[derive(Args, Debug)]
pub(crate) struct Destroy {
    /// The module, or one version of it
    #[arg(value_name = "MODULE[@VERSION]")]
    pub(crate) module: String,
    #[command(flatten)]
    pub(crate) confirmation: Confirmation,
    #[command(flatten)]
    pub(crate) mutation: Mutation,
}

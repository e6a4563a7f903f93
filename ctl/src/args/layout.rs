//! `layout`: which nodes hold what. Whatever moves data is shown by `plan` first, and applied under the number shown.

use clap::{Args, Subcommand};

use super::shared::{Mutation, Newest, Waiting};

#[derive(Subcommand, Debug)]
pub(crate) enum Verb {
    /// The layout in force, or an older one
    #[command(
        after_help = "Examples:\n  goproxyctl layout show\n  goproxyctl layout show --epoch 3 --slots -o json"
    )]
    Show {
        /// The layout with this number [default: the one in force]
        #[arg(long, value_name = "N")]
        epoch: Option<u64>,
        /// With every slot
        #[arg(long)]
        slots: bool,
    },
    /// Who holds a module
    #[command(after_help = "Example:\n  goproxyctl layout locate github.com/spf13/cobra")]
    Locate {
        /// The module path
        module: String,
    },
    /// What the next layout would be, without changing anything
    ///
    /// Ends with exit code 0 if nothing would change, with 2 if something would.
    #[command(after_help = "Example:\n  goproxyctl layout plan")]
    Plan(Plan),
    /// Put the next layout in force
    #[command(
        after_help = "Example:\n  goproxyctl layout plan\n  goproxyctl layout apply --expect-epoch 13 --wait"
    )]
    Apply(Apply),
    /// Put the placement of an older layout in force again, under a new number
    ///
    /// As many nodes hold each slot as did then. Active nodes that lose everything by it are cordoned; `node uncordon` gives them a share
    /// again.
    #[command(after_help = "Example:\n  goproxyctl layout revert --expect-epoch 14")]
    Revert(Revert),
    /// How far the move to the layout in force has come
    #[command(after_help = "Example:\n  goproxyctl layout status --watch")]
    Status {
        /// Show it again whenever it has changed, until everything is where it belongs
        #[arg(long)]
        watch: bool,
    },
    /// Stop moving until it is resumed
    #[command(after_help = "Example:\n  goproxyctl layout pause --reason 'peak hours'")]
    Pause(Halt),
    /// Go on moving
    #[command(after_help = "Example:\n  goproxyctl layout resume")]
    Resume(Halt),
    /// The layouts there were, newest first
    #[command(after_help = "Example:\n  goproxyctl layout history --limit 5")]
    History {
        #[command(flatten)]
        newest: Newest,
    },
}

#[derive(Args, Debug)]
pub(crate) struct Plan {
    /// Plan with another number of nodes for each slot
    #[arg(long, value_name = "N")]
    pub(crate) replication_factor: Option<u32>,
    /// List every slot that changes
    #[arg(long)]
    pub(crate) slots: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Apply {
    /// The number that `layout plan` showed; refused if the next layout would get another
    #[arg(long, value_name = "N")]
    pub(crate) expect_epoch: u64,
    /// Another number of nodes for each slot
    #[arg(long, value_name = "N")]
    pub(crate) replication_factor: Option<u32>,
    #[command(flatten)]
    pub(crate) waiting: Waiting,
    #[command(flatten)]
    pub(crate) mutation: Mutation,
}

#[derive(Args, Debug)]
pub(crate) struct Revert {
    /// The number that the new layout is to get: one more than that in force
    #[arg(long, value_name = "N")]
    pub(crate) expect_epoch: u64,
    /// The layout to go back to [default: the one before that in force]
    #[arg(long, value_name = "N")]
    pub(crate) to: Option<u64>,
    #[command(flatten)]
    pub(crate) waiting: Waiting,
    #[command(flatten)]
    pub(crate) mutation: Mutation,
}

#[derive(Args, Debug)]
pub(crate) struct Halt {
    /// Refuse unless this layout is in force
    #[arg(long, value_name = "N")]
    pub(crate) expect_epoch: Option<u64>,
    #[command(flatten)]
    pub(crate) mutation: Mutation,
}

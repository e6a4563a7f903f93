//! `failover`: hand over from what is sick.

use clap::Subcommand;

use super::node::Remove;
use super::shared::Mutation;

#[derive(Subcommand, Debug)]
pub(crate) enum Verb {
    /// Have another member lead, the one that has caught up furthest
    #[command(after_help = "Example:\n  goproxyctl failover leader --reason 'slow disk'")]
    Leader {
        #[command(flatten)]
        mutation: Mutation,
    },
    /// Take a data node for dead at once, without waiting for the time that it takes otherwise
    ///
    /// With --force a node that is active is cordoned as well: it may be heard of again at once, and gets nothing back before
    /// `node uncordon`.
    #[command(after_help = "Example:\n  goproxyctl failover node data-1 --reason 'rack without power'")]
    Node(Remove),
}

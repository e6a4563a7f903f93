//! `cache`: what data nodes store, and looking after it.

use clap::{Args, Subcommand};
use clap_complete::ArgValueCandidates;
use common::byte_size::ByteSize;

use super::shared::Mutation;
use crate::complete;

#[derive(Subcommand, Debug)]
pub(crate) enum Verb {
    /// How much each node stores
    #[command(after_help = "Example:\n  goproxyctl cache usage")]
    Usage {
        #[command(flatten)]
        nodes: Chosen,
    },
    /// Bring stores within their bounds now, and give back all the space of what was removed
    ///
    /// One at a time on a node. What is not done within a minute goes on there by itself.
    #[command(after_help = "Example:\n  goproxyctl cache gc data-1")]
    Gc {
        #[command(flatten)]
        nodes: Chosen,
        #[command(flatten)]
        mutation: Mutation,
    },
    /// Read everything that is stored and hold it against its hashes; make whole what is bad
    ///
    /// What is bad is set aside, and taken from another node or fetched again. Each node does this by itself once a day, slowly. Ends with
    /// exit code 7 if something bad could not be made whole.
    #[command(after_help = "Example:\n  goproxyctl cache scrub --rate 200MiB")]
    Scrub {
        #[command(flatten)]
        nodes: Chosen,
        /// Bytes a second that each node reads at most [default: the server's]
        #[arg(long, value_name = "SIZE")]
        rate: Option<ByteSize>,
        #[command(flatten)]
        mutation: Mutation,
    },
    /// Have each node take what the other replicas of its slots hold and it does not
    ///
    /// Ends with exit code 7 if some of it could not be taken, a replica could not be asked, or the layout changed meanwhile.
    #[command(after_help = "Example:\n  goproxyctl cache repair")]
    Repair {
        #[command(flatten)]
        nodes: Chosen,
        #[command(flatten)]
        mutation: Mutation,
    },
}

#[derive(Args, Debug)]
pub(crate) struct Chosen {
    /// These nodes only [default: all]
    #[arg(value_name = "NODE", add = ArgValueCandidates::new(complete::nodes))]
    pub(crate) nodes: Vec<String>,
}

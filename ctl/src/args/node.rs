//! `node`: the data nodes.

use clap::{Args, Subcommand};
use clap_complete::ArgValueCandidates;
use proto::Named as _;
use proto::control::v1::NodeState;

use super::shared::{Confirmation, Generation, Lifetime, Mutation, Waiting};
use crate::complete;

#[derive(Subcommand, Debug)]
pub(crate) enum Verb {
    /// Stage a data node and print the command that it joins with
    #[command(after_help = "Example:\n  goproxyctl node add data-1 --zone a --weight 200")]
    Add(Add),
    /// The data nodes
    #[command(after_help = "Example:\n  goproxyctl node list --zone a --state active,draining")]
    List(List),
    /// One data node
    #[command(after_help = "Example:\n  goproxyctl node show data-1 --watch")]
    Show(Show),
    /// Give nodes nothing new to hold; what they hold they go on serving
    #[command(after_help = "Example:\n  goproxyctl node cordon data-1 data-2")]
    Cordon(Several),
    /// Take back a cordon or a drain
    #[command(after_help = "Example:\n  goproxyctl node uncordon data-1")]
    Uncordon(Several),
    /// Move everything that a node holds to others
    #[command(after_help = "Example:\n  goproxyctl node drain data-1 --wait")]
    Drain(Drain),
    /// Take a node out for good
    #[command(
        after_help = "Example:\n  goproxyctl node drain data-1 --wait && goproxyctl node remove data-1"
    )]
    Remove(Remove),
    /// Stage a node that takes over what another holds, slot for slot
    ///
    /// If the other one holds nothing any more, the new node gets its share like any other that joins.
    #[command(after_help = "Example:\n  goproxyctl node replace data-1 --with data-4 --reason 'new disk'")]
    Replace(Replace),
    /// Change a node's labels, weight or zone
    #[command(after_help = "Example:\n  goproxyctl node label data-1 rack=r7 old- --weight 200")]
    Label(Label),
}

#[derive(Args, Debug)]
pub(crate) struct Add {
    /// The new node's name
    pub(crate) name: String,
    /// What it fails together with: a rack, a room, an availability zone [default: default]
    #[arg(long, add = ArgValueCandidates::new(complete::zones))]
    pub(crate) zone: Option<String>,
    /// Its share in proportion to the others' [default: the server's usual one]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) weight: Option<u32>,
    /// A label, `KEY=VALUE`; may be given again
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = pair)]
    pub(crate) labels: Vec<(String, String)>,
    /// Leave it out of the layout until a layout is applied by hand
    #[arg(long)]
    pub(crate) no_apply: bool,
    #[command(flatten)]
    pub(crate) lifetime: Lifetime,
    #[command(flatten)]
    pub(crate) mutation: Mutation,
}

#[derive(Args, Debug)]
pub(crate) struct List {
    /// Only nodes of this zone
    #[arg(long, add = ArgValueCandidates::new(complete::zones))]
    pub(crate) zone: Option<String>,
    /// Only nodes in these states [default: all but removed]
    #[arg(long = "state", value_name = "STATE", value_delimiter = ',', value_parser = node_state)]
    pub(crate) states: Vec<NodeState>,
}

#[derive(Args, Debug)]
pub(crate) struct Show {
    /// The node
    #[arg(add = ArgValueCandidates::new(complete::nodes))]
    pub(crate) name: String,
    /// Show it again whenever it has changed, until it is neither staged, joining nor draining
    #[arg(long)]
    pub(crate) watch: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Several {
    /// The nodes
    #[arg(required = true, value_name = "NAME", add = ArgValueCandidates::new(complete::nodes))]
    pub(crate) names: Vec<String>,
    #[command(flatten)]
    pub(crate) generation: Generation,
    #[command(flatten)]
    pub(crate) mutation: Mutation,
}

#[derive(Args, Debug)]
pub(crate) struct Drain {
    /// The node
    #[arg(add = ArgValueCandidates::new(complete::nodes))]
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) waiting: Waiting,
    #[command(flatten)]
    pub(crate) generation: Generation,
    #[command(flatten)]
    pub(crate) mutation: Mutation,
}

/// Also what `failover node` takes.
#[derive(Args, Debug)]
pub(crate) struct Remove {
    /// The node
    #[arg(add = ArgValueCandidates::new(complete::nodes))]
    pub(crate) name: String,
    /// Do it though something is held nowhere else, or the node is heard of
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) waiting: Waiting,
    #[command(flatten)]
    pub(crate) confirmation: Confirmation,
    #[command(flatten)]
    pub(crate) generation: Generation,
    #[command(flatten)]
    pub(crate) mutation: Mutation,
}

#[derive(Args, Debug)]
pub(crate) struct Replace {
    /// The node that goes
    #[arg(add = ArgValueCandidates::new(complete::nodes))]
    pub(crate) name: String,
    /// The name of the one that comes
    #[arg(long = "with", value_name = "NEW")]
    pub(crate) replacement: String,
    #[command(flatten)]
    pub(crate) lifetime: Lifetime,
    #[command(flatten)]
    pub(crate) waiting: Waiting,
    #[command(flatten)]
    pub(crate) generation: Generation,
    #[command(flatten)]
    pub(crate) mutation: Mutation,
}

#[derive(Args, Debug)]
pub(crate) struct Label {
    /// The node
    #[arg(add = ArgValueCandidates::new(complete::nodes))]
    pub(crate) name: String,
    /// Labels to write, `KEY=VALUE`, and to take off, `KEY-`
    #[arg(value_name = "LABEL", value_parser = edit)]
    pub(crate) labels: Vec<Edit>,
    /// Another share; in force with the next layout
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) weight: Option<u32>,
    /// Another zone; in force with the next layout
    #[arg(long, add = ArgValueCandidates::new(complete::zones))]
    pub(crate) zone: Option<String>,
    #[command(flatten)]
    pub(crate) generation: Generation,
    #[command(flatten)]
    pub(crate) mutation: Mutation,
}

/// A change of one label.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Edit {
    /// Write it.
    Set(String, String),
    /// Take it off.
    Remove(String),
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        Some(_) | None => Err("a label is written KEY=VALUE".to_owned()),
    }
}

fn edit(text: &str) -> Result<Edit, String> {
    if let Ok((key, value)) = pair(text) {
        return Ok(Edit::Set(key, value));
    }
    match text.strip_suffix('-') {
        Some(key) if !key.is_empty() && !key.contains('=') => Ok(Edit::Remove(key.to_owned())),
        Some(_) | None => Err("a label is written KEY=VALUE, and taken off by KEY-".to_owned()),
    }
}

fn node_state(text: &str) -> Result<NodeState, String> {
    NodeState::from_short_name(text)
        .filter(|state| *state != NodeState::Unspecified)
        .ok_or_else(|| "use staged, joining, active, cordoned, draining, down or removed".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_set_and_taken_off() {
        assert_eq!(edit("a=b=c"), Ok(Edit::Set("a".to_owned(), "b=c".to_owned())));
        assert_eq!(edit("a="), Ok(Edit::Set("a".to_owned(), String::new())));
        assert_eq!(edit("a-"), Ok(Edit::Remove("a".to_owned())));
        for wrong in ["", "-", "a", "=b"] {
            assert!(edit(wrong).is_err(), "{wrong}");
        }
    }
}

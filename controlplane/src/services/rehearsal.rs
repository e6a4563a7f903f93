//! A dry run of publishing: refused is what would be refused, as far as that can be told without the content. What nodes would say of that, and
//! whether the module is private there, is not looked at.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use cluster::command::BindVersion;
use cluster::record::Marked;
use cluster::{Command, Hash, NodeName};
use proto::control::v1 as pb;
use proto::data::v1 as data;
use proto::{ErrorCode, Fault};

use super::Desk;
use super::convert::Options;
use super::holders::Holders;
use super::publish::BIND_TIMEOUT;
use crate::authorize::Operator;

/// How long nodes may take to say that they are there.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// See the head of this file.
pub(super) async fn rehearse(
    desk: &Desk,
    operator: Operator,
    options: Options,
    version: &Marked,
    holders: &Holders,
) -> Result<pb::PublishVersionResponse, Fault> {
    let bound = desk.control.shared.read(|state| {
        let bound = state.tables().bindings.get(version)?;
        Some((bound.zip_h1, bound.go_mod_h1))
    });
    // Where nothing is bound yet, any content is as good as another.
    let unknown = Hash::from_bytes([0; 32]);
    let (zip_h1, go_mod_h1) = bound.unwrap_or((unknown, unknown));
    let expect_epoch = holders.epoch;
    let command =
        Command::BindVersion(BindVersion { version: version.clone(), zip_h1, go_mod_h1, expect_epoch });
    // The key may be that of an attempt with content.
    let options = Options { key: None, ..options };
    desk.carry_out(operator, options, command, Instant::now() + BIND_TIMEOUT).await?;
    let (there, missing) = who_is_there(desk, version, holders).await;
    if !holders.are_enough(&there) {
        let whys: Vec<_> = missing.iter().map(|(name, fault)| format!("node {name}: {fault}")).collect();
        let text = format!(
            "{} of {} nodes that should hold it answer, which is not enough: {}",
            there.len(),
            there.len() + missing.len(),
            whys.join("; ")
        );
        return Err(Fault::new(ErrorCode::Unhealthy, text).hint("publish it when the nodes are back"));
    }
    Ok(pb::PublishVersionResponse {
        nodes: there.iter().map(ToString::to_string).collect(),
        missing_nodes: missing.iter().map(|(name, _)| name.to_string()).collect(),
        was_published: bound.is_some(),
        ..Default::default()
    })
}

/// Those of the holders that answer, and why the others do not.
async fn who_is_there(
    desk: &Desk,
    version: &Marked,
    holders: &Holders,
) -> (BTreeSet<NodeName>, Vec<(NodeName, Fault)>) {
    // What is held of the module does not matter: that is little to ask.
    let module_path = version.module().to_owned();
    let asked = data::ListVersionsRequest { module_path, page_size: 1, ..Default::default() };
    let names = holders.all().cloned().collect();
    let until = Instant::now() + ANSWER_TIMEOUT;
    let told = desk.control.data_nodes.ask_all(names, until, |mut node| {
        let asked = asked.clone();
        async move { node.list_versions(asked).await }
    });
    let (mut there, mut missing) = (BTreeSet::new(), Vec::new());
    for (node, told) in told.await {
        match told {
            Ok(_) => {
                there.insert(node);
            }
            Err(fault) => missing.push((node, fault)),
        }
    }
    (there, missing)
}

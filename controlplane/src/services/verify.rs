//! Having a data node read its copy of a version.

use std::time::Instant;

use cluster::NodeName;
use proto::Fault;
use proto::control::v1 as pb;
use proto::data::v1 as data;

use super::convert::parse;
use super::modules::VERSION_TIMEOUT;
use crate::data_nodes::DataNodes;

/// What a node finds of a version that it is said to hold.
pub(super) async fn verify(
    nodes: &DataNodes,
    version: &pb::ModuleVersion,
    node: &str,
) -> pb::VerifyModuleResponse {
    let told = match parse("node", node) {
        Ok(name) => ask(nodes, version, &name).await,
        Err(fault) => Err(fault),
    };
    pb::VerifyModuleResponse { node: node.to_owned(), version: version.version.clone(), ..answer(told) }
}

/// Says of a node that it could not be asked what it holds.
pub(super) fn unreachable(node: String) -> pb::VerifyModuleResponse {
    let problems = vec!["the node cannot be asked".to_owned()];
    pb::VerifyModuleResponse { node, problems, ..Default::default() }
}

async fn ask(
    nodes: &DataNodes,
    version: &pb::ModuleVersion,
    node: &NodeName,
) -> Result<data::VerifyVersionResponse, Fault> {
    let name =
        data::VersionName { module_path: version.module_path.clone(), version: version.version.clone() };
    let asked = data::VerifyVersionRequest { name: Some(name) };
    let until = Instant::now() + VERSION_TIMEOUT;
    nodes.ask(node, until, |mut node| async move { node.verify_version(asked).await }).await
}

/// What is told of it, but for whose copy it is.
fn answer(told: Result<data::VerifyVersionResponse, Fault>) -> pb::VerifyModuleResponse {
    match told {
        Ok(found) => {
            let verdict = match found.checksum_database() {
                data::ChecksumVerdict::Listed => "listed",
                data::ChecksumVerdict::NotAsked => "not-asked",
                data::ChecksumVerdict::Refused => "refused",
                data::ChecksumVerdict::Unavailable => "unavailable",
                data::ChecksumVerdict::Unspecified => "",
            };
            pb::VerifyModuleResponse {
                bytes: found.bytes,
                checksum_database: verdict.to_owned(),
                set_aside: found.set_aside,
                // What does not verify may leave nothing that could be called held.
                not_held: !found.held && found.problems.is_empty(),
                problems: found.problems,
                ..Default::default()
            }
        }
        Err(fault) => pb::VerifyModuleResponse { problems: vec![fault.to_string()], ..Default::default() },
    }
}

#[cfg(test)]
mod tests {
    use proto::ErrorCode;

    use super::*;

    #[test]
    fn a_copy_that_left_is_neither_good_nor_bad() {
        let held = data::VerifyVersionResponse { held: true, bytes: 7, ..Default::default() };
        let good = answer(Ok(held.clone()));
        assert!(!good.not_held && good.problems.is_empty() && good.bytes == 7);
        let left = answer(Ok(data::VerifyVersionResponse::default()));
        assert!(left.not_held && left.problems.is_empty());
        let problems = vec!["its zip has another hash".to_owned()];
        let bad = answer(Ok(data::VerifyVersionResponse { problems, set_aside: true, ..held }));
        assert!(!bad.not_held && bad.set_aside && bad.problems.len() == 1);
        let silent = answer(Err(Fault::new(ErrorCode::Deadline, "node data-1 did not answer in time")));
        assert!(!silent.not_held && !silent.set_aside && silent.problems.len() == 1);
    }
}

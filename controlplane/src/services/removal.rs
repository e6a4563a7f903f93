//! Removing versions from all data nodes: everywhere, and once more where that went well, since a node may have taken a copy from another one
//! in between.
//!
//! Each round has time of its own, so that one slow node costs the others nothing. Invariant: the second round only makes sure; that it is
//! not answered takes nothing back.

use std::time::Instant;

use cluster::NodeName;
use proto::control::v1 as pb;
use proto::data::v1 as data;
use proto::{ErrorCode, Fault};

use super::about::About;
use crate::data_nodes::{DataNodes, Told};

/// A removal under way.
pub(super) struct Removal<'a> {
    nodes: &'a DataNodes,
    asked: data::RemoveVersionsRequest,
    results: Vec<(NodeName, pb::PurgeResult)>,
}

impl<'a> Removal<'a> {
    /// Removes what nodes know of it; what was `published` only if that is said.
    pub(super) fn of(nodes: &'a DataNodes, about: &About, published: bool) -> Self {
        let version = about.version.as_ref().map(ToString::to_string).unwrap_or_default();
        let asked = data::RemoveVersionsRequest { module_path: about.module.to_string(), version, published };
        Self { nodes, asked, results: Vec::new() }
    }

    /// The first round. It leaves time before `until` for the second one.
    pub(super) async fn begin(&mut self, until: Instant) {
        let told = self.ask(self.nodes.names(), first_until(Instant::now(), until)).await;
        let result = |(node, told): Told<data::RemoveVersionsResponse>| {
            let result = first(&node, told);
            (node, result)
        };
        self.results = told.into_iter().map(result).collect();
    }

    /// The second round, of those that have removed it; what came of both, by node.
    pub(super) async fn make_sure(mut self, until: Instant) -> Vec<pb::PurgeResult> {
        let well = self.results.iter().filter(|(_, result)| result.problem.is_empty());
        let names = well.map(|(name, _)| name.clone()).collect();
        let told = self.ask(names, until).await;
        for (node, told) in told {
            if let Some((_, result)) = self.results.iter_mut().find(|(name, _)| *name == node) {
                second(result, told);
            }
        }
        self.results.into_iter().map(|(_, result)| result).collect()
    }

    async fn ask(&self, names: Vec<NodeName>, until: Instant) -> Vec<Told<data::RemoveVersionsResponse>> {
        let told = self.nodes.ask_all(names, until, |mut node| {
            let asked = self.asked.clone();
            async move { node.remove_versions(asked).await }
        });
        told.await
    }
}

/// Three quarters of the time are for the first round, which has all the work.
fn first_until(now: Instant, until: Instant) -> Instant {
    now + until.saturating_duration_since(now) / 4 * 3
}

fn first(node: &NodeName, told: Result<data::RemoveVersionsResponse, Fault>) -> pb::PurgeResult {
    let node = node.to_string();
    match told {
        Ok(removed) => pb::PurgeResult {
            node,
            version_count: removed.version_count,
            freed_bytes: removed.freed_bytes,
            problem: String::new(),
        },
        Err(fault) => pb::PurgeResult { node, problem: fault.to_string(), ..Default::default() },
    }
}

fn second(result: &mut pb::PurgeResult, told: Result<data::RemoveVersionsResponse, Fault>) {
    match told {
        Ok(removed) => {
            result.version_count = result.version_count.max(removed.version_count);
            result.freed_bytes = result.freed_bytes.saturating_add(removed.freed_bytes);
        }
        Err(fault) if is_silence(&fault) => {}
        Err(fault) => result.problem = fault.to_string(),
    }
}

fn is_silence(fault: &Fault) -> bool {
    matches!(fault.code, ErrorCode::Deadline | ErrorCode::Unavailable | ErrorCode::Cancelled)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const fn removed(version_count: u64, freed_bytes: u64) -> data::RemoveVersionsResponse {
        data::RemoveVersionsResponse { version_count, freed_bytes }
    }

    fn refused(code: ErrorCode) -> Result<data::RemoveVersionsResponse, Fault> {
        Err(Fault::new(code, "so it said"))
    }

    #[test]
    fn the_second_round_adds_to_the_first_and_its_silence_takes_nothing_back() {
        let node = NodeName::parse("data-1").unwrap();
        let mut result = first(&node, Ok(removed(3, 100)));
        assert_eq!((result.node.as_str(), result.problem.as_str()), ("data-1", ""));
        second(&mut result, Ok(removed(1, 7)));
        assert_eq!((result.version_count, result.freed_bytes), (3, 107));
        for silence in [ErrorCode::Deadline, ErrorCode::Unavailable, ErrorCode::Cancelled] {
            second(&mut result, refused(silence));
            assert_eq!(result.problem, "", "{silence}");
        }
        second(&mut result, refused(ErrorCode::Internal));
        assert_eq!((result.version_count, result.problem.as_str()), (3, "so it said"));
        assert_eq!(first(&node, refused(ErrorCode::Deadline)).problem, "so it said");
    }

    #[test]
    fn the_second_round_has_time_of_its_own() {
        let now = Instant::now();
        let until = now + Duration::from_secs(8);
        assert_eq!(first_until(now, until), now + Duration::from_secs(6));
        assert_eq!(first_until(until, now), until, "there is none left");
    }
}

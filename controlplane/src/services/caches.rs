//! What data nodes store, and having them look after it.

use std::sync::Arc;
use std::time::Instant;

use cluster::{NodeName, Role};
use proto::control::v1 as pb;
use proto::control::v1::cache_service_server::CacheService;
use proto::data::v1 as data;
use proto::{ErrorCode, Fault};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::convert::options;
use super::modules::note;
use super::stream::Answers;
use super::{Desk, deadline};
use crate::authorize::Operator;
use crate::data_nodes::{DataNodes, StoreClient};

pub(crate) struct Caches(pub(crate) Desk);

#[tonic::async_trait]
impl CacheService for Caches {
    type ScrubCacheStream = Answers<pb::ScrubCacheResponse>;
    type RepairCacheStream = Answers<pb::RepairCacheResponse>;

    async fn get_cache_usage(
        &self,
        request: Request<pb::GetCacheUsageRequest>,
    ) -> Result<Response<pb::GetCacheUsageResponse>, Status> {
        self.0.viewer(&request).await?;
        let until = deadline(&request);
        let nodes = &self.0.control.data_nodes;
        let chosen = nodes.chosen(&request.into_inner().nodes)?;
        let told = nodes
            .ask_all(chosen, until, |mut node| async move { node.get_usage(data::GetUsageRequest {}).await })
            .await;
        let nodes = told.into_iter().map(|(node, told)| usage(&node, told)).collect();
        Ok(Response::new(pb::GetCacheUsageResponse { nodes }))
    }

    async fn collect_garbage(
        &self,
        request: Request<pb::CollectGarbageRequest>,
    ) -> Result<Response<pb::CollectGarbageResponse>, Status> {
        let operator = self.0.control.gate.operator(&request, Role::Operator)?;
        let until = deadline(&request);
        let request = request.into_inner();
        let chosen = self.begin(operator, request.options, "collect-garbage", &request.nodes, until).await?;
        let told = self.0.control.data_nodes.ask_all(chosen, until, |mut node| async move {
            node.collect_garbage(data::CollectGarbageRequest {}).await
        });
        let results = told.await.into_iter().map(|(node, told)| garbage(&node, told)).collect();
        Ok(Response::new(pb::CollectGarbageResponse { results }))
    }

    async fn scrub_cache(
        &self,
        request: Request<pb::ScrubCacheRequest>,
    ) -> Result<Response<Self::ScrubCacheStream>, Status> {
        let operator = self.0.control.gate.operator(&request, Role::Operator)?;
        let until = deadline(&request);
        let request = request.into_inner();
        let bytes_per_second = request.bytes_per_second;
        let chosen = self.begin(operator, request.options, "scrub-cache", &request.nodes, until).await?;
        let open = move |mut node: StoreClient| async move {
            node.scrub_store(data::ScrubStoreRequest { bytes_per_second }).await
        };
        Ok(Response::new(self.streams(chosen, open, scrubbed)))
    }

    async fn repair_cache(
        &self,
        request: Request<pb::RepairCacheRequest>,
    ) -> Result<Response<Self::RepairCacheStream>, Status> {
        let operator = self.0.control.gate.operator(&request, Role::Operator)?;
        let until = deadline(&request);
        let request = request.into_inner();
        let chosen = self.begin(operator, request.options, "repair-cache", &request.nodes, until).await?;
        let open =
            |mut node: StoreClient| async move { node.repair_store(data::RepairStoreRequest {}).await };
        Ok(Response::new(self.streams(chosen, open, repaired)))
    }
}

impl Caches {
    /// Reads whom it is about and writes it into the audit trail; nobody, if it was only asked.
    async fn begin(
        &self,
        operator: Operator,
        asked: Option<pb::MutationOptions>,
        deed: &str,
        names: &[String],
        until: Instant,
    ) -> Result<Vec<NodeName>, Fault> {
        let chosen = self.0.control.data_nodes.chosen(names)?;
        let options = options(asked)?;
        let dry_run = options.dry_run;
        let subject =
            if names.is_empty() { "all nodes".to_owned() } else { format!("nodes {}", names.join(",")) };
        note(&self.0, operator, options, deed, &subject, until).await?;
        Ok(if dry_run { Vec::new() } else { chosen })
    }

    /// What all nodes tell, as it comes.
    fn streams<T, R, F>(
        &self,
        nodes: Vec<NodeName>,
        open: impl Fn(StoreClient) -> F + Clone + Send + Sync + 'static,
        told: fn(&NodeName, Result<T, Fault>) -> R,
    ) -> Answers<R>
    where
        T: Send + 'static,
        R: Send + 'static,
        F: Future<Output = Result<Response<Streaming<T>>, Status>> + Send + 'static,
    {
        let (answers, stream) = mpsc::channel(1);
        for name in nodes {
            let (all, answers, open) =
                (Arc::clone(&self.0.control.data_nodes), answers.clone(), open.clone());
            tokio::spawn(async move {
                let left = answers.clone();
                let following = async {
                    if let Err(fault) = follow(&all, &name, open, told, &answers).await {
                        let _ = answers.send(Ok(told(&name, Err(fault)))).await;
                    }
                };
                tokio::select! {
                    () = left.closed() => {}
                    () = following => {}
                }
            });
        }
        Box::pin(ReceiverStream::new(stream))
    }
}

async fn follow<T, R, F>(
    nodes: &DataNodes,
    name: &NodeName,
    open: impl Fn(StoreClient) -> F,
    told: fn(&NodeName, Result<T, Fault>) -> R,
    answers: &mpsc::Sender<Result<R, Status>>,
) -> Result<(), Fault>
where
    F: Future<Output = Result<Response<Streaming<T>>, Status>>,
{
    let opened = open(nodes.client(name)?).await;
    let mut stream = opened.map_err(|status| Fault::of_status(&status))?.into_inner();
    while let Some(message) = stream.message().await.map_err(|status| Fault::of_status(&status))? {
        if answers.send(Ok(told(name, Ok(message)))).await.is_err() {
            break;
        }
    }
    Ok(())
}

fn usage(node: &NodeName, told: Result<data::GetUsageResponse, Fault>) -> pb::NodeCacheUsage {
    let node = node.to_string();
    let silent = || Fault::new(ErrorCode::Internal, "the node told nothing");
    match told.and_then(|told| told.usage.ok_or_else(silent)) {
        Ok(usage) => pb::NodeCacheUsage {
            node,
            version_count: usage.version_count,
            zip_count: usage.zip_count,
            zip_bytes: usage.zip_bytes,
            evictable_bytes: usage.evictable_bytes,
            capacity_bytes: usage.capacity_bytes,
            store_bytes: usage.store_bytes,
            garbage_bytes: usage.garbage_bytes,
            disk_bytes: usage.disk_bytes,
            disk_free_bytes: usage.disk_free_bytes,
            quarantined_count: usage.quarantined_count,
            problem: String::new(),
        },
        Err(fault) => pb::NodeCacheUsage { node, problem: fault.to_string(), ..Default::default() },
    }
}

fn garbage(node: &NodeName, told: Result<data::CollectGarbageResponse, Fault>) -> pb::GarbageResult {
    let node = node.to_string();
    match told {
        Ok(told) => pb::GarbageResult {
            node,
            evicted_count: told.evicted_count,
            evicted_bytes: told.evicted_bytes,
            freed_bytes: told.store_bytes_before.saturating_sub(told.store_bytes_after),
            problem: String::new(),
        },
        Err(fault) => {
            let mut problem = fault.to_string();
            // The node ends what it has begun, whoever waits for it.
            if fault.code == ErrorCode::Deadline {
                problem
                    .push_str("; what it has begun goes on, and `goproxyctl cache usage` shows what is left");
            }
            pb::GarbageResult { node, problem, ..Default::default() }
        }
    }
}

fn scrubbed(node: &NodeName, told: Result<data::ScrubStoreResponse, Fault>) -> pb::ScrubCacheResponse {
    let node = node.to_string();
    match told {
        Ok(told) => {
            let finding = told.finding.map(|finding| {
                let name = finding.name.unwrap_or_default();
                let became = if finding.healed { "whole again" } else { "not whole yet" };
                format!("{}@{}: {}; {became}", name.module_path, name.version, finding.detail)
            });
            pb::ScrubCacheResponse {
                node,
                version_count: told.version_count,
                bytes: told.bytes,
                bytes_total: told.bytes_total,
                bad_count: told.bad_count,
                healed_count: told.healed_count,
                finding: finding.unwrap_or_default(),
                done: told.done,
                problem: String::new(),
            }
        }
        Err(fault) => {
            pb::ScrubCacheResponse { node, done: true, problem: fault.to_string(), ..Default::default() }
        }
    }
}

fn repaired(node: &NodeName, told: Result<data::RepairStoreResponse, Fault>) -> pb::RepairCacheResponse {
    let node = node.to_string();
    match told {
        Ok(told) => pb::RepairCacheResponse {
            node,
            taken_count: told.taken_count,
            taken_bytes: told.taken_bytes,
            failed_count: told.failed_count,
            unreachable_nodes: told.unreachable_nodes,
            done: told.done,
            problem: told.problem,
        },
        Err(fault) => {
            pb::RepairCacheResponse { node, done: true, problem: fault.to_string(), ..Default::default() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_runs_out_of_time_hears_that_it_goes_on() {
        let node = NodeName::parse("data-1").unwrap();
        let problem = |code| garbage(&node, Err(Fault::new(code, "so it is"))).problem;
        assert!(problem(ErrorCode::Deadline).starts_with("so it is; what it has begun goes on"));
        assert_eq!(problem(ErrorCode::WrongState), "so it is");
    }

    #[test]
    fn a_repair_that_was_broken_off_has_a_problem() {
        let node = NodeName::parse("data-1").unwrap();
        let told =
            data::RepairStoreResponse { done: true, problem: "broken off".to_owned(), ..Default::default() };
        let told = repaired(&node, Ok(told));
        assert!(told.done && told.problem == "broken off");
    }
}

//! `cache`.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use common::byte_size::ByteSize;
use proto::control::v1::cache_service_client::CacheServiceClient;
use proto::control::v1::{
    CollectGarbageRequest, GetCacheUsageRequest, RepairCacheRequest, RepairCacheResponse, ScrubCacheRequest,
    ScrubCacheResponse,
};
use proto::limits::DEADLINE_MAX;
use serde::Serialize;

use super::context::{dry_run_note, options};
use super::module::ending;
use super::{Context, Outcome, rpc};
use crate::args::cache::Verb;
use crate::args::shared::Mutation;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Answer;
use crate::view;

pub(super) async fn run(context: &Context, verb: Verb) -> Outcome {
    match verb {
        Verb::Usage { nodes } => usage(context, nodes.nodes).await.map(Some),
        Verb::Gc { nodes, mutation } => collect(context, nodes.nodes, &mutation).await.map(Some),
        Verb::Scrub { nodes, rate, mutation } => {
            let rate = rate.map(ByteSize::bytes).unwrap_or_default();
            scrub(context, nodes.nodes, rate, &mutation).await.map(Some)
        }
        Verb::Repair { nodes, mutation } => repair(context, nodes.nodes, &mutation).await.map(Some),
    }
}

async fn usage(context: &Context, nodes: Vec<String>) -> Result<Answer, Failure> {
    let told =
        context.read(GetCacheUsageRequest { nodes }, rpc!(CacheServiceClient::get_cache_usage)).await?;
    let failed = told.nodes.iter().filter(|node| !node.problem.is_empty()).count();
    let exit = ending(failed, told.nodes.len());
    let page = view::cache::usage(&told.nodes);
    Ok(Answer::new(told, page).ending(exit))
}

async fn collect(context: &Context, nodes: Vec<String>, mutation: &Mutation) -> Result<Answer, Failure> {
    let options = options(mutation)?;
    let key = options.idempotency_key.clone();
    let request = CollectGarbageRequest { options: Some(options), nodes };
    let told =
        context.change_within(DEADLINE_MAX, &key, request, rpc!(CacheServiceClient::collect_garbage)).await?;
    let failed = told.results.iter().filter(|result| !result.problem.is_empty()).count();
    let exit = ending(failed, told.results.len());
    let page = view::cache::collected(&told.results);
    Ok(Answer::new(told, page).notes(dry_run_note(mutation)).ending(exit))
}

#[derive(Serialize)]
struct Scrubbed {
    nodes: Vec<ScrubCacheResponse>,
    findings: Vec<Finding>,
}

/// Something that a node found bad.
#[derive(Clone, PartialEq, Serialize)]
struct Finding {
    node: String,
    finding: String,
}

async fn scrub(
    context: &Context,
    nodes: Vec<String>,
    bytes_per_second: u64,
    mutation: &Mutation,
) -> Result<Answer, Failure> {
    let request = ScrubCacheRequest { options: Some(options(mutation)?), nodes, bytes_per_second };
    let mut latest: BTreeMap<String, ScrubCacheResponse> = BTreeMap::new();
    let mut findings = Vec::new();
    let progress = context.screen.progress();
    let watched = context.watch(request, rpc!(CacheServiceClient::scrub_cache), |told| {
        let found = Finding { node: told.node.clone(), finding: told.finding.clone() };
        // When a stream breaks, the walk begins once more, and may meet the same again.
        if !found.finding.is_empty() && !findings.contains(&found) {
            findings.push(found);
        }
        latest.insert(told.node.clone(), told);
        let sum = |of: fn(&ScrubCacheResponse) -> u64| latest.values().map(of).sum::<u64>();
        let said =
            format!("{} bad, {} whole again", sum(|node| node.bad_count), sum(|node| node.healed_count));
        progress.bytes("scrub", sum(|node| node.bytes), sum(|node| node.bytes_total), &said);
        Ok(ControlFlow::Continue(()))
    });
    let watched = watched.await;
    progress.end();
    watched?;
    let nodes: Vec<_> = latest.into_values().collect();
    let is_bad = |node: &&ScrubCacheResponse| !node.problem.is_empty() || node.healed_count < node.bad_count;
    let exit = partial(nodes.iter().filter(is_bad).count());
    let texts: Vec<_> = findings.iter().map(|found| format!("{}: {}", found.node, found.finding)).collect();
    let page = view::cache::scrubbed(&nodes, &texts);
    Ok(Answer::new(Scrubbed { nodes, findings }, page).notes(dry_run_note(mutation)).ending(exit))
}

#[derive(Serialize)]
struct Repaired {
    nodes: Vec<RepairCacheResponse>,
}

async fn repair(context: &Context, nodes: Vec<String>, mutation: &Mutation) -> Result<Answer, Failure> {
    let request = RepairCacheRequest { options: Some(options(mutation)?), nodes };
    let mut latest: BTreeMap<String, RepairCacheResponse> = BTreeMap::new();
    let progress = context.screen.progress();
    let watched = context.watch(request, rpc!(CacheServiceClient::repair_cache), |told| {
        latest.insert(told.node.clone(), told);
        let sum = |of: fn(&RepairCacheResponse) -> u64| latest.values().map(of).sum::<u64>();
        progress.count("repair", sum(|node| node.taken_count), 0, &view::bytes(sum(|node| node.taken_bytes)));
        Ok(ControlFlow::Continue(()))
    });
    let watched = watched.await;
    progress.end();
    watched?;
    let nodes: Vec<_> = latest.into_values().collect();
    let is_bad = |node: &&RepairCacheResponse| {
        !node.problem.is_empty() || node.failed_count > 0 || !node.unreachable_nodes.is_empty()
    };
    let exit = partial(nodes.iter().filter(is_bad).count());
    let page = view::cache::repaired(&nodes);
    Ok(Answer::new(Repaired { nodes }, page).notes(dry_run_note(mutation)).ending(exit))
}

fn partial(bad: usize) -> Exit {
    if bad == 0 { Exit::Done } else { Exit::Partial }
}

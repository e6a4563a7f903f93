//! `cluster`.

use std::ops::ControlFlow;

use proto::control::v1::cluster_service_client::ClusterServiceClient;
use proto::control::v1::{
    AuditRecord, GetHealthRequest, GetHealthResponse, GetStatusRequest, Health, ListAuditRecordsRequest,
    TransferLeaderRequest, WatchStatusRequest,
};
use serde::Serialize;

use super::context::{dry_run_note, options, pages, there};
use super::{Context, Outcome, jobs, recover, rpc};
use crate::args::cluster::{Audit, Verb};
use crate::args::shared::Mutation;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Answer;
use crate::time::to_wire;
use crate::view;

pub(super) async fn run(context: &Context, verb: Verb) -> Outcome {
    match verb {
        Verb::Status { watch: false, interval: _ } => status(context).await.map(Some),
        Verb::Status { watch: true, interval } => {
            let request = WatchStatusRequest { interval_duration: interval.map(to_wire) };
            let shown = context.watch(request, rpc!(ClusterServiceClient::watch_status), |message| {
                let status = there(message.status, "status")?;
                let page = view::cluster::status(&status);
                context.screen.frame(&Answer::new(status, page))?;
                Ok(ControlFlow::Continue(()))
            });
            shown.await.map(|()| None)
        }
        Verb::Health => health(context).await.map(Some),
        Verb::TransferLeader { name, mutation } => transfer(context, name, &mutation).await.map(Some),
        Verb::Recover(asked) => recover::run(context, asked).await.map(Some),
        Verb::Audit(audit) => audit_trail(context, audit).await.map(Some),
        Verb::Jobs(verb) => jobs::run(context, verb).await,
    }
}

async fn status(context: &Context) -> Result<Answer, Failure> {
    let response = context.read(GetStatusRequest {}, rpc!(ClusterServiceClient::get_status)).await?;
    let status = there(response.status, "status")?;
    let page = view::cluster::status(&status);
    Ok(Answer::new(status, page))
}

async fn health(context: &Context) -> Result<Answer, Failure> {
    let response: GetHealthResponse =
        context.read(GetHealthRequest {}, rpc!(ClusterServiceClient::get_health)).await?;
    let well = response.quorum && response.health() == Health::Ok;
    let page = view::cluster::health(&response);
    Ok(Answer::new(response, page).ending(if well { Exit::Done } else { Exit::Unhealthy }))
}

/// Also `failover leader`, which names nobody.
pub(super) async fn transfer(
    context: &Context,
    name: Option<String>,
    mutation: &Mutation,
) -> Result<Answer, Failure> {
    let options = options(mutation)?;
    let key = options.idempotency_key.clone();
    let request = TransferLeaderRequest { options: Some(options), name: name.unwrap_or_default() };
    let response = context.change(&key, request, rpc!(ClusterServiceClient::transfer_leader)).await?;
    let page = view::cluster::leader(&response);
    Ok(Answer::new(response, page).notes(dry_run_note(mutation)))
}

#[derive(Serialize)]
struct Records {
    records: Vec<AuditRecord>,
}

async fn audit_trail(context: &Context, audit: Audit) -> Result<Answer, Failure> {
    let request = ListAuditRecordsRequest {
        page_size: 0,
        page_token: String::new(),
        subject: audit.subject.unwrap_or_default(),
        caller: audit.caller.unwrap_or_default(),
        since_time: audit.since,
    };
    let records = pages(audit.newest.limit, async |page_size, page_token| {
        let request = ListAuditRecordsRequest { page_size, page_token, ..request.clone() };
        let page = context.read(request, rpc!(ClusterServiceClient::list_audit_records)).await?;
        Ok((page.records, page.next_page_token))
    });
    let records = records.await?;
    let page = view::cluster::audit(&records);
    Ok(Answer::new(Records { records }, page))
}

//! `failover`.

use proto::control::v1::FailoverNodeRequest;
use proto::control::v1::node_service_client::NodeServiceClient;

use super::context::{dry_run_note, options, there};
use super::{Context, Outcome, cluster, jobs, rpc};
use crate::args::failover::Verb;
use crate::args::node::Remove;
use crate::output::Answer;
use crate::view;

pub(super) async fn run(context: &Context, verb: Verb) -> Outcome {
    match verb {
        Verb::Leader { mutation } => cluster::transfer(context, None, &mutation).await.map(Some),
        Verb::Node(remove) => node(context, remove).await,
    }
}

async fn node(context: &Context, remove: Remove) -> Outcome {
    let deed = format!("take node {} for dead, and have others make up for it", remove.name);
    context.screen.confirm(&deed, &remove.name, remove.confirmation.yes || remove.mutation.dry_run).await?;
    let options = options(&remove.mutation)?;
    let key = options.idempotency_key.clone();
    let request = FailoverNodeRequest {
        options: Some(options),
        name: remove.name,
        expected_generation: remove.generation.expect_generation.unwrap_or_default(),
        force: remove.force,
    };
    let response = context.change(&key, request, rpc!(NodeServiceClient::failover_node)).await?;
    let job_id = if remove.mutation.dry_run { String::new() } else { response.job_id.clone() };
    let page = view::node::one(&there(response.node.clone(), "node")?);
    let still = job_id.is_empty() && !remove.mutation.dry_run;
    let still = still
        .then(|| "nothing moves by it now; `goproxyctl layout status` says if moves are paused".to_owned());
    let said = Answer::new(response, page).notes(dry_run_note(&remove.mutation)).notes(still);
    jobs::after(context, &remove.waiting, &job_id, said).await
}

//! `node`.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use proto::control::v1::node_service_client::NodeServiceClient;
use proto::control::v1::{
    AddNodeRequest, CordonNodeRequest, DrainNodeRequest, GetNodeRequest, LabelNodeRequest, ListNodesRequest,
    MutationOptions, Node, NodeState, RemoveNodeRequest, ReplaceNodeRequest, UncordonNodeRequest,
    WatchNodeRequest,
};
use proto::{ErrorCode, Named as _};
use serde::Serialize;

use super::context::{dry_run_note, options, pages, there};
use super::{Context, Outcome, jobs, rpc};
use crate::args::node::{Add, Drain, Edit, Label, List, Remove, Replace, Several, Verb};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Answer;
use crate::time::to_wire;
use crate::view;

pub(super) async fn run(context: &Context, verb: Verb) -> Outcome {
    match verb {
        Verb::Add(add) => self::add(context, add).await.map(Some),
        Verb::List(list) => self::list(context, list).await.map(Some),
        Verb::Show(show) if show.watch => watch(context, show.name).await.map(|()| None),
        Verb::Show(show) => self::show(context, show.name).await.map(Some),
        Verb::Cordon(several) => each(context, several, Fence::Up).await.map(Some),
        Verb::Uncordon(several) => each(context, several, Fence::Down).await.map(Some),
        Verb::Drain(drain) => self::drain(context, drain).await,
        Verb::Remove(remove) => self::remove(context, remove).await,
        Verb::Replace(replace) => self::replace(context, replace).await,
        Verb::Label(label) => self::label(context, label).await.map(Some),
    }
}

async fn add(context: &Context, add: Add) -> Result<Answer, Failure> {
    let options = options(&add.mutation)?;
    let key = options.idempotency_key.clone();
    let request = AddNodeRequest {
        options: Some(options),
        name: add.name,
        zone: add.zone.unwrap_or_default(),
        weight: add.weight.unwrap_or_default(),
        labels: add.labels.into_iter().collect(),
        no_apply: add.no_apply,
        join_token_lifetime_duration: add.lifetime.token_lifetime.map(to_wire),
    };
    let response = context.change(&key, request, rpc!(NodeServiceClient::add_node)).await?;
    let page =
        view::joining(&response.name, &response.join_token, response.expire_time.as_ref(), &response.command);
    Ok(Answer::new(response, page).note(view::JOIN_NOTE).notes(dry_run_note(&add.mutation)))
}

#[derive(Serialize)]
struct Nodes {
    nodes: Vec<Node>,
}

async fn list(context: &Context, list: List) -> Result<Answer, Failure> {
    let states = list.states.into_iter().map(i32::from).collect();
    let nodes = all(context, list.zone.unwrap_or_default(), states).await?;
    let page = view::node::list(&nodes);
    Ok(Answer::new(Nodes { nodes }, page))
}

/// All nodes that are not removed, by name.
pub(crate) async fn present(context: &Context) -> Result<Vec<Node>, Failure> {
    all(context, String::new(), Vec::new()).await
}

/// All nodes of the zone and in these states, by name; of any zone if it is empty, in any state but removed if there are none.
async fn all(context: &Context, zone: String, states: Vec<i32>) -> Result<Vec<Node>, Failure> {
    let nodes = pages(0, async |page_size, page_token| {
        let request = ListNodesRequest { page_size, page_token, zone: zone.clone(), states: states.clone() };
        let page = context.read(request, rpc!(NodeServiceClient::list_nodes)).await?;
        Ok((page.nodes, page.next_page_token))
    });
    nodes.await
}

async fn show(context: &Context, name: String) -> Result<Answer, Failure> {
    let response = context.read(GetNodeRequest { name }, rpc!(NodeServiceClient::get_node)).await?;
    Ok(one(there(response.node, "node")?))
}

fn one(node: Node) -> Answer {
    let page = view::node::one(&node);
    Answer::new(node, page)
}

async fn watch(context: &Context, name: String) -> Result<(), Failure> {
    let watched = context.watch(WatchNodeRequest { name }, rpc!(NodeServiceClient::watch_node), |message| {
        let node = there(message.node, "node")?;
        let settled = is_settled(&node);
        context.screen.frame(&one(node))?;
        Ok(if settled { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    });
    watched.await
}

/// Whether nothing is under way with the node.
fn is_settled(node: &Node) -> bool {
    match node.state() {
        NodeState::Active | NodeState::Cordoned | NodeState::Down | NodeState::Removed => true,
        NodeState::Draining => node.slot_count == 0,
        NodeState::Unspecified | NodeState::Staged | NodeState::Joining | NodeState::Removing => false,
    }
}

#[derive(Clone, Copy)]
enum Fence {
    Up,
    Down,
}

#[derive(Serialize)]
struct Fenced {
    nodes: Vec<Node>,
    failures: Vec<Refusal>,
}

#[derive(Serialize)]
struct Refusal {
    name: String,
    code: String,
    message: String,
}

/// Cordons or uncordons one node after the other. One that is refused does not keep the others from their turn.
async fn each(context: &Context, several: Several, fence: Fence) -> Result<Answer, Failure> {
    let options = options(&several.mutation)?;
    let alone = several.names.len() == 1;
    let generation = several.generation.expect_generation.unwrap_or_default();
    if generation != 0 && !alone {
        return Err(Failure::usage("--expect-generation is about one node", "name one node"));
    }
    let mut done = Fenced { nodes: Vec::new(), failures: Vec::new() };
    let mut last: Option<Failure> = None;
    for (at, name) in several.names.into_iter().enumerate() {
        // Where one cannot be reached the next cannot either.
        if last.as_ref().is_some_and(|failure| failure.code().is_none()) {
            let message = "not tried any more".to_owned();
            done.failures.push(Refusal { name, code: ErrorCode::Unavailable.short_name(), message });
            continue;
        }
        let key =
            if at == 0 { options.idempotency_key.clone() } else { numbered(&options.idempotency_key, at) };
        let options = MutationOptions { idempotency_key: key, ..options.clone() };
        match self::fence(context, options, name.clone(), generation, fence).await {
            Ok(node) => done.nodes.push(node),
            Err(failure) if alone || (at == 0 && failure.code().is_none()) => return Err(failure),
            Err(failure) => {
                let code = failure.code().unwrap_or(ErrorCode::Unavailable).short_name();
                done.failures.push(Refusal { name, code, message: failure.to_string() });
                last = Some(failure);
            }
        }
    }
    let notes = done
        .failures
        .iter()
        .map(|refusal| format!("{}: {} ({})", refusal.name, refusal.message, refusal.code));
    let notes: Vec<_> = notes.chain(dry_run_note(&several.mutation)).collect();
    let exit = match last {
        None => Exit::Done,
        Some(failure) if done.nodes.is_empty() => failure.exit(),
        Some(_) => Exit::Partial,
    };
    let page = view::node::list(&done.nodes);
    Ok(Answer::new(done, page).notes(notes).ending(exit))
}

/// A key of its own for each of several changes, the same again when the command is repeated.
fn numbered(key: &str, at: usize) -> String {
    let suffix = format!(".{at}");
    let room = proto::limits::IDEMPOTENCY_KEY_BYTES_MAX - suffix.len();
    let kept: String = key.chars().take(room).collect();
    kept + &suffix
}

async fn fence(
    context: &Context,
    options: MutationOptions,
    name: String,
    expected_generation: u64,
    fence: Fence,
) -> Result<Node, Failure> {
    let key = options.idempotency_key.clone();
    let options = Some(options);
    let node = match fence {
        Fence::Up => {
            let request = CordonNodeRequest { options, name, expected_generation };
            context.change(&key, request, rpc!(NodeServiceClient::cordon_node)).await?.node
        }
        Fence::Down => {
            let request = UncordonNodeRequest { options, name, expected_generation };
            context.change(&key, request, rpc!(NodeServiceClient::uncordon_node)).await?.node
        }
    };
    there(node, "node")
}

async fn drain(context: &Context, drain: Drain) -> Outcome {
    let options = options(&drain.mutation)?;
    let key = options.idempotency_key.clone();
    let request = DrainNodeRequest {
        options: Some(options),
        name: drain.name,
        expected_generation: drain.generation.expect_generation.unwrap_or_default(),
    };
    let response = context.change(&key, request, rpc!(NodeServiceClient::drain_node)).await?;
    let job_id = if drain.mutation.dry_run { String::new() } else { response.job_id.clone() };
    let page = view::node::one(&there(response.node.clone(), "node")?);
    let said = Answer::new(response, page).notes(dry_run_note(&drain.mutation));
    jobs::after(context, &drain.waiting, &job_id, said).await
}

async fn remove(context: &Context, remove: Remove) -> Outcome {
    let options = options(&remove.mutation)?;
    let key = options.idempotency_key.clone();
    let request = RemoveNodeRequest {
        options: Some(options),
        name: remove.name,
        expected_generation: remove.generation.expect_generation.unwrap_or_default(),
        force: remove.force,
    };
    let is_settled = remove.confirmation.yes || remove.mutation.dry_run;
    let lost = if remove.force && !is_settled { would_go_with(context, &request).await } else { None };
    let deed = format!("take node {} out for good{}", request.name, lost.unwrap_or_default());
    context.screen.confirm(&deed, &request.name, is_settled).await?;
    let response = context.change(&key, request, rpc!(NodeServiceClient::remove_node)).await?;
    let job_id = if remove.mutation.dry_run { String::new() } else { response.job_id.clone() };
    let page = view::node::one(&there(response.node.clone(), "node")?);
    let lost = view::node::last_copies(&response);
    let said = Answer::new(response, page).notes(dry_run_note(&remove.mutation)).notes(lost);
    jobs::after(context, &remove.waiting, &job_id, said).await
}

/// What nobody else has of what a removal would take, as it goes on in a sentence. Whoever cannot say that does not answer what is asked
/// then either.
async fn would_go_with(context: &Context, request: &RemoveNodeRequest) -> Option<String> {
    let options = MutationOptions { dry_run: true, ..MutationOptions::default() };
    let request = RemoveNodeRequest { options: Some(options), ..request.clone() };
    let response = context.change("", request, rpc!(NodeServiceClient::remove_node)).await.ok()?;
    view::node::last_copies(&response).map(|lost| format!("; {lost}"))
}

async fn replace(context: &Context, replace: Replace) -> Outcome {
    let options = options(&replace.mutation)?;
    let key = options.idempotency_key.clone();
    let request = ReplaceNodeRequest {
        options: Some(options),
        name: replace.name,
        replacement: replace.replacement,
        expected_generation: replace.generation.expect_generation.unwrap_or_default(),
        join_token_lifetime_duration: replace.lifetime.token_lifetime.map(to_wire),
    };
    let response = context.change(&key, request, rpc!(NodeServiceClient::replace_node)).await?;
    if response.join_token.is_empty() {
        let job_id = if replace.mutation.dry_run { String::new() } else { response.job_id.clone() };
        let page = view::replacing(&response.name);
        let said = Answer::new(response, page).notes(dry_run_note(&replace.mutation));
        return jobs::after(context, &replace.waiting, &job_id, said).await;
    }
    let page =
        view::joining(&response.name, &response.join_token, response.expire_time.as_ref(), &response.command);
    let said = Answer::new(response, page).note(view::JOIN_NOTE).note(view::REPLACE_NOTE);
    Ok(Some(said.notes(dry_run_note(&replace.mutation))))
}

async fn label(context: &Context, label: Label) -> Result<Answer, Failure> {
    let mut labels = BTreeMap::new();
    let mut removed_labels = Vec::new();
    for edit in label.labels {
        match edit {
            Edit::Set(key, value) => drop(labels.insert(key, value)),
            Edit::Remove(key) => removed_labels.push(key),
        }
    }
    if labels.is_empty() && removed_labels.is_empty() && label.weight.is_none() && label.zone.is_none() {
        return Err(Failure::usage("nothing is to be changed", "give a label, --weight or --zone"));
    }
    let options = options(&label.mutation)?;
    let key = options.idempotency_key.clone();
    let request = LabelNodeRequest {
        options: Some(options),
        name: label.name,
        labels,
        removed_labels,
        weight: label.weight,
        zone: label.zone,
        expected_generation: label.generation.expect_generation.unwrap_or_default(),
    };
    let response = context.change(&key, request, rpc!(NodeServiceClient::label_node)).await?;
    let page = view::node::one(&there(response.node.clone(), "node")?);
    Ok(Answer::new(response, page).notes(dry_run_note(&label.mutation)))
}

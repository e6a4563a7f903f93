//! `layout`.

use std::fmt::Write as _;
use std::ops::ControlFlow;

use proto::control::v1::layout_service_client::LayoutServiceClient;
use proto::control::v1::{
    ApplyLayoutRequest, GetLayoutRequest, GetLayoutStatusRequest, Layout, LayoutState, LayoutStatus,
    ListLayoutsRequest, LocateModuleRequest, PauseLayoutRequest, PlanLayoutRequest, ResumeLayoutRequest,
    RevertLayoutRequest, WatchLayoutStatusRequest,
};
use serde::Serialize;

use super::context::{dry_run_note, options, pages, there};
use super::{Context, Outcome, jobs, rpc};
use crate::args::layout::{Apply, Halt, Plan, Revert, Verb};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Answer;
use crate::view;

pub(super) async fn run(context: &Context, verb: Verb) -> Outcome {
    match verb {
        Verb::Show { epoch, slots } => show(context, epoch, slots).await.map(Some),
        Verb::Locate { module } => {
            let located = context
                .read(LocateModuleRequest { module }, rpc!(LayoutServiceClient::locate_module))
                .await?;
            let page = view::layout::located(&located);
            Ok(Some(Answer::new(located, page)))
        }
        Verb::Plan(plan) => self::plan(context, plan).await.map(Some),
        Verb::Apply(apply) => self::apply(context, apply).await,
        Verb::Revert(revert) => self::revert(context, revert).await,
        Verb::Status { watch: false } => {
            let answer =
                context.read(GetLayoutStatusRequest {}, rpc!(LayoutServiceClient::get_layout_status)).await?;
            Ok(Some(status(there(answer.status, "status")?)))
        }
        Verb::Status { watch: true } => watch(context).await.map(|()| None),
        Verb::Pause(halt) => pause(context, halt).await.map(Some),
        Verb::Resume(halt) => resume(context, halt).await.map(Some),
        Verb::History { newest } => history(context, newest.limit).await.map(Some),
    }
}

async fn show(context: &Context, epoch: Option<u64>, include_slots: bool) -> Result<Answer, Failure> {
    let request = GetLayoutRequest { epoch: epoch.unwrap_or_default(), include_slots };
    let response = context.read(request, rpc!(LayoutServiceClient::get_layout)).await?;
    let layout = there(response.layout, "layout")?;
    let page = view::layout::one(&layout);
    Ok(Answer::new(layout, page))
}

async fn plan(context: &Context, plan: Plan) -> Result<Answer, Failure> {
    let request = PlanLayoutRequest { replication_factor: plan.replication_factor.unwrap_or_default() };
    let response = context.read(request, rpc!(LayoutServiceClient::plan_layout)).await?;
    let planned = there(response.plan, "plan")?;
    let page = view::layout::plan(&planned, plan.slots);
    if planned.changes.is_empty() {
        return Ok(Answer::new(planned, page));
    }
    let mut next = format!("goproxyctl layout apply --expect-epoch {}", planned.epoch);
    if let Some(factor) = plan.replication_factor {
        let _ = write!(next, " --replication-factor {factor}");
    }
    Ok(Answer::new(planned, page).note(format!("to have it so: `{next}`")).ending(Exit::Changes))
}

async fn apply(context: &Context, apply: Apply) -> Outcome {
    let options = options(&apply.mutation)?;
    let key = options.idempotency_key.clone();
    let request = ApplyLayoutRequest {
        options: Some(options),
        expected_epoch: apply.expect_epoch,
        replication_factor: apply.replication_factor.unwrap_or_default(),
    };
    let response = context.change(&key, request, rpc!(LayoutServiceClient::apply_layout)).await?;
    let job_id = if apply.mutation.dry_run { String::new() } else { response.job_id.clone() };
    let page = view::layout::plan(&there(response.plan.clone(), "plan")?, false);
    let said = Answer::new(response, page).notes(dry_run_note(&apply.mutation));
    jobs::after(context, &apply.waiting, &job_id, said).await
}

async fn revert(context: &Context, revert: Revert) -> Outcome {
    let options = options(&revert.mutation)?;
    let key = options.idempotency_key.clone();
    let request = RevertLayoutRequest {
        options: Some(options),
        expected_epoch: revert.expect_epoch,
        target_epoch: revert.to.unwrap_or_default(),
    };
    let response = context.change(&key, request, rpc!(LayoutServiceClient::revert_layout)).await?;
    let job_id = if revert.mutation.dry_run { String::new() } else { response.job_id.clone() };
    let page = view::layout::plan(&there(response.plan.clone(), "plan")?, false);
    let said = Answer::new(response, page).notes(dry_run_note(&revert.mutation));
    jobs::after(context, &revert.waiting, &job_id, said).await
}

fn status(status: LayoutStatus) -> Answer {
    let page = view::layout::status(&status);
    Answer::new(status, page)
}

async fn watch(context: &Context) -> Result<(), Failure> {
    let request = WatchLayoutStatusRequest { interval_duration: None };
    let watched = context.watch(request, rpc!(LayoutServiceClient::watch_layout_status), |message| {
        let now = there(message.status, "status")?;
        let done = now.state() == LayoutState::Stable;
        context.screen.frame(&status(now))?;
        Ok(if done { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    });
    watched.await
}

async fn pause(context: &Context, halt: Halt) -> Result<Answer, Failure> {
    let options = options(&halt.mutation)?;
    let key = options.idempotency_key.clone();
    let request =
        PauseLayoutRequest { options: Some(options), expected_epoch: halt.expect_epoch.unwrap_or_default() };
    let response = context.change(&key, request, rpc!(LayoutServiceClient::pause_layout)).await?;
    let page = view::layout::status(&there(response.status.clone(), "status")?);
    Ok(Answer::new(response, page).notes(dry_run_note(&halt.mutation)))
}

async fn resume(context: &Context, halt: Halt) -> Result<Answer, Failure> {
    let options = options(&halt.mutation)?;
    let key = options.idempotency_key.clone();
    let request =
        ResumeLayoutRequest { options: Some(options), expected_epoch: halt.expect_epoch.unwrap_or_default() };
    let response = context.change(&key, request, rpc!(LayoutServiceClient::resume_layout)).await?;
    let page = view::layout::status(&there(response.status.clone(), "status")?);
    Ok(Answer::new(response, page).notes(dry_run_note(&halt.mutation)))
}

#[derive(Serialize)]
struct Layouts {
    layouts: Vec<Layout>,
}

async fn history(context: &Context, limit: usize) -> Result<Answer, Failure> {
    let layouts = pages(limit, async |page_size, page_token| {
        let request = ListLayoutsRequest { page_size, page_token };
        let page = context.read(request, rpc!(LayoutServiceClient::list_layouts)).await?;
        Ok((page.layouts, page.next_page_token))
    });
    let layouts = layouts.await?;
    let page = view::layout::history(&layouts);
    Ok(Answer::new(Layouts { layouts }, page))
}

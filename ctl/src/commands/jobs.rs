//! `cluster jobs`, and waiting for the job that a change started.

use std::ops::ControlFlow;

use proto::control::v1::operation_service_client::OperationServiceClient;
use proto::control::v1::{CancelJobRequest, GetJobRequest, Job, JobState, ListJobsRequest, WatchJobRequest};
use serde::Serialize;

use super::context::{dry_run_note, options, pages, there};
use super::{Context, Outcome, rpc};
use crate::args::cluster::Jobs;
use crate::args::shared::Waiting;
use crate::failure::Failure;
use crate::output::Answer;
use crate::view;

#[derive(Serialize)]
struct List {
    jobs: Vec<Job>,
}

pub(super) async fn run(context: &Context, verb: Jobs) -> Outcome {
    match verb {
        Jobs::List { states, newest } => {
            let jobs = list(context, newest.limit, &states).await?;
            let page = view::job::list(&jobs);
            Ok(Some(Answer::new(List { jobs }, page)))
        }
        Jobs::Show { id, watch: false } => {
            let response = context.read(GetJobRequest { id }, rpc!(OperationServiceClient::get_job)).await?;
            Ok(Some(answer(there(response.job, "job")?)))
        }
        Jobs::Show { id, watch: true } => {
            follow(context, &id, |job| context.screen.frame(&answer(job.clone()))).await?;
            Ok(None)
        }
        Jobs::Cancel { id, mutation } => {
            let options = options(&mutation)?;
            let key = options.idempotency_key.clone();
            let request = CancelJobRequest { options: Some(options), id };
            let response = context.change(&key, request, rpc!(OperationServiceClient::cancel_job)).await?;
            Ok(Some(answer(there(response.job, "job")?).notes(dry_run_note(&mutation))))
        }
    }
}

/// All jobs in these states, newest first.
pub(crate) async fn all(context: &Context, states: &[JobState]) -> Result<Vec<Job>, Failure> {
    list(context, 0, states).await
}

async fn list(context: &Context, limit: usize, states: &[JobState]) -> Result<Vec<Job>, Failure> {
    let states: Vec<i32> = states.iter().map(|state| i32::from(*state)).collect();
    let jobs = pages(limit, async |page_size, page_token| {
        let request = ListJobsRequest { page_size, page_token, states: states.clone() };
        let page = context.read(request, rpc!(OperationServiceClient::list_jobs)).await?;
        Ok((page.jobs, page.next_page_token))
    });
    jobs.await
}

fn answer(job: Job) -> Answer {
    let page = view::job::one(&job);
    Answer::new(job, page)
}

/// What is said after a change that started a job: the change's own answer, or with `--wait` and `--watch` the job.
pub(super) async fn after(context: &Context, waiting: &Waiting, job_id: &str, said: Answer) -> Outcome {
    if job_id.is_empty() {
        return Ok(Some(said));
    }
    if waiting.watch {
        follow(context, job_id, |job| context.screen.frame(&answer(job.clone()))).await?;
        return Ok(None);
    }
    if waiting.wait {
        let progress = context.screen.progress();
        let ended = follow(context, job_id, |job| {
            progress.show(job);
            Ok(())
        });
        let ended = ended.await;
        progress.end();
        return Ok(Some(answer(ended?)));
    }
    Ok(Some(said.note(format!("job {job_id} is under way: `goproxyctl cluster jobs show {job_id} --watch`"))))
}

/// Follows a job to its end; one that ends otherwise than well is a failure.
async fn follow(
    context: &Context,
    id: &str,
    mut each: impl FnMut(&Job) -> Result<(), Failure>,
) -> Result<Job, Failure> {
    let mut last = None;
    let request = WatchJobRequest { id: id.to_owned() };
    let watched = context.watch(request, rpc!(OperationServiceClient::watch_job), |message| {
        let job = there(message.job, "job")?;
        each(&job)?;
        let ended = has_ended(job.state());
        last = Some(job);
        Ok(if ended { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    });
    watched.await?;
    let job = there(last, "job")?;
    let how = match job.state() {
        JobState::Succeeded => return Ok(job),
        JobState::Failed => format!("failed: {}", job.message),
        JobState::Cancelled => "was cancelled".to_owned(),
        JobState::Unspecified | JobState::Queued | JobState::Running | JobState::Paused => {
            "is not followed by the server any more".to_owned()
        }
    };
    Err(Failure::Job { id: job.id, how })
}

fn has_ended(state: JobState) -> bool {
    match state {
        JobState::Succeeded | JobState::Failed | JobState::Cancelled => true,
        JobState::Unspecified | JobState::Queued | JobState::Running | JobState::Paused => false,
    }
}

//! Long work that somebody asked for.

use cluster::command::{FinishJob, UncordonNode};
use cluster::record::{Job, JobState, NodeState};
use cluster::{Command, IdempotencyKey, JobId, JobKind, Note, Role, Tables};
use proto::control::v1 as pb;
use proto::control::v1::operation_service_server::OperationService;
use proto::{ErrorCode, Fault};
use tonic::{Request, Response, Status};

use super::convert::{self, options, parse, subject};
use super::page::page;
use super::stream::{Answers, Look, interval, watch};
use super::{Desk, deadline};

pub(crate) struct Jobs(pub(crate) Desk);

#[tonic::async_trait]
impl OperationService for Jobs {
    async fn list_jobs(
        &self,
        request: Request<pb::ListJobsRequest>,
    ) -> Result<Response<pb::ListJobsResponse>, Status> {
        self.0.viewer(&request).await?;
        let request = request.into_inner();
        let states: Vec<_> = request.states().collect();
        let page = self.0.control.shared.read(|state| {
            let tables = state.tables();
            let jobs = tables.jobs.values().rev().map(|job| (job.id, convert::job(tables, job)));
            let wanted = jobs.filter(|(_, job)| states.is_empty() || states.contains(&job.state()));
            page(wanted, request.page_size, &request.page_token)
        })?;
        Ok(Response::new(pb::ListJobsResponse { jobs: page.entries, next_page_token: page.next }))
    }

    async fn get_job(
        &self,
        request: Request<pb::GetJobRequest>,
    ) -> Result<Response<pb::GetJobResponse>, Status> {
        self.0.viewer(&request).await?;
        let id: JobId = parse("id", &request.get_ref().id)?;
        Ok(Response::new(pb::GetJobResponse { job: Some(self.0.job(id)?) }))
    }

    async fn cancel_job(
        &self,
        request: Request<pb::CancelJobRequest>,
    ) -> Result<Response<pb::CancelJobResponse>, Status> {
        let operator = self.0.control.gate.operator(&request, Role::Operator)?;
        let until = deadline(&request);
        let request = request.into_inner();
        let id: JobId = parse("id", &request.id)?;
        let options = options(request.options)?;
        self.0.control.read_latest(until).await?;
        let (key, why) = (options.key.as_ref(), options.why.clone());
        let command = self.0.control.shared.read(|state| cancel(state.tables(), id, key, why))?;
        self.0.carry_out(operator, options, command, until).await?;
        Ok(Response::new(pb::CancelJobResponse { job: Some(self.0.job(id)?) }))
    }

    type WatchJobStream = Answers<pb::WatchJobResponse>;

    async fn watch_job(
        &self,
        request: Request<pb::WatchJobRequest>,
    ) -> Result<Response<Self::WatchJobStream>, Status> {
        self.0.viewer(&request).await?;
        let id: JobId = parse("id", &request.get_ref().id)?;
        self.0.job(id)?;
        let desk = self.0.clone();
        let stream = watch(self.0.control.clone(), interval(None), move |_| {
            let desk = desk.clone();
            async move {
                let job = desk.job(id)?;
                let goes_on = matches!(job.state(), pb::JobState::Running | pb::JobState::Paused);
                let answer = pb::WatchJobResponse { job: Some(job) };
                Ok(if goes_on { Look::Now(answer) } else { Look::Last(answer) })
            }
        });
        Ok(Response::new(stream))
    }
}

impl Desk {
    fn job(&self, id: JobId) -> Result<pb::Job, Fault> {
        self.control
            .shared
            .read(|state| find(state.tables(), id).map(|job| convert::job(state.tables(), job)))
    }

    /// The job by which a node is emptied: one that runs, or that was over at once; empty if there is none.
    pub(crate) fn drain_of(&self, node: &pb::Node) -> String {
        self.control
            .shared
            .read(|state| {
                let tables = state.tables();
                let since = tables.nodes.values().find(|known| known.name.as_str() == node.name)?.since;
                let of_it = |job: &&Job| {
                    job.kind.as_str() == JobKind::DRAIN
                        && job.target.as_str() == node.name
                        && (job.state == JobState::Running || job.started >= since)
                };
                tables.jobs.values().rev().find(of_it).map(|job| job.id.to_string())
            })
            .unwrap_or_default()
    }

    /// The job of a kind whose target no other job ever has; empty if there is none.
    pub(crate) fn job_about(&self, kind: &str, target: &str) -> String {
        let same = |job: &&Job| job.kind.as_str() == kind && job.target.as_str() == target;
        self.control.shared.read(|state| {
            let job = state.tables().jobs.values().rev().find(same);
            job.map(|job| job.id.to_string()).unwrap_or_default()
        })
    }
}

fn find(tables: &Tables, id: JobId) -> Result<&Job, Fault> {
    tables.jobs.get(&id).ok_or_else(|| {
        Fault::new(ErrorCode::NotFound, format!("there is no job {id}")).about(subject("job", id))
    })
}

/// What ends what a job follows, and the job with it. A move and a change of the authority cannot be left half done.
fn cancel(
    tables: &Tables,
    id: JobId,
    key: Option<&IdempotencyKey>,
    why: Option<Note>,
) -> Result<Command, Fault> {
    let job = find(tables, id)?;
    let refused = |text: &str, hint: &str| {
        let fault = Fault::new(ErrorCode::WrongState, format!("job {id}: {text}"));
        Err(fault.about(subject("job", id)).hint(hint))
    };
    let runs = job.state == JobState::Running;
    // Asked again, it has ended, and its node may be anything. It is the same request only by the same command.
    let is_asked_again = key.is_some_and(|key| tables.remembered.contains_key(key));
    match job.kind.as_str() {
        JobKind::LAYOUT if runs => refused(
            "slots that move are held by two layouts until the move has ended",
            "halt it with `goproxyctl layout pause`, or go back with `goproxyctl layout revert`",
        ),
        JobKind::AUTHORITY if runs => refused(
            "nodes trust the new authority already",
            "it ends by itself when all certificates are renewed: see `goproxyctl cert status`",
        ),
        JobKind::DRAIN if runs || is_asked_again => {
            let node = tables.nodes.values().find(|node| node.name.as_str() == job.target.as_str());
            match node {
                Some(node) if is_asked_again || node.state != NodeState::Removing => {
                    Ok(Command::UncordonNode(UncordonNode { name: node.name.clone() }))
                }
                _ => refused("the node is removed by force and does not come back", ""),
            }
        }
        _ => Ok(Command::FinishJob(FinishJob { id, state: JobState::Cancelled, message: why })),
    }
}

#[cfg(test)]
mod tests {
    use cluster::record::Remembered;
    use cluster::{Answer, Hash, Revision, Timestamp};

    use super::*;
    use crate::reconcile::bed;

    #[test]
    fn a_drain_that_is_cancelled_again_under_a_key_is_cancelled_by_the_same_command() {
        let mut tables = bed::tables();
        let name = bed::node(&mut tables, "a", NodeState::Draining);
        bed::job(&mut tables, JobKind::DRAIN, "a");
        let id = JobId::new(1);
        let key = IdempotencyKey::parse("key-1").unwrap();
        let uncordon = Command::UncordonNode(UncordonNode { name: name.clone() });
        assert_eq!(cancel(&tables, id, Some(&key), None).unwrap(), uncordon);
        let answered = Remembered {
            key: key.clone(),
            request: Hash::of(b"uncordon"),
            revision: Revision::new(1),
            at: Timestamp::default(),
            answer: Answer::Done,
        };
        tables.remembered.insert(key.clone(), answered);
        tables.jobs.get_mut(&id).unwrap().state = JobState::Cancelled;
        for state in [NodeState::Active, NodeState::Draining, NodeState::Removing, NodeState::Removed] {
            tables.nodes.get_mut(&name).unwrap().state = state;
            assert_eq!(cancel(&tables, id, Some(&key), None).unwrap(), uncordon);
        }
        // Under another key it is another request, which is refused: the job has ended.
        let other = IdempotencyKey::parse("key-2").unwrap();
        let finish = Command::FinishJob(FinishJob { id, state: JobState::Cancelled, message: None });
        for key in [None, Some(&other)] {
            assert_eq!(cancel(&tables, id, key, None).unwrap(), finish);
        }
    }
}

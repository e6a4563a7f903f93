//! Long work that somebody asked for.

use cluster::command::FinishJob;
use cluster::record::JobState;
use cluster::{Command, JobId, Role};
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
            let jobs = state.tables().jobs.values().rev();
            let wanted =
                jobs.filter(|job| states.is_empty() || states.contains(&convert::job_state(job.state)));
            page(wanted.map(|job| (job.id, convert::job(job))), request.page_size, &request.page_token)
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
        let command =
            Command::FinishJob(FinishJob { id, state: JobState::Cancelled, message: options.why.clone() });
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
                let running = job.state() == pb::JobState::Running;
                let answer = pb::WatchJobResponse { job: Some(job) };
                Ok(if running { Look::Now(answer) } else { Look::Last(answer) })
            }
        });
        Ok(Response::new(stream))
    }
}

impl Desk {
    fn job(&self, id: JobId) -> Result<pb::Job, Fault> {
        let job = self.control.shared.read(|state| state.tables().jobs.get(&id).map(convert::job));
        job.ok_or_else(|| {
            Fault::new(ErrorCode::NotFound, format!("there is no job {id}")).about(subject("job", id))
        })
    }
}

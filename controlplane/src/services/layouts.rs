//! Layouts: shown, planned, applied, followed.

use cluster::command::{ApplyLayout, PauseLayout, ResumeLayout, RevertLayout};
use cluster::layout::REPLICAS_MAX;
use cluster::record::LayoutRecord;
use cluster::{Answer, Command, Epoch, JobKind, ReplicationFactor, Role, Slot, Tables, diff};
use proto::control::v1 as pb;
use proto::control::v1::layout_service_server::LayoutService;
use proto::{ErrorCode, Fault};
use std::sync::Arc;
use std::time::SystemTime;
use tonic::{Request, Response, Status};

use super::convert::{self, options, timestamp};
use super::page::page;
use super::stream::{Answers, Look, interval, watch};
use super::{Came, Desk, deadline};
use crate::placement::{self, Plan, Waiting};
use crate::propose::Done;

pub(crate) struct Layouts(pub(crate) Desk);

#[tonic::async_trait]
impl LayoutService for Layouts {
    async fn get_layout(
        &self,
        request: Request<pb::GetLayoutRequest>,
    ) -> Result<Response<pb::GetLayoutResponse>, Status> {
        self.0.viewer(&request).await?;
        let request = request.into_inner();
        let layout = self.0.control.shared.read(|state| {
            let record = find(state.tables(), Epoch::new(request.epoch))?;
            Ok::<_, Fault>(convert::layout(state.tables(), record, request.include_slots))
        })?;
        Ok(Response::new(pb::GetLayoutResponse { layout: Some(layout) }))
    }

    async fn locate_module(
        &self,
        request: Request<pb::LocateModuleRequest>,
    ) -> Result<Response<pb::LocateModuleResponse>, Status> {
        self.0.viewer(&request).await?;
        let module = request.into_inner().module;
        gomod::ModulePath::parse(&module)
            .map_err(|error| Fault::new(ErrorCode::InvalidArgument, format!("module {module:?}: {error}")))?;
        let located = self.0.control.shared.read(|state| {
            let layout = placement::current(state.tables()).ok_or_else(no_layout)?;
            let slot = Slot::of(&module);
            Ok::<_, Fault>(pb::LocateModuleResponse {
                slot: u32::from(slot.number()),
                epoch: layout.epoch().get(),
                owners: layout.replicas(slot).iter().map(ToString::to_string).collect(),
                module,
            })
        })?;
        Ok(Response::new(located))
    }

    async fn plan_layout(
        &self,
        request: Request<pb::PlanLayoutRequest>,
    ) -> Result<Response<pb::PlanLayoutResponse>, Status> {
        self.0.viewer(&request).await?;
        let plan = self.plan(request.into_inner().replication_factor).await?;
        let plan = self.shown(&plan).await;
        Ok(Response::new(pb::PlanLayoutResponse { plan: Some(plan) }))
    }

    async fn apply_layout(
        &self,
        request: Request<pb::ApplyLayoutRequest>,
    ) -> Result<Response<pb::ApplyLayoutResponse>, Status> {
        let operator = self.0.control.gate.operator(&request, Role::Operator)?;
        let until = deadline(&request);
        let request = request.into_inner();
        let options = options(request.options)?;
        self.0.control.read_latest(until).await?;
        let plan = self.plan(request.replication_factor).await?;
        let shown = self.shown(&plan).await;
        let command = Command::ApplyLayout(ApplyLayout {
            expect_epoch: planned_from(request.expected_epoch)?,
            layout: Arc::clone(&plan.layout),
            note: options.why.clone(),
            // What was asked for, not whether it is another number: asked again it is the same request.
            sets_replication: request.replication_factor != 0,
        });
        let came = self.0.carry_out(operator, options, command, until).await?;
        let job_id = self.0.move_of(&came);
        Ok(Response::new(pb::ApplyLayoutResponse { plan: Some(shown), job_id }))
    }

    async fn revert_layout(
        &self,
        request: Request<pb::RevertLayoutRequest>,
    ) -> Result<Response<pb::RevertLayoutResponse>, Status> {
        let operator = self.0.control.gate.operator(&request, Role::Operator)?;
        let until = deadline(&request);
        let request = request.into_inner();
        let options = options(request.options)?;
        self.0.control.read_latest(until).await?;
        let expect_epoch = planned_from(request.expected_epoch)?;
        let (to, plan) =
            self.0.control.shared.read(|state| former(state.tables(), expect_epoch, request.target_epoch))?;
        let shown = self.shown(&plan).await;
        let command = RevertLayout { expect_epoch, to };
        let came = self.0.carry_out(operator, options, Command::RevertLayout(command), until).await?;
        let job_id = self.0.move_of(&came);
        Ok(Response::new(pb::RevertLayoutResponse { plan: Some(shown), job_id }))
    }

    async fn get_layout_status(
        &self,
        request: Request<pb::GetLayoutStatusRequest>,
    ) -> Result<Response<pb::GetLayoutStatusResponse>, Status> {
        self.0.viewer(&request).await?;
        let status = self.status().await;
        Ok(Response::new(pb::GetLayoutStatusResponse { status: Some(status) }))
    }

    type WatchLayoutStatusStream = Answers<pb::WatchLayoutStatusResponse>;

    async fn watch_layout_status(
        &self,
        request: Request<pb::WatchLayoutStatusRequest>,
    ) -> Result<Response<Self::WatchLayoutStatusStream>, Status> {
        self.0.viewer(&request).await?;
        let every = interval(convert::duration("interval_duration", request.get_ref().interval_duration)?);
        let desk = self.0.clone();
        let stream = watch(self.0.control.clone(), every, move |_| {
            let layouts = Self(desk.clone());
            async move {
                let status = layouts.status().await;
                let moving = status.state() == pb::LayoutState::Moving;
                let answer = pb::WatchLayoutStatusResponse { status: Some(status) };
                // Nothing moves any more: whoever waited for that is done.
                Ok(if moving { Look::Now(answer) } else { Look::Last(answer) })
            }
        });
        Ok(Response::new(stream))
    }

    async fn pause_layout(
        &self,
        request: Request<pb::PauseLayoutRequest>,
    ) -> Result<Response<pb::PauseLayoutResponse>, Status> {
        let operator = self.0.control.gate.operator(&request, Role::Operator)?;
        let until = deadline(&request);
        let request = request.into_inner();
        self.refuse_other_epoch(request.expected_epoch, until).await?;
        let command = Command::PauseLayout(PauseLayout {});
        self.0.carry_out(operator, options(request.options)?, command, until).await?;
        Ok(Response::new(pb::PauseLayoutResponse { status: Some(self.status().await) }))
    }

    async fn resume_layout(
        &self,
        request: Request<pb::ResumeLayoutRequest>,
    ) -> Result<Response<pb::ResumeLayoutResponse>, Status> {
        let operator = self.0.control.gate.operator(&request, Role::Operator)?;
        let until = deadline(&request);
        let request = request.into_inner();
        self.refuse_other_epoch(request.expected_epoch, until).await?;
        let command = Command::ResumeLayout(ResumeLayout {});
        self.0.carry_out(operator, options(request.options)?, command, until).await?;
        Ok(Response::new(pb::ResumeLayoutResponse { status: Some(self.status().await) }))
    }

    async fn list_layouts(
        &self,
        request: Request<pb::ListLayoutsRequest>,
    ) -> Result<Response<pb::ListLayoutsResponse>, Status> {
        self.0.viewer(&request).await?;
        let request = request.into_inner();
        let page = self.0.control.shared.read(|state| {
            let tables = state.tables();
            let mut records: Vec<_> = tables.layouts.iter().chain(&tables.layout_history).collect();
            records.sort_by(|(one, _), (other, _)| other.cmp(one));
            let layouts =
                records.into_iter().map(|(epoch, record)| (*epoch, convert::layout(tables, record, false)));
            page(layouts, request.page_size, &request.page_token)
        })?;
        Ok(Response::new(pb::ListLayoutsResponse { layouts: page.entries, next_page_token: page.next }))
    }
}

impl Desk {
    /// The job of the move to a layout that was applied; empty if nothing moves.
    pub(crate) fn move_of(&self, came: &Came) -> String {
        match came {
            Came::Made(Done { answer: Answer::Layout { epoch }, .. }) => {
                self.job_about(JobKind::LAYOUT, &epoch.to_string())
            }
            Came::Made(_) | Came::WouldBe(_) => String::new(),
        }
    }
}

impl Layouts {
    /// Planning takes a while for many nodes, so it is done aside.
    async fn plan(&self, replication: u32) -> Result<Plan, Fault> {
        let replication = match replication {
            0 => None,
            wanted => Some(replication_factor(wanted)?),
        };
        let tables = self.0.control.shared.read(|state| state.tables().clone());
        let planned =
            tokio::task::spawn_blocking(move || placement::next(&tables, Waiting::All, replication));
        let planned =
            planned.await.map_err(|_| Fault::new(ErrorCode::Internal, "planning was broken off"))?;
        planned.map_err(|error| {
            Fault::new(ErrorCode::WrongState, common::error_chain::ErrorChain::new(&error).to_string())
                .hint("add a node with `goproxyctl node add`, or uncordon one")
        })
    }

    async fn shown(&self, plan: &Plan) -> pb::LayoutPlan {
        let sights = self.0.control.sights().await;
        self.0.control.shared.read(|state| convert::layout_plan(state.tables(), plan, &sights))
    }

    async fn status(&self) -> pb::LayoutStatus {
        let sights = self.0.control.sights().await;
        self.0
            .control
            .shared
            .read(|state| convert::layout_status(state.tables(), &sights, timestamp(SystemTime::now())))
    }

    async fn refuse_other_epoch(&self, expected: u64, until: std::time::Instant) -> Result<(), Fault> {
        self.0.control.read_latest(until).await?;
        let current = self.0.control.shared.read(|state| {
            state.tables().transition.as_ref().map(|transition| transition.current).unwrap_or_default()
        });
        if expected == 0 || current == Epoch::new(expected) {
            return Ok(());
        }
        Err(Fault::new(ErrorCode::WrongEpoch, format!("the layout has epoch {current}, not {expected}")))
    }
}

/// The layout that a plan was made from, by the epoch that the planned one would get: the next.
fn planned_from(expected: u64) -> Result<Epoch, Fault> {
    let from = expected.checked_sub(1).map(Epoch::new);
    from.ok_or_else(|| {
        Fault::new(ErrorCode::InvalidArgument, "expected_epoch is not set")
            .hint("`goproxyctl layout plan` names the epoch of the next layout")
    })
}

fn no_layout() -> Fault {
    Fault::new(ErrorCode::WrongState, "there is no layout yet")
        .hint("add a node with `goproxyctl node add`; it is placed as soon as it has joined")
}

/// A layout by its epoch; 0 for the one in force.
fn find(tables: &Tables, epoch: Epoch) -> Result<&LayoutRecord, Fault> {
    let wanted = if epoch == Epoch::default() {
        tables.transition.as_ref().map(|transition| transition.current).ok_or_else(no_layout)?
    } else {
        epoch
    };
    kept(tables, wanted).ok_or_else(|| {
        Fault::new(ErrorCode::NotFound, format!("there is no layout {wanted}"))
            .hint("`goproxyctl layout history` shows those that are kept")
    })
}

/// A layout that is in force or was.
fn kept(tables: &Tables, epoch: Epoch) -> Option<&LayoutRecord> {
    tables.layouts.get(&epoch).or_else(|| tables.layout_history.get(&epoch))
}

/// The layout to go back to from one, and what that changes.
fn former(tables: &Tables, from: Epoch, target: u64) -> Result<(Epoch, Plan), Fault> {
    let current = find(tables, Epoch::default()).map_err(|_| no_layout())?;
    // Who asks again does so when another layout is in force already: what is meant is told by the one that was then. Nobody has gone back
    // from the first one, so that who names it is only late.
    let from = kept(tables, from).filter(|record| record.base != Epoch::default()).unwrap_or(current);
    let to = if target == 0 { from.base } else { Epoch::new(target) };
    if to == Epoch::default() {
        return Err(Fault::new(ErrorCode::WrongState, "the layout in force is the first one"));
    }
    let (base, next) = (from.layout.epoch(), from.layout.epoch().next());
    // What became of it is kept longer than the layout itself.
    let former = find(tables, to).or_else(|missing| kept(tables, next).ok_or(missing))?;
    let layout = Arc::new(former.layout.renumbered(next));
    let diff = diff(&from.layout, &layout);
    let plan = Plan { base, layout, diff: Some(diff), candidates: cluster::Candidates::default() };
    Ok((to, plan))
}

fn replication_factor(wanted: u32) -> Result<ReplicationFactor, Fault> {
    let factor = u8::try_from(wanted).ok().and_then(ReplicationFactor::new);
    factor.ok_or_else(|| {
        Fault::new(
            ErrorCode::InvalidArgument,
            format!("replication_factor {wanted} is not between 1 and {REPLICAS_MAX}"),
        )
    })
}

#[cfg(test)]
mod tests {
    use cluster::NodeName;
    use cluster::record::NodeState;

    use super::*;
    use crate::reconcile::bed;

    fn in_force(tables: &mut Tables, epoch: u64, names: &[NodeName]) {
        bed::layout(tables, epoch, names);
        tables.layouts.get_mut(&Epoch::new(epoch)).unwrap().base = Epoch::new(epoch - 1);
    }

    #[test]
    fn a_revert_that_is_asked_again_means_the_same_layout() {
        let mut tables = bed::tables();
        let [a, b] = ["a", "b"].map(|name| bed::node(&mut tables, name, NodeState::Active));
        let back = |tables: &Tables, from: u64, target: u64| {
            former(tables, Epoch::new(from), target)
                .map(|(to, plan)| (to.get(), plan.base.get(), plan.layout, plan.diff))
                .map_err(|fault| fault.code)
        };
        assert_eq!(back(&tables, 1, 0), Err(ErrorCode::WrongState), "there is no layout");
        in_force(&mut tables, 1, &[a.clone(), b.clone()]);
        assert_eq!(back(&tables, 1, 0), Err(ErrorCode::WrongState), "there was none before it");
        in_force(&mut tables, 2, std::slice::from_ref(&b));
        let first = back(&tables, 2, 0).unwrap();
        assert_eq!((first.0, first.1, first.2.epoch()), (1, 2, Epoch::new(3)));
        assert_eq!(back(&tables, 1, 0), Ok(first.clone()), "the state machine says that it is late");
        in_force(&mut tables, 3, &[a, b]);
        assert_eq!(back(&tables, 2, 0), Ok(first.clone()));
        assert_eq!(back(&tables, 3, 0).unwrap().0, 2);
        // By then there may be too many to keep the one that it went back to.
        tables.layouts.remove(&Epoch::new(1));
        assert_eq!(back(&tables, 2, 0), Ok(first.clone()));
        assert_eq!(back(&tables, 2, 1), Ok(first));
        assert_eq!(back(&tables, 3, 1), Err(ErrorCode::NotFound));
    }
}

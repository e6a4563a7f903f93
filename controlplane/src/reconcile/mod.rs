//! What the leader does by itself: it looks, plans with pure functions, and proposes what the plans say. The state machine has the
//! last word, so that a leader that does not know yet that it leads no more does no harm.

mod alarms;
mod aside;
mod authorities;
#[cfg(test)]
pub(crate) mod bed;
mod jobs;
mod layout;
mod members;
mod nodes;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use cluster::record::NodeState;
use cluster::{Command, MemberId};
use proto::Fault;
use proto::raft::v1::GetMemberStatusRequest;
use tokio_util::sync::CancellationToken;

use crate::authorize::system_actor;
use crate::control::Control;
use crate::observed::{MemberReport, Observed, Seen};
use crate::propose::Wish;
use crate::raft::{RequestId, Role};
use crate::services::convert::timestamp;

pub(crate) use layout::plan as next_layout;
pub(crate) use members::has_caught_up;

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(1);
/// The longest that something proposed may take.
const PROPOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest that a member may take to say how it is.
const STATUS_TIMEOUT: Duration = Duration::from_millis(800);
/// Commands of one plan; what is left is for the next look. Each plan has its own: many silent nodes of a zone, of which one may be marked in ten
/// minutes, keep nobody else from anything.
const COMMANDS_MAX: usize = 64;

/// Looks and proposes for as long as this member leads, until `stop`.
pub(crate) async fn run(control: Arc<Control>, stop: CancellationToken) {
    let mut leadership = control.raft.leadership();
    let mut aside = aside::Aside::default();
    loop {
        let leads = leadership.wait_for(|leadership| leadership.role == Role::Leader);
        match stop.run_until_cancelled(leads).await {
            None | Some(Err(_)) => return,
            Some(Ok(leadership)) => {
                tracing::info!(term = leadership.term, "this member leads the control plane");
            }
        }
        *control.observed.lock() = Observed::new(Instant::now());
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while control.leads() {
            tokio::select! {
                _ = ticks.tick() => look(&control, &mut aside).await,
                changed = leadership.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                () = stop.cancelled() => return,
            }
        }
        tracing::info!("this member leads no more");
    }
}

async fn look(control: &Arc<Control>, aside: &mut aside::Aside) {
    survey(control).await;
    aside.look(control).await;
    group(control).await;
    let commands = plan(control);
    for (task, command) in commands {
        let name = command.name();
        if let Err(fault) = propose(control, task, command).await {
            // A node that changed meanwhile, a leader that is none: the next look sees what is left.
            tracing::debug!(task, command = name, %fault, "what was planned was not done");
        }
    }
}

async fn propose(control: &Arc<Control>, task: &'static str, command: Command) -> Result<(), Fault> {
    let wish = Wish::of(system_actor(task), command);
    control.proposer.propose(&wish, Instant::now() + PROPOSE_TIMEOUT).await.map(|_| ())
}

/// Everything that should be done, by what is recorded and seen now.
fn plan(control: &Control) -> Vec<(&'static str, Command)> {
    let now = Instant::now();
    let wall = timestamp(SystemTime::now());
    let mut observed = control.observed.lock();
    let tables = control.shared.read(|state| state.tables().clone());
    observed.retain(
        |name| tables.nodes.get(name).is_some_and(|node| node.state.is_admitted()),
        |id| tables.members.get(&id).is_some_and(|member| member.state.is_in_group()),
    );
    let down = tables.nodes.values().filter(|node| matches!(node.state, NodeState::Down { .. }));
    observed.are_down(down.map(|node| &node.name), now);
    let plans = [
        ("failure-detector", nodes::plan(&tables, &observed, now)),
        ("placement", layout::plan(&tables).into_iter().collect()),
        ("jobs", jobs::plan(&tables, &observed)),
        ("authorities", authorities::plan(&tables, wall).into_iter().collect()),
        ("alarms", alarms::plan(&tables, &observed, now, wall)),
    ];
    let bounded = |(task, commands): (_, Vec<_>)| {
        commands.into_iter().take(COMMANDS_MAX).map(move |command| (task, command))
    };
    plans.into_iter().flat_map(bounded).collect()
}

/// One step of bringing the Raft group to what is recorded.
async fn group(control: &Arc<Control>) {
    let Some(status) = control.raft.status().await else { return };
    control.observe_progress(&status);
    let step = control.shared.read(|state| members::plan(state.tables(), &status));
    let outcome = match step {
        None => return,
        Some(members::Step::Record(command)) => {
            propose(control, "members", command).await.map_err(|fault| fault.to_string())
        }
        Some(members::Step::Group(change)) => {
            tracing::info!(?change, "changing the members of the control plane");
            let request = RequestId::new(rand::random());
            let deadline = Instant::now() + PROPOSE_TIMEOUT;
            let changed = control.raft.change_membership(vec![change], request, deadline).await;
            changed.map(|_| ()).map_err(|error| common::error_chain::ErrorChain::new(&error).to_string())
        }
    };
    if let Err(error) = outcome {
        tracing::warn!(error, "failed to change the members of the control plane");
    }
}

/// Asks all members how they are, side by side.
async fn survey(control: &Arc<Control>) {
    let members: Vec<MemberId> = control.shared.read(|state| {
        let members = state.tables().members.values().filter(|member| member.state.is_in_group());
        members.map(|member| member.id).collect()
    });
    let asked = members.into_iter().map(|member| ask(control, member));
    let heard: BTreeMap<_, _> = futures_util::future::join_all(asked).await.into_iter().flatten().collect();
    let mut observed = control.observed.lock();
    for (member, seen) in heard {
        observed.member(member, seen);
    }
}

async fn ask(control: &Arc<Control>, member: MemberId) -> Option<(MemberId, Seen<MemberReport>)> {
    let matched = control.observed.lock().of_member(member).map_or(0, |seen| seen.report.matched);
    let (report, wall) = if member == control.me {
        let report = MemberReport {
            version: control.version.clone(),
            applied: control.shared.applied(),
            matched,
            clock_offset_ms: 0,
            disk_is_slow: control.disk.is_slow(),
        };
        (report, SystemTime::now())
    } else {
        let mut client = control.peers.peer(member)?;
        let mut request = tonic::Request::new(GetMemberStatusRequest {});
        request.set_timeout(STATUS_TIMEOUT);
        let begun = Instant::now();
        let answer = tokio::time::timeout(STATUS_TIMEOUT, client.get_member_status(request)).await.ok()?;
        let told = answer.ok()?.into_inner();
        let wall = SystemTime::now();
        // What it read was read half a round trip ago, as far as can be known.
        let theirs = told.read_time.map_or(0, |time| time.seconds * 1000 + i64::from(time.nanos) / 1_000_000);
        let ours = i64::try_from(timestamp(wall).millis()).unwrap_or_default();
        let half = i64::try_from(begun.elapsed().as_millis() / 2).unwrap_or_default();
        let report = MemberReport {
            version: told.version,
            applied: told.applied_index,
            matched,
            clock_offset_ms: theirs + half - ours,
            disk_is_slow: told.disk_slow,
        };
        (report, wall)
    };
    Some((member, Seen { report, at: Instant::now(), wall }))
}

impl Control {
    /// Takes up how far members are, as Raft knows it.
    fn observe_progress(&self, status: &crate::raft::Status) {
        let mut observed = self.observed.lock();
        let known = status.progress.iter().map(|progress| (progress.member, progress.matched));
        for (member, matched) in known.chain([(self.me, status.last_index)]) {
            if let Some(seen) = observed.of_member(member) {
                let report = MemberReport { matched, ..seen.report.clone() };
                let seen = Seen { report, ..seen.clone() };
                observed.member(member, seen);
            }
        }
    }
}

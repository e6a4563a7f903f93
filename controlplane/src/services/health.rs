//! Health as load balancers and probes ask for it: `grpc.health.v1.Health`, over TLS, without a token.
//!
//! The whole (the empty name) and what nodes and members call is served from the start on: it is answered, whoever leads. What
//! operators call, and joining, is served while a leader is known, since nothing can be read or changed for sure without one.
//! Nothing is served once the process stops, or the cluster was recovered without this member.

use std::sync::Arc;
use std::time::Duration;

use proto::control::v1 as pb;
use proto::{join, node, raft};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::control::Control;

/// How long nobody may lead before that is said: an election takes about half a second, and whoever is taken out of a balancer for
/// each one is never in.
const LEADERLESS_MAX: Duration = Duration::from_secs(3);

/// The process as a whole, and what is answered without a leader.
const ALWAYS: [&str; 4] = [
    "",
    node::v1::node_agent_service_server::SERVICE_NAME,
    raft::v1::peer_service_server::SERVICE_NAME,
    raft::v1::raft_service_server::SERVICE_NAME,
];

/// What is answered while somebody leads.
const LED: [&str; 11] = [
    pb::cluster_service_server::SERVICE_NAME,
    pb::member_service_server::SERVICE_NAME,
    pb::node_service_server::SERVICE_NAME,
    pb::layout_service_server::SERVICE_NAME,
    pb::policy_service_server::SERVICE_NAME,
    pb::token_service_server::SERVICE_NAME,
    pb::certificate_service_server::SERVICE_NAME,
    pb::operation_service_server::SERVICE_NAME,
    pb::module_service_server::SERVICE_NAME,
    pb::cache_service_server::SERVICE_NAME,
    join::v1::join_service_server::SERVICE_NAME,
];

/// Says how each service is, from the start until `drain` and ever after.
pub(crate) async fn report(control: Arc<Control>, reporter: HealthReporter, drain: CancellationToken) {
    say(&reporter, &ALWAYS, ServingStatus::Serving).await;
    say(&reporter, &LED, ServingStatus::NotServing).await;
    let mut leadership = control.raft.leadership();
    let mut deadline = Instant::now();
    loop {
        let led = leadership.borrow_and_update().leader.is_some();
        if led {
            say(&reporter, &LED, ServingStatus::Serving).await;
        }
        tokio::select! {
            () = drain.cancelled() => break,
            () = control.shared.until_left_behind() => break,
            changed = leadership.changed() => {
                if changed.is_err() {
                    break;
                }
                if led {
                    deadline = Instant::now() + LEADERLESS_MAX;
                }
            }
            // An election that comes to nothing is no news, so the time runs on through all of them.
            () = tokio::time::sleep_until(deadline), if !led && Instant::now() < deadline => {
                say(&reporter, &LED, ServingStatus::NotServing).await;
            }
        }
    }
    say(&reporter, &ALWAYS, ServingStatus::NotServing).await;
    say(&reporter, &LED, ServingStatus::NotServing).await;
}

async fn say(reporter: &HealthReporter, services: &[&'static str], status: ServingStatus) {
    for service in services {
        reporter.set_service_status(service, status).await;
    }
}

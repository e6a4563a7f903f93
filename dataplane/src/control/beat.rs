//! Saying that this node lives, where it is and how far it has come: once a second, to the leader.

use std::sync::Arc;
use std::time::Duration;

use cluster::Address;
use proto::node::v1 as pb;
use proto::{ErrorCode, Fault};
use tokio_util::sync::CancellationToken;

use super::join::NodeIdentity;
use super::link::Link;
use super::metrics::ControlFamilies;
use super::views::Views;
use super::{Load, follow::jittered};

/// Between two heartbeats, unless the leader says otherwise.
const INTERVAL: Duration = Duration::from_secs(1);
const INTERVAL_MIN: Duration = Duration::from_millis(100);
const INTERVAL_MAX: Duration = Duration::from_secs(30);
/// The longest that a call may take.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Tells how much of its machine the node uses.
pub(super) type LoadSource = Arc<dyn Fn() -> Load + Send + Sync>;

pub(super) struct Heart {
    pub(super) link: Arc<Link>,
    pub(super) views: Arc<Views>,
    pub(super) identity: NodeIdentity,
    pub(super) families: Arc<ControlFamilies>,
    pub(super) load: LoadSource,
    /// Told apart from earlier starts.
    pub(super) incarnation: u64,
}

impl Heart {
    /// Beats until `stop`.
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut turn = 0;
        let mut leader: Option<Address> = None;
        let mut announced = false;
        let mut interval = INTERVAL;
        loop {
            let target = leader.take().or_else(|| self.link.members(turn).into_iter().next());
            let Some(target) = target else { return };
            let beating = self.beat(&target, &mut announced);
            let Some(beaten) = stop.run_until_cancelled(beating).await else { return };
            let pause = match beaten {
                Ok(answer) => {
                    self.families.heartbeats.inc();
                    announced = announced && !answer.announce;
                    interval = heartbeat_interval(answer.heartbeat_interval_duration);
                    leader = Some(target);
                    interval
                }
                Err(fault) => {
                    tracing::debug!(%target, %fault, "a heartbeat was not taken");
                    turn += 1;
                    // Whoever does not lead knows who does.
                    leader = Address::parse(&fault.hint).ok().filter(|_| fault.code == ErrorCode::NotLeader);
                    if leader.is_some() { Duration::ZERO } else { interval.min(INTERVAL) }
                }
            };
            if stop.run_until_cancelled(tokio::time::sleep(jittered(pause))).await.is_none() {
                return;
            }
        }
    }

    async fn beat(&self, target: &Address, announced: &mut bool) -> Result<pb::HeartbeatResponse, Fault> {
        let unreachable = || Fault::new(ErrorCode::Unavailable, "not an address that can be called");
        let mut client = self.link.client(target).ok_or_else(unreachable)?;
        if !*announced {
            let mut request = tonic::Request::new(pb::AnnounceRequest {
                rpc_address: self.identity.rpc.to_string(),
                listen: self.identity.http.to_string(),
                admin_listen: String::new(),
                datacenter: self.identity.datacenter.to_string(),
                version: self.identity.version.clone(),
                incarnation: self.incarnation,
            });
            request.set_timeout(TIMEOUT * 2);
            client.announce(request).await.map_err(|status| Fault::of_status(&status))?;
            *announced = true;
        }
        let mut request = tonic::Request::new(self.report());
        request.set_timeout(TIMEOUT);
        let answer = client.heartbeat(request).await.map_err(|status| Fault::of_status(&status))?;
        Ok(answer.into_inner())
    }

    fn report(&self) -> pb::HeartbeatRequest {
        let load = (self.load)();
        let view = self.views.current();
        let facts = self.link.credentials.current();
        let end_s = facts.facts().end_s;
        pb::HeartbeatRequest {
            incarnation: self.incarnation,
            synced_epoch: load.synced_epoch,
            revision: view.map_or(0, |view| view.revision().get()),
            disk_bytes: load.disk_bytes,
            disk_free_bytes: load.disk_free_bytes,
            store_bytes: load.store_bytes,
            version_count: load.version_count,
            requests_per_second: load.requests_per_second,
            requests_in_flight: load.requests_in_flight,
            bytes_left: load.bytes_left,
            certificate_expire_time: Some(prost_types::Timestamp { seconds: end_s, nanos: 0 }),
            alarms: Vec::new(),
            version: self.identity.version.clone(),
        }
    }
}

fn heartbeat_interval(said: Option<prost_types::Duration>) -> Duration {
    let said = said.and_then(|said| Duration::try_from(said).ok());
    said.map_or(INTERVAL, |said| said.clamp(INTERVAL_MIN, INTERVAL_MAX))
}

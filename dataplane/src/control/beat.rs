//! Saying that this node lives, where it is and how far it has come: once a second, to the leader.
//!
//! Invariant: no heartbeat waits for the disk. A node whose disk hangs lives, and serves what it has in memory.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cluster::Address;
use gomod::{H1, ModulePath, ModuleVersion, Version};
use proto::node::v1 as pb;
use proto::{ErrorCode, Fault};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::join::NodeIdentity;
use super::link::Link;
use super::metrics::ControlFamilies;
use super::views::Views;
use super::{Holdings, Load, Verdict, follow::jittered};

/// Between two heartbeats, unless the leader says otherwise.
const INTERVAL: Duration = Duration::from_secs(1);
const INTERVAL_MIN: Duration = Duration::from_millis(100);
const INTERVAL_MAX: Duration = Duration::from_secs(30);
/// The longest that a call may take.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The longest that a heartbeat waits for what the store says; it takes microseconds.
const LOAD_TIMEOUT: Duration = Duration::from_millis(200);

/// What the store says of itself. It may have to wait, while the database is opened again or for a disk that hangs: it is
/// asked on a thread of its own, once at a time, and what it said last counts until it answers.
struct Loads {
    holdings: Arc<dyn Holdings>,
    asked: Option<JoinHandle<Load>>,
    last: Load,
}

impl Loads {
    fn new(holdings: Arc<dyn Holdings>) -> Self {
        Self { holdings, asked: None, last: Load::default() }
    }

    async fn next(&mut self) -> Load {
        let holdings = &self.holdings;
        let asked = self.asked.get_or_insert_with(|| {
            let holdings = Arc::clone(holdings);
            tokio::task::spawn_blocking(move || holdings.load())
        });
        let answered = tokio::time::timeout(LOAD_TIMEOUT, asked).await;
        if let Ok(answered) = answered {
            self.asked = None;
            if let Ok(load) = answered {
                self.last = load;
            }
        } else {
            tracing::debug!("the store does not say how it is; the leader hears what it said last");
        }
        self.last.clone()
    }
}

/// How far this node has come with saying where it is.
#[derive(Debug, Default)]
struct Announcing {
    /// The cluster knows it.
    is_done: bool,
    /// Why it was refused, as the log has it.
    told: Option<String>,
}

impl Announcing {
    /// It was refused. Tells whether to say so: once, until it is refused for another reason.
    fn refused(&mut self, fault: &Fault) -> bool {
        let is_news = is_for_what_it_says(fault.code) && self.told.as_ref() != Some(&fault.message);
        if is_news {
            self.told = Some(fault.message.clone());
        }
        is_news
    }

    /// It was taken. Tells whether it was said before that it was refused.
    fn taken(&mut self) -> bool {
        self.is_done = true;
        self.told.take().is_some()
    }
}

/// Whether an announcement is refused for what it says. Else it is made to one that does not lead, or cannot agree on anything now; or
/// the node is not in the cluster, which following it tells.
fn is_for_what_it_says(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::AlreadyExists | ErrorCode::InvalidArgument)
}

pub(super) struct Heart {
    pub(super) link: Arc<Link>,
    pub(super) views: Arc<Views>,
    pub(super) identity: NodeIdentity,
    pub(super) families: Arc<ControlFamilies>,
    pub(super) holdings: Arc<dyn Holdings>,
    /// Told apart from earlier starts.
    pub(super) incarnation: u64,
}

impl Heart {
    /// Beats until `stop`.
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut turn = 0;
        let mut leader: Option<Address> = None;
        let mut announcing = Announcing::default();
        let mut interval = INTERVAL;
        let mut loads = Loads::new(Arc::clone(&self.holdings));
        loop {
            let target = leader.take().or_else(|| self.link.members(turn).into_iter().next());
            let Some(target) = target else { return };
            let beating = self.beat(&target, &mut announcing, &mut loads);
            let Some(beaten) = stop.run_until_cancelled(beating).await else { return };
            let pause = match beaten {
                Ok(answer) => {
                    self.families.heartbeats.inc();
                    announcing.is_done &= !answer.announce;
                    interval = heartbeat_interval(answer.heartbeat_interval_duration);
                    self.hear(answer.verdicts);
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

    async fn beat(
        &self,
        target: &Address,
        announcing: &mut Announcing,
        loads: &mut Loads,
    ) -> Result<pb::HeartbeatResponse, Fault> {
        let unreachable = || Fault::new(ErrorCode::Unavailable, "not an address that can be called");
        let mut client = self.link.client(target).ok_or_else(unreachable)?;
        if !announcing.is_done {
            let mut request = tonic::Request::new(pb::AnnounceRequest {
                rpc_address: self.identity.rpc.to_string(),
                listen: self.identity.http.to_string(),
                datacenter: self.identity.datacenter.to_string(),
                version: self.identity.version.clone(),
                incarnation: self.incarnation,
            });
            request.set_timeout(TIMEOUT * 2);
            if let Err(status) = client.announce(request).await {
                let fault = Fault::of_status(&status);
                if announcing.refused(&fault) {
                    tracing::warn!(
                        http = %self.identity.http,
                        rpc = %self.identity.rpc,
                        reason = %fault,
                        "the cluster does not take this node at its addresses, and does without it: start it with others by \
                         --listen and --rpc-listen, or say by --advertise and --rpc-advertise where it is reached"
                    );
                }
                return Err(fault);
            }
            if announcing.taken() {
                tracing::info!("the cluster has taken this node at its addresses");
            }
        }
        let mut request = tonic::Request::new(self.report(&loads.next().await));
        request.set_timeout(TIMEOUT);
        let answer = client.heartbeat(request).await.map_err(|status| Fault::of_status(&status))?;
        Ok(answer.into_inner())
    }

    fn report(&self, load: &Load) -> pb::HeartbeatRequest {
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
            alarms: alarms(load),
            version: self.identity.version.clone(),
            staged: load.staged.iter().map(|(version, zip_h1)| staged(version, *zip_h1)).collect(),
        }
    }

    /// Passes on what became of versions that wait; what makes no sense is left out.
    fn hear(&self, verdicts: Vec<pb::StagedVerdict>) {
        for told in verdicts {
            let verdict = match told.verdict() {
                pb::BindingVerdict::Bound => {
                    Verdict::Bound { since_us: told.publish_time.map_or(0, super::time_us) }
                }
                pb::BindingVerdict::Other => Verdict::Other,
                pb::BindingVerdict::Unbound => Verdict::Unbound,
                pb::BindingVerdict::Unspecified => continue,
            };
            if let Some((version, zip_h1)) = told.staged.as_ref().and_then(of_staged) {
                self.holdings.told(version, zip_h1, verdict);
            }
        }
    }
}

/// What is wrong, in the words of the control plane.
fn alarms(load: &Load) -> Vec<String> {
    let codes = [(load.disk_unwritable, "disk-unwritable"), (load.disk_slow, "disk-slow")];
    codes.into_iter().filter(|(raised, _)| *raised).map(|(_, code)| code.to_owned()).collect()
}

fn staged(version: &ModuleVersion, zip_h1: H1) -> pb::StagedVersion {
    pb::StagedVersion {
        module_path: version.module.to_string(),
        version: version.version.to_string(),
        zip_h1: Bytes::copy_from_slice(zip_h1.as_bytes()),
    }
}

fn of_staged(staged: &pb::StagedVersion) -> Option<(ModuleVersion, H1)> {
    let module = ModulePath::parse(&staged.module_path).ok()?;
    let version = ModuleVersion::new(module, Version::parse(&staged.version).ok()?).ok()?;
    Some((version, H1::from_bytes(staged.zip_h1.as_ref().try_into().ok()?)))
}

fn heartbeat_interval(said: Option<prost_types::Duration>) -> Duration {
    let said = said.and_then(|said| Duration::try_from(said).ok());
    said.map_or(INTERVAL, |said| said.clamp(INTERVAL_MIN, INTERVAL_MAX))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::mpsc::{Receiver, channel};

    use parking_lot::Mutex;

    use super::*;

    /// Answers each question once it may, with how many were asked.
    struct Slow {
        asked: AtomicU64,
        may_answer: Mutex<Receiver<()>>,
    }

    impl Holdings for Slow {
        fn load(&self) -> Load {
            let version_count = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
            self.may_answer.lock().recv().expect("the test goes on");
            Load { version_count, ..Load::default() }
        }

        fn told(&self, _: ModuleVersion, _: H1, _: Verdict) {}
    }

    async fn tells(loads: &mut Loads, count: u64) -> bool {
        for _ in 0..100 {
            if loads.next().await.version_count == count {
                return true;
            }
        }
        false
    }

    #[test]
    fn a_refusal_of_the_addresses_is_told_once_and_of_what_passes_never() {
        let mut announcing = Announcing::default();
        let taken = |by: &str| Fault::new(ErrorCode::AlreadyExists, format!("node {by} has address a:1"));
        assert!(announcing.refused(&taken("data-1")));
        for passing in [ErrorCode::NotLeader, ErrorCode::NoQuorum, ErrorCode::Unavailable] {
            assert!(!announcing.refused(&Fault::new(passing, "not now")), "{passing}");
        }
        assert!(!announcing.refused(&taken("data-1")), "it is said already");
        assert!(announcing.refused(&taken("data-2")), "another reason");
        assert!(announcing.taken() && announcing.is_done);
        assert!(!announcing.taken(), "nothing was refused since");
        assert!(announcing.refused(&taken("data-2")), "anew");
        // Who was removed is told so by those whom it follows.
        let removed = Fault::new(ErrorCode::PermissionDenied, "node data-1 does not belong to the cluster");
        assert!(!Announcing::default().refused(&removed));
    }

    #[tokio::test]
    async fn a_disk_that_hangs_holds_up_no_heartbeat_and_is_asked_once() {
        let (answer, may_answer) = channel();
        let slow = Arc::new(Slow { asked: AtomicU64::new(0), may_answer: Mutex::new(may_answer) });
        let mut loads = Loads::new(Arc::clone(&slow) as Arc<dyn Holdings>);
        answer.send(()).expect("it is asked");
        assert!(tells(&mut loads, 1).await);
        for _ in 0..3 {
            assert_eq!(loads.next().await.version_count, 1, "what it said last");
        }
        assert_eq!(slow.asked.load(Ordering::SeqCst), 2);
        answer.send(()).expect("it is asked");
        assert!(tells(&mut loads, 2).await);
    }
}

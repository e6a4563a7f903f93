//! Many data nodes in this process: each joins with a token, has a certificate of its own, announces itself, beats and follows the
//! records as a real one does. They keep nothing and serve nothing: what they are there for is what they cost the control plane.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cluster::{Key, Record};
use proto::control::v1::AddNodeRequest;
use proto::control::v1::node_service_client::NodeServiceClient;
use proto::join::v1::JoinNodeRequest;
use proto::join::v1::join_service_client::JoinServiceClient;
use proto::node::v1 as pb;
use proto::node::v1::node_agent_service_client::NodeAgentServiceClient;
use proto::node::v1::watch_records_response::Event;
use proto::{ErrorCode, Fault};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::runtime::Runtime;
use tokio::task::{JoinHandle, JoinSet};
use tonic::transport::Channel;

use crate::chance::Chance;
use crate::operator::{Operator, options};
use crate::{dial, rpc};

/// Nodes that join at the same time.
const JOINING: usize = 16;
/// Between two heartbeats, as the control plane asks for.
const INTERVAL: Duration = Duration::from_secs(1);
/// Longest that a call of a node may take.
const TIMEOUT: Duration = Duration::from_secs(4);
/// After a call or a stream that failed.
const PAUSE: Duration = Duration::from_millis(100);

/// The nodes. They go when this is dropped.
pub struct Fleet {
    nodes: Vec<Arc<Mutex<Seen>>>,
    tasks: Vec<JoinHandle<()>>,
}

/// What a node knows of the layout, and since when.
#[derive(Clone, Copy, Debug)]
struct Seen {
    epoch: u64,
    at: Instant,
    revision: u64,
}

impl Fleet {
    /// Has so many nodes join, left out of the layout until one is applied, and lets them live.
    pub fn join(
        runtime: &Runtime,
        operator: &Operator,
        authorities: &str,
        servers: &[SocketAddr],
        count: usize,
    ) -> Self {
        let joined = {
            let _inside = runtime.enter();
            let channel = dial::channel(servers[0], dial::operator_tls(authorities));
            let (operator, authorities) = (operator.clone(), Arc::from(authorities));
            runtime.block_on(join_all(Entrance { operator, authorities, server: servers[0], channel }, count))
        };
        let (mut nodes, mut tasks) = (Vec::new(), Vec::new());
        for (number, tls) in joined.into_iter().enumerate() {
            let _inside = runtime.enter();
            let channels: Vec<_> =
                servers.iter().map(|server| (*server, dial::channel(*server, tls.clone()))).collect();
            let seen = Arc::new(Mutex::new(Seen { epoch: 0, at: Instant::now(), revision: 0 }));
            nodes.push(seen.clone());
            tasks.push(runtime.spawn(follow(channels.clone(), seen.clone())));
            tasks.push(runtime.spawn(beat(channels, number, seen)));
        }
        Self { nodes, tasks }
    }

    /// When the last node took up the layout of this epoch; `None` while one has not.
    pub fn all_at(&self, epoch: u64) -> Option<Instant> {
        let seen = self.nodes.iter().map(|node| *node.lock().expect("a node that lives"));
        let reached: Option<Vec<Instant>> =
            seen.map(|seen| (seen.epoch == epoch).then_some(seen.at)).collect();
        reached?.into_iter().max()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// A name that no other node has.
pub fn name(number: usize) -> String {
    format!("fleet-{number}")
}

type Tls = Arc<rustls::ClientConfig>;

/// Where nodes join.
#[derive(Clone)]
struct Entrance {
    operator: Operator,
    authorities: Arc<str>,
    server: SocketAddr,
    channel: Channel,
}

async fn join_all(entrance: Entrance, count: usize) -> Vec<Tls> {
    let mut joining = JoinSet::new();
    let mut joined = Vec::new();
    for number in 0..count {
        if joining.len() >= JOINING {
            joined.push(joining.join_next().await.expect("a node that joins").expect("it has joined"));
        }
        joining.spawn(join(entrance.clone(), number));
    }
    joined.extend(joining.join_all().await);
    joined.sort_by_key(|(number, _)| *number);
    joined.into_iter().map(|(_, tls)| tls).collect()
}

async fn join(entrance: Entrance, number: usize) -> (usize, Tls) {
    let Entrance { operator, authorities, server, channel } = entrance;
    let name = name(number);
    let request = AddNodeRequest {
        options: options(&format!("add-{name}"), ""),
        name: name.clone(),
        zone: format!("zone-{}", number % 3),
        no_apply: true,
        ..AddNodeRequest::default()
    };
    let added = operator.call(0, request, rpc!(NodeServiceClient::add_node)).await.expect("a node is added");
    let key = KeyPair::generate().expect("generate a key");
    let mut wanted = CertificateParams::default();
    // All that is taken from it is the key; who asks for more is refused.
    wanted.distinguished_name = DistinguishedName::new();
    let wanted = wanted.serialize_request(&key).expect("a certification request");
    let request = JoinNodeRequest {
        secret: secret(&added.join_token).into(),
        name,
        certificate_request: wanted.der().to_vec().into(),
        rpc_address: address(number, 8083),
        listen: address(number, 8081),
        datacenter: "default".to_owned(),
        version: "0.1.0".to_owned(),
    };
    let answer = JoinServiceClient::new(channel).join_node(request).await.expect("a node joins").into_inner();
    let chain = answer.credentials.expect("credentials").certificate_chain;
    let chain = chain.into_iter().map(|der| CertificateDer::from(der.to_vec())).collect();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let tls = dial::process_tls(&authorities, chain, key);
    // Before anybody follows: that each of a thousand hears of each other one is not what is looked at.
    let mut agent = NodeAgentServiceClient::new(dial::channel(server, tls.clone()));
    agent.announce(timed(announcement(number))).await.expect("a node says where it is");
    (number, tls)
}

fn address(number: usize, port: u16) -> String {
    format!("{}.example:{port}", name(number))
}

/// The secret in a join token: the last but one field, of 32 bytes.
fn secret(token: &str) -> Vec<u8> {
    let text = token.strip_prefix("gpj1.").expect("a join token");
    let bytes = URL_SAFE_NO_PAD.decode(text).expect("base64");
    bytes[bytes.len() - 64..bytes.len() - 32].to_vec()
}

type Channels = Vec<(SocketAddr, Channel)>;

/// Follows the first control node that lets it, as a real node does: all of them begin with the same one.
async fn follow(channels: Channels, seen: Arc<Mutex<Seen>>) {
    for (_, channel) in channels.iter().cycle() {
        let mut client = NodeAgentServiceClient::new(channel.clone());
        let after_revision = seen.lock().expect("a node that lives").revision;
        let request = pb::WatchRecordsRequest { after_revision };
        if let Ok(stream) = client.watch_records(request).await {
            let mut stream = stream.into_inner();
            while let Ok(Some(told)) = stream.message().await {
                take(told.event, &mut seen.lock().expect("a node that lives"));
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn take(event: Option<Event>, seen: &mut Seen) {
    let (revision, records) = match event {
        Some(Event::Changes(changes)) => (Some(changes.revision), changes.puts),
        Some(Event::ResyncPart(part)) => (None, part.records),
        Some(Event::ResyncEnd(end)) => (Some(end.revision), Vec::new()),
        Some(Event::ResyncBegin(_) | Event::Bookmark(_)) | None => return,
    };
    let key = Key::Transition.encode();
    for record in records.iter().filter(|record| record.key == key) {
        let Ok(Record::Transition(transition)) = Record::decode(&record.key, &record.value) else {
            panic!("no transition: {record:?}");
        };
        (seen.epoch, seen.at) = (transition.current.get(), Instant::now());
    }
    seen.revision = revision.unwrap_or(seen.revision);
}

/// Says that it lives, to whoever leads.
async fn beat(channels: Channels, number: usize, seen: Arc<Mutex<Seen>>) {
    let mut chance = Chance::new(number as u64);
    let mut at = 0;
    loop {
        let mut client = NodeAgentServiceClient::new(channels[at].1.clone());
        let pause = match client.heartbeat(timed(heartbeat(&seen))).await {
            Ok(_) => INTERVAL.mul_f64(0.75 + chance.below(500) as f64 / 1_000.0),
            Err(status) => {
                let fault = Fault::of_status(&status);
                let leader = channels.iter().position(|(address, _)| address.to_string() == fault.hint);
                let named = leader.filter(|_| fault.code == ErrorCode::NotLeader);
                at = named.unwrap_or((at + 1) % channels.len());
                if named.is_some() { Duration::ZERO } else { PAUSE }
            }
        };
        tokio::time::sleep(pause).await;
    }
}

fn timed<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(TIMEOUT);
    request
}

fn announcement(number: usize) -> pb::AnnounceRequest {
    pb::AnnounceRequest {
        rpc_address: address(number, 8083),
        listen: address(number, 8081),
        version: "0.1.0".to_owned(),
        incarnation: 1,
        ..pb::AnnounceRequest::default()
    }
}

fn heartbeat(seen: &Mutex<Seen>) -> pb::HeartbeatRequest {
    let seen = *seen.lock().expect("a node that lives");
    pb::HeartbeatRequest {
        incarnation: 1,
        synced_epoch: seen.epoch,
        revision: seen.revision,
        disk_bytes: 1 << 40,
        disk_free_bytes: 1 << 39,
        version: "0.1.0".to_owned(),
        ..pb::HeartbeatRequest::default()
    }
}

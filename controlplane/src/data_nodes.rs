//! The data nodes as a control node calls them, for operators: where they are, and channels to them, each of which accepts that
//! very node and no other.
//!
//! Nothing that clients ask for passes through here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster::{Address, NodeName, Slot};
use common::clock::Clock;
use futures_util::StreamExt as _;
use identity::{ClientTls, Connector, Expect, HotCredentials, KeepAlive};
use parking_lot::Mutex;
use proto::data::v1::store_service_client::StoreServiceClient;
use proto::limits::MESSAGE_BYTES_MAX;
use proto::{ErrorCode, Fault};
use tonic::transport::Channel;
use tonic::{Response, Status};

use crate::placement;
use crate::truth::Shared;

/// Connecting, handshake included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A connection on which nothing is heard for so long is asked, and given up when it does not answer in time.
const KEEP_ALIVE: KeepAlive = KeepAlive { interval: Duration::from_secs(5), timeout: Duration::from_secs(5) };
/// Nodes asked at a time.
const AT_ONCE: usize = 32;

/// Calls what a data node does with its store.
pub(crate) type StoreClient = StoreServiceClient<Channel>;

/// What became of a call to a node.
pub(crate) type Told<T> = (NodeName, Result<T, Fault>);

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct DataNodes {
    shared: Shared,
    credentials: Arc<HotCredentials>,
    clock: Arc<dyn Clock>,
    channels: Mutex<BTreeMap<NodeName, (Address, Channel)>>,
}

impl DataNodes {
    /// Channels with these credentials, to the nodes that `shared` tells of.
    pub(crate) fn new(shared: Shared, credentials: Arc<HotCredentials>, clock: Arc<dyn Clock>) -> Self {
        Self { shared, credentials, clock, channels: Mutex::default() }
    }

    /// Those that belong to the cluster, by name, whether they are up or not.
    pub(crate) fn names(&self) -> Vec<NodeName> {
        self.shared.read(|state| {
            let nodes = state.tables().nodes.values();
            nodes.filter(|node| node.state.is_admitted()).map(|node| node.name.clone()).collect()
        })
    }

    /// Those of these names, or all if there are none. A name of no node is refused.
    pub(crate) fn chosen(&self, names: &[String]) -> Result<Vec<NodeName>, Fault> {
        let all = self.names();
        if names.is_empty() {
            return Ok(all);
        }
        let find = |name: &String| {
            all.iter().find(|node| node.as_str() == name).cloned().ok_or_else(|| {
                Fault::new(ErrorCode::NotFound, format!("there is no node {name}"))
                    .hint("`goproxyctl node list` shows those that there are")
            })
        };
        names.iter().map(find).collect()
    }

    /// Who may be asked about a module, who is to hold it first.
    pub(crate) fn near(&self, module: &str) -> Vec<NodeName> {
        let mut near: Vec<NodeName> = self.shared.read(|state| {
            let layout = placement::current(state.tables());
            layout.map(|layout| layout.replicas(Slot::of(module)).to_vec()).unwrap_or_default()
        });
        for name in self.names() {
            if !near.contains(&name) {
                near.push(name);
            }
        }
        near
    }

    /// Talks to a node; a fault where it is known to be down, or has said nowhere that it listens.
    pub(crate) fn client(&self, name: &NodeName) -> Result<StoreClient, Fault> {
        let away = |why: &str| Fault::new(ErrorCode::Unavailable, format!("node {name} {why}"));
        let node = self.shared.read(|state| state.tables().nodes.get(name).cloned());
        let node = node.filter(|node| node.state.is_admitted()).ok_or_else(|| away("is gone"))?;
        if node.state.is_away() {
            return Err(away("is down"));
        }
        let address = node.addresses.ok_or_else(|| away("has not said where it listens"))?.rpc;
        let mut channels = self.channels.lock();
        let known = channels.get(name).filter(|(at, _)| *at == address).map(|(_, channel)| channel.clone());
        let channel = if let Some(channel) = known {
            channel
        } else {
            let expect = Expect::Node(name.clone());
            let tls = ClientTls::Process { credentials: Arc::clone(&self.credentials), expect };
            let connector = Connector::new(tls, Arc::clone(&self.clock), CONNECT_TIMEOUT);
            let channel = connector
                .kept_alive(address.as_str(), KEEP_ALIVE)
                .map_err(|error| away(&format!("has a bad address: {error}")))?;
            channels.insert(name.clone(), (address, channel.clone()));
            channel
        };
        let client = StoreServiceClient::new(channel);
        Ok(client.max_decoding_message_size(MESSAGE_BYTES_MAX).max_encoding_message_size(MESSAGE_BYTES_MAX))
    }

    /// Asks a node, until `deadline`.
    pub(crate) async fn ask<T, F>(
        &self,
        name: &NodeName,
        deadline: Instant,
        call: impl FnOnce(StoreClient) -> F,
    ) -> Result<T, Fault>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let answer = tokio::time::timeout_at(deadline.into(), call(self.client(name)?)).await;
        match answer {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(Fault::of_status(&status)),
            Err(_) => Err(Fault::new(ErrorCode::Deadline, format!("node {name} did not answer in time"))),
        }
    }

    /// Asks several nodes at once, until `deadline`; in the order in which they are named. None waits for another one that is slow, unless
    /// very many are.
    pub(crate) async fn ask_all<T, F>(
        &self,
        names: Vec<NodeName>,
        deadline: Instant,
        call: impl Fn(StoreClient) -> F,
    ) -> Vec<Told<T>>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let asking = names.into_iter().enumerate().map(|(at, name)| {
            let call = &call;
            async move {
                let told = self.ask(&name, deadline, call).await;
                (at, (name, told))
            }
        });
        let answers = futures_util::stream::iter(asking).buffer_unordered(AT_ONCE);
        let mut all: Vec<(usize, Told<T>)> = answers.collect().await;
        all.sort_by_key(|(at, _)| *at);
        all.into_iter().map(|(_, told)| told).collect()
    }
}

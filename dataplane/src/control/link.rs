//! Which control node to talk to: those of the view, else those known from joining; another one after each failure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cluster::Address;
use common::clock::Clock;
use identity::{ClientTls, Connector, Expect, HotCredentials, KeepAlive};
use parking_lot::Mutex;
use proto::limits::MESSAGE_BYTES_MAX;
use proto::node::v1::node_agent_service_client::NodeAgentServiceClient;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Status};

use super::views::Views;

/// Connecting, handshake included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A connection on which nothing is heard for so long is asked, and given up when it does not answer in time.
const KEEP_ALIVE: KeepAlive = KeepAlive { interval: Duration::from_secs(2), timeout: Duration::from_secs(3) };

/// What calls control nodes.
pub(super) type Client = NodeAgentServiceClient<InterceptedService<Channel, TellRecovery>>;

/// Says with each call how often the cluster was recovered, as this node knows: who was left behind is to refuse it.
#[derive(Clone, Debug)]
pub(super) struct TellRecovery(Arc<Views>);

impl Interceptor for TellRecovery {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let recovery = self.0.current().map_or(0, |view| view.cluster().recovery.get());
        proto::recovery::tell(request.metadata_mut(), recovery);
        Ok(request)
    }
}

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) credentials: Arc<HotCredentials>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) views: Arc<Views>,
    pub(super) joined_through: Vec<Address>,
    channels: Mutex<BTreeMap<Address, Channel>>,
}

impl Link {
    pub(super) fn new(
        credentials: Arc<HotCredentials>,
        clock: Arc<dyn Clock>,
        views: Arc<Views>,
        joined_through: Vec<Address>,
    ) -> Self {
        Self { credentials, clock, views, joined_through, channels: Mutex::default() }
    }

    /// Control nodes in the order in which to try them; the `turn`-th one first.
    pub(super) fn members(&self, turn: usize) -> Vec<Address> {
        let view = self.views.current();
        let known = view.iter().flat_map(|view| view.members().filter_map(|member| member.rpc.clone()));
        let mut all: Vec<Address> = known.collect();
        for address in &self.joined_through {
            if !all.contains(address) {
                all.push(address.clone());
            }
        }
        if !all.is_empty() {
            let first = turn % all.len();
            all.rotate_left(first);
        }
        self.channels.lock().retain(|address, _| all.contains(address));
        all
    }

    /// Talks to the control node at `address`, and to nobody who is none.
    pub(super) fn client(&self, address: &Address) -> Option<Client> {
        let mut channels = self.channels.lock();
        let channel = if let Some(channel) = channels.get(address) {
            channel.clone()
        } else {
            let tls =
                ClientTls::Process { credentials: Arc::clone(&self.credentials), expect: Expect::AnyMember };
            let connector = Connector::new(tls, Arc::clone(&self.clock), CONNECT_TIMEOUT);
            let channel = connector.kept_alive(address.as_str(), KEEP_ALIVE).ok()?;
            channels.insert(address.clone(), channel.clone());
            channel
        };
        let client = NodeAgentServiceClient::with_interceptor(channel, TellRecovery(Arc::clone(&self.views)));
        Some(client.max_decoding_message_size(MESSAGE_BYTES_MAX).max_encoding_message_size(MESSAGE_BYTES_MAX))
    }

    /// Connections were made with credentials that are no longer in use.
    pub(super) fn reconnect(&self) {
        self.channels.lock().clear();
    }
}

//! Modules for nodes that do not hold them. Only nodes of the cluster are answered.

use std::sync::Arc;

use cluster::{Epoch, NodeName};
use futures_util::{StreamExt as _, stream};
use gomod::{ModulePath, Request as Asked};
use identity::Caller;
use proto::data::v1 as pb;
use proto::data::v1::content_service_server::ContentService;
use proto::data::v1::get_response::Part;
use proto::{ErrorCode, Fault};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::answering::Answering;
use super::listing::{Listing, wanted};
use crate::client::{Client, spawn_for};
use crate::peers::{HELD_MAX, OFFER_MAX, Peers, of_name};
use crate::replicate::Wanted;
use crate::serve::{Asker, Mode, Proxy};
use crate::store::Store;
use crate::sumdb_relay::{PREFIX, SumRelay};

/// The longest path that is looked at.
const PATH_BYTES_MAX: usize = 2048;
/// Lists that are made at once.
const LISTS_MAX: usize = 2;
/// Versions that are taken at once from a node that ends.
const TAKEN_AT_ONCE: usize = 4;
/// Parts that wait for the connection to take them.
const PARTS_MAX: usize = 1;

/// See the head of this file.
pub struct Content {
    proxy: Arc<Proxy>,
    peers: Arc<Peers>,
    sums: Option<Arc<SumRelay>>,
    store: Arc<Store>,
    offers: mpsc::Sender<Wanted>,
    /// Lists that are made at once: each reads the whole store.
    lists: Arc<Semaphore>,
}

impl Content {
    /// Answers from `proxy` and `store`, and what is asked of the checksum database from `sums`; what is offered goes to `offers`, and
    /// `peers` knows who may ask.
    pub(crate) fn new(
        proxy: Arc<Proxy>,
        peers: Arc<Peers>,
        sums: Option<Arc<SumRelay>>,
        store: Arc<Store>,
        offers: mpsc::Sender<Wanted>,
    ) -> Self {
        let lists = Arc::new(Semaphore::new(LISTS_MAX));
        Self { proxy, peers, sums, store, offers, lists }
    }

    fn caller<T>(&self, request: &Request<T>) -> Result<NodeName, Status> {
        match request.extensions().get::<Caller>() {
            Some(Caller::Node(name)) if self.peers.knows(name) => Ok(name.clone()),
            Some(Caller::Node(name)) => {
                let why = format!(
                    "node {name} is not known here; it was removed, or this node has not heard of it yet"
                );
                Err(Fault::new(ErrorCode::PermissionDenied, why).into())
            }
            Some(Caller::Member(_) | Caller::Operator(_) | Caller::Anonymous) | None => {
                Err(Fault::new(ErrorCode::Unauthenticated, "only nodes of the cluster are answered here")
                    .into())
            }
        }
    }

    /// Takes copies of `versions` from a node that is about to end, as far as they can be had.
    async fn take(&self, versions: &[pb::VersionName], from: &NodeName) -> pb::OfferVersionsResponse {
        let wanted = versions.iter().take(OFFER_MAX).filter_map(of_name);
        let wanted = wanted.filter(|version| self.peers.holds(&version.module));
        stream::iter(wanted)
            .for_each_concurrent(TAKEN_AT_ONCE, async |version| {
                if let Err(error) = self.proxy.take_copies(&version, from).await {
                    tracing::debug!(node = %from, %error, "a copy was not taken");
                }
            })
            .await;
        pb::OfferVersionsResponse { accepted_count: versions.len().min(OFFER_MAX) as u32 }
    }

    /// Whether the slot is another node's by a layout that the asking node does not know.
    fn has_moved(&self, asked: &Asked, request: &pb::GetRequest) -> bool {
        !request.cached_only
            && Epoch::new(request.layout_epoch) < self.peers.epoch()
            && !self.peers.route(asked.module()).fetchers.is_empty()
    }
}

#[tonic::async_trait]
impl ContentService for Content {
    type GetStream = ReceiverStream<Result<pb::GetResponse, Status>>;
    type StreamHoldingsStream = ReceiverStream<Result<pb::StreamHoldingsResponse, Status>>;

    async fn greet(&self, request: Request<pb::GreetRequest>) -> Result<Response<pb::GreetResponse>, Status> {
        let from = self.caller(&request)?;
        let found = self.peers.greeted_by(&from).await;
        found.map_err(|error| Fault::new(ErrorCode::Unavailable, error.to_string()))?;
        Ok(Response::new(pb::GreetResponse { layout_epoch: self.peers.epoch().get() }))
    }

    async fn offer_versions(
        &self,
        request: Request<pb::OfferVersionsRequest>,
    ) -> Result<Response<pb::OfferVersionsResponse>, Status> {
        let from = self.caller(&request)?;
        let pb::OfferVersionsRequest { versions, waits } = request.into_inner();
        if waits {
            return Ok(Response::new(self.take(&versions, &from).await));
        }
        let mut accepted_count = 0;
        for name in versions.iter().take(OFFER_MAX) {
            // What is no version is not worth another offer.
            if let Some(version) = of_name(name)
                && self.peers.holds(&version.module)
                && self.offers.try_send(Wanted { version, from: from.clone() }).is_err()
            {
                break;
            }
            accepted_count += 1;
        }
        Ok(Response::new(pb::OfferVersionsResponse { accepted_count }))
    }

    async fn get_held_versions(
        &self,
        request: Request<pb::GetHeldVersionsRequest>,
    ) -> Result<Response<pb::GetHeldVersionsResponse>, Status> {
        let _caller = self.caller(&request)?;
        let invalid =
            |error: gomod::PathError| Status::from(Fault::new(ErrorCode::InvalidArgument, error.to_string()));
        let module = ModulePath::parse(&request.into_inner().module_path).map_err(invalid)?;
        let held = self.proxy.held_versions(&module).await.map_err(super::upkeep::refused)?;
        let highest = held.len().saturating_sub(HELD_MAX);
        let versions = held.iter().skip(highest).map(ToString::to_string).collect();
        Ok(Response::new(pb::GetHeldVersionsResponse { versions }))
    }

    async fn stream_holdings(
        &self,
        request: Request<pb::StreamHoldingsRequest>,
    ) -> Result<Response<Self::StreamHoldingsStream>, Status> {
        let _caller = self.caller(&request)?;
        let wanted = wanted(&request.into_inner())?;
        let (pages, stream) = mpsc::channel(PARTS_MAX);
        let (lists, store, peers) =
            (Arc::clone(&self.lists), Arc::clone(&self.store), Arc::clone(&self.peers));
        tokio::spawn(async move {
            let left = pages.clone();
            let listing = async {
                let listing = Listing { store, places: lists, pages };
                match listing.differing(wanted).await {
                    Ok((slots, alike)) => {
                        peers.families().compared("alike", alike);
                        peers.families().compared("listed", slots.len());
                        listing.list(slots).await;
                    }
                    Err(error) => listing.refuse(&error).await,
                }
            };
            tokio::select! {
                () = left.closed() => {}
                () = listing => {}
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn get(&self, request: Request<pb::GetRequest>) -> Result<Response<Self::GetStream>, Status> {
        let _caller = self.caller(&request)?;
        let request = request.into_inner();
        let invalid = |why: &str| Status::from(Fault::new(ErrorCode::InvalidArgument, why.to_owned()));
        if request.path.len() > PATH_BYTES_MAX {
            return Err(invalid("the path is too long"));
        }
        let (parts, stream) = mpsc::channel(PARTS_MAX);
        let epoch = self.peers.epoch();
        let client = Client::from_bytes(&request.client);
        if let Some(path) = request.path.strip_prefix(PREFIX) {
            let Some(sums) = &self.sums else {
                let refusal =
                    pb::Refusal { reason: pb::RefusalReason::NotHeld.into(), ..pb::Refusal::default() };
                let _ = parts.try_send(Ok(pb::GetResponse { part: Some(Part::Refusal(refusal)) }));
                return Ok(Response::new(ReceiverStream::new(stream)));
            };
            let answering = Answering { proxy: Arc::clone(&self.proxy), epoch, asker: Asker::Node, parts };
            let relaying = answering.relay(Arc::clone(sums), path.to_owned(), request.cached_only);
            spawn_for(client, relaying);
            return Ok(Response::new(ReceiverStream::new(stream)));
        }
        let asked = Asked::parse(&request.path).map_err(|error| invalid(&error.to_string()))?;
        if self.has_moved(&asked, &request) {
            let refusal = pb::Refusal {
                reason: pb::RefusalReason::Moved.into(),
                layout_epoch: epoch.get(),
                ..pb::Refusal::default()
            };
            let part = pb::GetResponse { part: Some(Part::Refusal(refusal)) };
            // There is room for one.
            let _ = parts.try_send(Ok(part));
            return Ok(Response::new(ReceiverStream::new(stream)));
        }
        let mode = if request.cached_only { Mode::CachedOnly } else { Mode::Fetch };
        let asker = if request.to_keep { Asker::Keeper } else { Asker::Node };
        let answering = Answering { proxy: Arc::clone(&self.proxy), epoch, asker, parts };
        if let Some(answering) = answering.at_once(&asked) {
            spawn_for(client, answering.run(asked, request.path, mode, request.offset));
        }
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

//! The gRPC server of a data node.

use std::sync::Arc;
use std::time::Duration;

use common::clock::Clock;
use identity::{CallerLayer, HotCredentials, ListenLimits, accept};
use proto::data::v1::content_service_server::ContentServiceServer;
use proto::data::v1::store_service_server::StoreServiceServer;
use proto::limits::{CONTENT_MESSAGE_BYTES_MAX, MESSAGE_BYTES_MAX};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use super::content::Content;
use super::upkeep::Upkeep;

/// Answers under way on one connection: another node has one connection for all its clients.
const STREAMS_MAX: u32 = 4096;
/// A connection on which nothing is heard for so long is asked whether it lives.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a request's headers.
const HEADERS_BYTES_MAX: u32 = 16 * 1024;

/// Serves other nodes, and control nodes, on `listener` until `drain`; running answers finish within `drain_timeout`.
pub async fn serve(
    (content, upkeep): (Content, Upkeep),
    listener: TcpListener,
    credentials: Arc<HotCredentials>,
    clock: Arc<dyn Clock>,
    drain: CancellationToken,
    drain_timeout: Duration,
) -> Result<(), tonic::transport::Error> {
    let incoming = accept(listener, credentials, ListenLimits::default(), drain.clone());
    let service = ContentServiceServer::new(content)
        .max_decoding_message_size(CONTENT_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(CONTENT_MESSAGE_BYTES_MAX);
    let upkeep = StoreServiceServer::new(upkeep)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let serving = Server::builder()
        .layer(CallerLayer::new(clock))
        .http2_keepalive_interval(Some(KEEP_ALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
        .max_concurrent_streams(STREAMS_MAX)
        .http2_max_header_list_size(HEADERS_BYTES_MAX)
        .add_service(service)
        .add_service(upkeep)
        .serve_with_incoming_shutdown(incoming, drain.clone().cancelled_owned());
    let mut serving = std::pin::pin!(serving);
    tokio::select! {
        ended = &mut serving => ended,
        () = drain.cancelled() => {
            tokio::time::timeout(drain_timeout, serving).await.unwrap_or(Ok(()))
        }
    }
}

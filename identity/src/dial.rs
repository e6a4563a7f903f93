//! Connecting to a process: TCP, TLS, and only then a channel. For tonic's `connect_with_connector`.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use common::clock::Clock;
use http::Uri;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};
use tower::Service;

use crate::tls::{ALPN_H2, ClientTls, TlsError};

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The address is not `HOST:PORT`.
    #[error("{0:?} is no address of the form HOST:PORT")]
    Address(String),
    /// Nobody there answers.
    #[error("connect to {address}")]
    Connect {
        /// Who was called.
        address: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// What answers is not who should, or does not want us.
    #[error("agree on TLS with {address}")]
    Handshake {
        /// Who was called.
        address: String,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
    /// It speaks another protocol.
    #[error("{address} does not speak gRPC")]
    Protocol {
        /// Who was called.
        address: String,
    },
    /// Connecting and the handshake took too long.
    #[error("no connection to {address} within {timeout:?}")]
    Timeout {
        /// Who was called.
        address: String,
        /// How long was waited.
        timeout: Duration,
    },
    /// Our own side cannot speak TLS.
    #[error("prepare TLS")]
    Tls(#[from] TlsError),
}

/// A channel makes its connection only while somebody waits for it. Where they leave in the middle, it lies there half made until the next one comes,
/// and whoever is called has given it up by then: what has taken so much longer than it may is made anew.
const LATE_MIN: Duration = Duration::from_millis(250);

/// When a connection is asked whether it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    /// After so long a silence.
    pub interval: Duration,
    /// It is given up when it does not answer within this.
    pub timeout: Duration,
}

/// Where a channel leads. TLS is the connector's business; to tonic it looks like a plain connection.
fn endpoint(address: &str) -> Result<Endpoint, DialError> {
    let wrong = || DialError::Address(address.to_owned());
    let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
    port.parse::<u16>().map_err(|_| wrong())?;
    if host.is_empty() {
        return Err(wrong());
    }
    Endpoint::from_shared(format!("http://{address}")).map_err(|_| wrong())
}

/// Makes connections of one kind.
#[derive(Clone, Debug)]
pub struct Connector {
    tls: ClientTls,
    clock: Arc<dyn Clock>,
    timeout: Duration,
}

impl Connector {
    /// Connects as `tls` says, each time within `timeout`.
    pub fn new(tls: ClientTls, clock: Arc<dyn Clock>, timeout: Duration) -> Self {
        Self { tls, clock, timeout }
    }

    /// A channel to `address`, `HOST:PORT`, that connects when it is first used, and again after it was cut off.
    pub fn channel(self, address: &str) -> Result<Channel, DialError> {
        Ok(endpoint(address)?.connect_with_connector_lazy(self))
    }

    /// The same; a connection that is silent for long is asked whether it lives, also while nobody uses it.
    pub fn kept_alive(self, address: &str, keep_alive: KeepAlive) -> Result<Channel, DialError> {
        let endpoint = endpoint(address)?
            .http2_keep_alive_interval(keep_alive.interval)
            .keep_alive_timeout(keep_alive.timeout)
            .keep_alive_while_idle(true);
        Ok(endpoint.connect_with_connector_lazy(self))
    }

    /// One connection to `address`, `HOST:PORT`.
    pub async fn connect(&self, address: &str) -> Result<TlsStream<TcpStream>, DialError> {
        let begun = Instant::now();
        let made = self.connect_once(address).await;
        if begun.elapsed() <= self.timeout + LATE_MIN { made } else { self.connect_once(address).await }
    }

    async fn connect_once(&self, address: &str) -> Result<TlsStream<TcpStream>, DialError> {
        let connecting = self.connect_without_limit(address);
        tokio::time::timeout(self.timeout, connecting).await.unwrap_or_else(|_| {
            Err(DialError::Timeout { address: address.to_owned(), timeout: self.timeout })
        })
    }

    async fn connect_without_limit(&self, address: &str) -> Result<TlsStream<TcpStream>, DialError> {
        let config = self.tls.config(&self.clock)?;
        let host = address.rsplit_once(':').map(|(host, _)| host.trim_matches(['[', ']']).to_owned());
        let name = host.and_then(|host| ServerName::try_from(host).ok());
        let name = name.ok_or_else(|| DialError::Address(address.to_owned()))?;
        let connect = |source| DialError::Connect { address: address.to_owned(), source };
        let socket = TcpStream::connect(address).await.map_err(connect)?;
        socket.set_nodelay(true).map_err(connect)?;
        let stream = TlsConnector::from(config)
            .connect(name, socket)
            .await
            .map_err(|source| DialError::Handshake { address: address.to_owned(), source })?;
        if stream.get_ref().1.alpn_protocol() != Some(ALPN_H2) {
            return Err(DialError::Protocol { address: address.to_owned() });
        }
        Ok(stream)
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = DialError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, DialError>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move {
            let address = uri.authority().ok_or_else(|| DialError::Address(uri.to_string()))?;
            connector.connect(address.as_str()).await.map(TokioIo::new)
        })
    }
}

//! Accepting connections for the gRPC server: TLS first, then whoever is behind it, as a stream for `serve_with_incoming`.
//!
//! Handshakes run beside each other, each for a bounded time, so that a slow one holds up nobody. Nothing that is not TLS
//! gets through.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use rustls::ProtocolVersion;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

use crate::certificate::CertificateFacts;
use crate::peer::PeerIdentity;
use crate::tls::HotCredentials;

/// Connections that are through the handshake and wait for the server to take them.
const READY_MAX: usize = 64;

/// Pause after accept failed for want of descriptors, so that closing connections can free some.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How much a listener takes upon itself.
#[derive(Clone, Copy, Debug)]
pub struct ListenLimits {
    /// Time for a handshake.
    pub handshake_timeout: Duration,
    /// Handshakes under way; who comes then waits in the kernel until one ends.
    pub handshakes_max: usize,
    /// Connections open, those in their handshake included.
    pub connections_max: usize,
}

impl Default for ListenLimits {
    /// Room for a thousand nodes and their operators; a handshake takes a few milliseconds and two round trips.
    fn default() -> Self {
        Self { handshake_timeout: Duration::from_secs(5), handshakes_max: 256, connections_max: 4_096 }
    }
}

/// What is known of a connection; each request has it among its extensions.
#[derive(Clone, Debug)]
pub struct ConnectionInfo {
    /// Where it comes from.
    pub remote: SocketAddr,
    /// Who showed a certificate, if anybody did.
    pub peer: Option<Arc<PeerIdentity>>,
    /// When that certificate ends, in seconds since the Unix epoch.
    pub peer_end_s: Option<i64>,
}

/// A connection that is through its handshake.
#[derive(Debug)]
pub struct Connection {
    stream: TlsStream<TcpStream>,
    info: ConnectionInfo,
    _place: OwnedSemaphorePermit,
}

impl Connected for Connection {
    type ConnectInfo = ConnectionInfo;

    fn connect_info(&self) -> ConnectionInfo {
        self.info.clone()
    }
}

/// Connections for `serve_with_incoming`. It ends when the listener was told to stop.
#[derive(Debug)]
pub struct Incoming(mpsc::Receiver<Connection>);

impl Stream for Incoming {
    type Item = io::Result<Connection>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|connection| connection.map(Ok))
    }
}

/// Accepts on `listener` until `stop`, each connection with the credentials then in use.
pub fn accept(
    listener: TcpListener,
    credentials: Arc<HotCredentials>,
    limits: ListenLimits,
    stop: CancellationToken,
) -> Incoming {
    let (ready, incoming) = mpsc::channel(READY_MAX);
    let acceptor = Acceptor {
        credentials,
        timeout: limits.handshake_timeout,
        handshakes: Arc::new(Semaphore::new(limits.handshakes_max)),
        places: Arc::new(Semaphore::new(limits.connections_max)),
        ready,
    };
    tokio::spawn(async move {
        // Handshakes under way end with the listener.
        stop.run_until_cancelled(acceptor.run(listener, &stop)).await;
    });
    Incoming(incoming)
}

struct Acceptor {
    credentials: Arc<HotCredentials>,
    timeout: Duration,
    handshakes: Arc<Semaphore>,
    places: Arc<Semaphore>,
    ready: mpsc::Sender<Connection>,
}

impl Acceptor {
    async fn run(self, listener: TcpListener, stop: &CancellationToken) {
        loop {
            // Places first: whoever finds none waits in the kernel.
            let Ok(place) = Arc::clone(&self.places).acquire_owned().await else { return };
            let Ok(turn) = Arc::clone(&self.handshakes).acquire_owned().await else { return };
            let (socket, remote) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) if is_of_one_connection(&error) => continue,
                Err(error) => {
                    tracing::warn!(%error, "failed to accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let tls = TlsAcceptor::from(self.credentials.server_config());
            let (timeout, ready, stop) = (self.timeout, self.ready.clone(), stop.clone());
            tokio::spawn(async move {
                let handshake = tokio::time::timeout(timeout, handshake(tls, socket, remote));
                let outcome = stop.run_until_cancelled(handshake).await;
                drop(turn);
                match outcome {
                    Some(Ok(Ok((stream, info)))) => {
                        let _ = ready.send(Connection { stream, info, _place: place }).await;
                    }
                    Some(Ok(Err(error))) => tracing::debug!(%remote, %error, "TLS handshake failed"),
                    Some(Err(_)) => tracing::debug!(%remote, "TLS handshake took too long"),
                    None => {}
                }
            });
        }
    }
}

async fn handshake(
    tls: TlsAcceptor,
    socket: TcpStream,
    remote: SocketAddr,
) -> io::Result<(TlsStream<TcpStream>, ConnectionInfo)> {
    socket.set_nodelay(true)?;
    let stream = tls.accept(socket).await?;
    let session = stream.get_ref().1;
    let mut info = ConnectionInfo { remote, peer: None, peer_end_s: None };
    if let Some(certificate) = session.peer_certificates().and_then(<[_]>::first) {
        if session.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
            return Err(io::Error::other("TLS between processes is 1.3"));
        }
        // The handshake has verified it; this reads it once more.
        let peer = PeerIdentity::of_certificate(certificate).map_err(io::Error::other)?;
        info.peer = Some(Arc::new(peer));
        info.peer_end_s = Some(CertificateFacts::of(certificate).map_err(io::Error::other)?.end_s);
    }
    Ok((stream, info))
}

/// Errors that say something of the client that is gone already, not of the listener.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

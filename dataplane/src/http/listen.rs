//! Sockets: binding, accepting, TLS, telling HTTP/2 from HTTP/1.1, and draining.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use pages::Pages;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::{ConnectionState, Framing, H2_SEND_BYTES_MAX};
use super::inbound::RequestIds;
use super::metrics::HttpFamilies;
use super::observe::Observer;
use super::outlet::Outlet;
use super::places;
use super::reaper::{Reaper, TICK, Verdict};
use super::shortcut::{Desk, Shortcut};
use super::stack::{Entrance, Stack};
use super::streams::Streams;
use super::unread::Unread;
use super::watched::WatchedIo;
use crate::client::Client;

/// What waits in the kernel to be sent to one client. It takes more only when half of that is gone: with megabytes, as it would have them for a
/// balancer beside it, that takes a client of 40 KB/s longer than one may take nothing.
const UNSENT_BYTES_MAX: u32 = 512 * 1024;

/// Connections that the kernel may hold until we accept them.
const BACKLOG: i32 = 4096;
/// Bytes of a request head, its request line included. More is answered 431 (414 for the line alone).
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Header fields of a request.
const HEADERS_MAX: usize = 100;
/// Streams that one HTTP/2 connection may have open.
const H2_STREAMS_MAX: u32 = 250;
/// Streams reset before they were answered, after which an HTTP/2 connection is closed (rapid reset).
const H2_RESETS_MAX: usize = 200;
/// How often a quiet HTTP/2 connection is asked whether it lives, and how long it may take to say so.
const H2_PING: Duration = Duration::from_secs(30);
/// Pause after accept failed for want of descriptors, so that closing connections can free some.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Pauses between two looks at a connection that has begun as HTTP/2 begins.
const PEEK_PAUSE_MIN: Duration = Duration::from_millis(5);
const PEEK_PAUSE_MAX: Duration = Duration::from_secs(1);
/// How long connections that are broken off may take to be gone.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Binds a listening socket.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Gives the TLS settings for the next connection; they may change between two.
pub type TlsSource = Arc<dyn Fn() -> Arc<rustls::ServerConfig> + Send + Sync>;

/// What a listener needs.
pub struct Server {
    /// The request path.
    pub stack: Stack,
    /// Names requests.
    pub ids: Arc<RequestIds>,
    /// Counts and logs what never reaches the request path.
    pub observer: Arc<Observer>,
    /// TLS settings, where connections are encrypted.
    pub tls: Option<TlsSource>,
    /// Watches connections.
    pub reaper: Arc<Reaper>,
    /// Counts them.
    pub metrics: Arc<HttpFamilies>,
    /// Bounds them, over all listeners.
    pub permits: Arc<Semaphore>,
    /// Where content may be that can be sent without copying it.
    pub pages: Option<Arc<Pages>>,
    /// Answers at once what is in memory, where that needs no line in a log.
    pub desk: Option<Arc<Desk>>,
}

impl Server {
    /// Accepts on `listener` until `drain`, then lets running answers finish, at most `drain_timeout`.
    pub async fn run(
        self: Arc<Self>,
        listener: TcpListener,
        drain: CancellationToken,
        drain_timeout: Duration,
    ) {
        let connections = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = drain.cancelled() => break,
            };
            match accepted {
                Ok((stream, peer)) => {
                    // As long as this one has no place, those behind it wait in the kernel instead of being refused.
                    let place = places::place(&self.permits, &self.reaper, &self.metrics);
                    let Some(place) = drain.run_until_cancelled(place).await else { break };
                    let server = Arc::clone(&self);
                    let drain = drain.clone();
                    self.spawn_watched(&connections, Client::of(peer.ip()), |state| async move {
                        let _place = place;
                        server.connection(stream, peer, state, drain).await;
                    });
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "failed to accept a connection");
                    // Perhaps for want of descriptors: whoever does nothing with theirs must not keep out health checks.
                    if self.reaper.make_room() {
                        self.metrics.closed(Verdict::MadeRoom);
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        connections.close();
        if tokio::time::timeout(drain_timeout, connections.wait()).await.is_err() {
            tracing::warn!(
                connections = connections.len(),
                "answers still running at the end of the drain timeout; they are broken off"
            );
            self.reaper.close_all();
            // An aborted task ends where it next gives way; nobody waits longer for one that does not.
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, connections.wait()).await;
        }
    }

    fn spawn_watched<F>(
        self: &Arc<Self>,
        tracker: &TaskTracker,
        client: Client,
        serve: impl FnOnce(Arc<ConnectionState>) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let state = self.reaper.connection();
        let (tell, told) = tokio::sync::oneshot::channel();
        let serving = serve(Arc::clone(&state));
        let server = Arc::clone(self);
        let task = tracker.spawn(async move {
            let id = told.await.ok();
            server.metrics.connections.inc();
            let _open = Open { server, id };
            serving.await;
        });
        let _ = tell.send(self.reaper.watch(state, task.abort_handle(), client));
    }

    /// Closes slow clients until `stop`. Once for all listeners: a sweep is the tick of every time limit.
    pub async fn sweep(self: Arc<Self>, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(TICK);
        // Ticks of a time in which this process did not run are no time that clients have had.
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            self.reaper.sweep(|verdict| self.metrics.closed(verdict));
        }
    }

    async fn connection(
        self: Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        state: Arc<ConnectionState>,
        drain: CancellationToken,
    ) {
        let _ = stream.set_nodelay(true);
        let _ = socket2::SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_BYTES_MAX);
        // A connection that has not begun to ask is owed no answer when draining.
        let Some(tls) = &self.tls else {
            let Some(Ok(h2)) = drain.run_until_cancelled(speaks_h2(&stream)).await else { return };
            return self.serve(stream, peer, h2, state, drain).await;
        };
        match drain.run_until_cancelled(TlsAcceptor::from(tls()).accept(stream)).await {
            Some(Ok(stream)) => {
                let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                self.serve(stream, peer, h2, state, drain).await;
            }
            Some(Err(error)) => tracing::debug!(%peer, %error, "TLS handshake failed"),
            None => {}
        }
    }

    async fn serve<T>(
        self: Arc<Self>,
        stream: T,
        peer: SocketAddr,
        h2: bool,
        state: Arc<ConnectionState>,
        drain: CancellationToken,
    ) where
        T: Outlet,
    {
        let framing = if h2 { Framing::Frames } else { Framing::Lines };
        let entrance = Entrance {
            stack: self.stack.clone(),
            ids: Arc::clone(&self.ids),
            peer,
            tls: self.tls.is_some(),
            connection: Arc::clone(&state),
            framing,
        };
        let result = if h2 {
            let io = TokioIo::new(WatchedIo::new(stream, state, framing));
            let streams = Streams { patience: self.reaper.stall_time(), metrics: Arc::clone(&self.metrics) };
            let connection = http2::Builder::new(streams)
                .timer(TokioTimer::new())
                .max_concurrent_streams(H2_STREAMS_MAX)
                .max_send_buf_size(H2_SEND_BYTES_MAX)
                .max_header_list_size(HEAD_BYTES_MAX as u32)
                .max_pending_accept_reset_streams(H2_RESETS_MAX)
                .max_local_error_reset_streams(H2_RESETS_MAX)
                .keep_alive_interval(H2_PING)
                .keep_alive_timeout(H2_PING)
                .serve_connection(io, entrance);
            until_drained(connection, http2::Connection::graceful_shutdown, &drain).await
        } else {
            let io = WatchedIo::new(stream, Arc::clone(&state), framing).sending_from(self.pages.clone());
            let (observer, ids) = (Arc::clone(&self.observer), Arc::clone(&self.ids));
            let unread = Unread { observer, ids, peer, tls: self.tls.is_some() };
            let io = TokioIo::new(Shortcut::new(io, state, self.desk.clone(), unread));
            let connection = http1::Builder::new()
                // The reaper times heads; a timer per request would cost more than it tells.
                .header_read_timeout(None)
                .max_buf_size(HEAD_BYTES_MAX)
                .max_headers(HEADERS_MAX)
                .half_close(false)
                .serve_connection(io, entrance);
            until_drained(connection, http1::Connection::graceful_shutdown, &drain).await
        };
        if let Err(error) = result {
            tracing::debug!(%peer, %error, "connection ended");
        }
    }
}

/// Serves `connection` to its end; when draining, its end comes with that of the answers under way.
async fn until_drained<C: Future>(
    connection: C,
    shut_down: impl FnOnce(Pin<&mut C>),
    drain: &CancellationToken,
) -> C::Output {
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        biased;
        result = connection.as_mut() => result,
        () = drain.cancelled() => {
            shut_down(connection.as_mut());
            connection.await
        }
    }
}

/// Ends the watch on a connection, however its task ends.
struct Open {
    server: Arc<Server>,
    id: Option<u64>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.server.metrics.connections.dec();
        if let Some(id) = self.id {
            self.server.reaper.forget(id);
        }
    }
}

/// Whether a client that speaks plain text begins with HTTP/2's preface (RFC 9113 section 3.4), by peeking at as
/// many bytes as tell it from every HTTP/1.1 method.
async fn speaks_h2(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0u8; 4];
    let mut pause = PEEK_PAUSE_MIN;
    loop {
        let there = stream.peek(&mut first).await?;
        let seen = first.get(..there).unwrap_or_default();
        if there == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if !b"PRI ".starts_with(seen) {
            return Ok(false);
        }
        if seen.len() == first.len() {
            return Ok(true);
        }
        // A part of the preface: peek would return the same bytes at once, so wait a little for more, and longer
        // each time, since whoever stops there would have us look all day. The reaper bounds the whole.
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PEEK_PAUSE_MAX);
    }
}

/// Errors that say something of the client that is gone already, not of the listener.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

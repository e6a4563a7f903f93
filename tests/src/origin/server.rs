//! The origin's sockets: an accept thread, and a thread for each connection.

use super::answer::After;
use super::{Seen, Shared};
use crate::connection::Stream;
use crate::fault::Fault;
use crate::raw_http::{self, RequestHead};
use std::collections::HashMap;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// An idle connection is closed after this.
const IDLE: Duration = Duration::from_mins(1);

pub(super) struct Server {
    inner: Arc<Inner>,
    address: SocketAddr,
}

struct Inner {
    shared: Shared,
    tls: Option<Arc<rustls::ServerConfig>>,
    /// Set while the port is closed.
    down: AtomicBool,
    /// Copies of the open sockets, by connection number.
    connections: Mutex<HashMap<u64, TcpStream>>,
    next_connection: AtomicU64,
    base: String,
}

impl Server {
    pub(super) fn start(shared: Shared, tls: Option<Arc<rustls::ServerConfig>>, at: Ipv4Addr) -> Self {
        let listener = TcpListener::bind((at, 0)).expect("bind an address of this machine");
        let address = listener.local_addr().expect("local address");
        let base = match tls {
            Some(_) => format!("https://localhost:{}", address.port()),
            None => format!("http://{address}"),
        };
        let inner = Arc::new(Inner {
            shared,
            tls,
            down: AtomicBool::new(false),
            connections: Mutex::new(HashMap::new()),
            next_connection: AtomicU64::new(0),
            base,
        });
        accept(inner.clone(), listener);
        Self { inner, address }
    }

    pub(super) fn url(&self) -> String {
        self.inner.base.clone()
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn down(&self) {
        self.inner.down.store(true, Ordering::SeqCst);
        // Wakes the accept thread, which then drops the listener.
        drop(TcpStream::connect(self.address));
        for (_, connection) in self.inner.connections().drain() {
            let _ = connection.shutdown(Shutdown::Both);
        }
        // The port is closed once a connection is refused.
        while TcpStream::connect(self.address).is_ok() {
            std::thread::yield_now();
        }
    }

    pub(super) fn up(&self) {
        self.inner.down.store(false, Ordering::SeqCst);
        let listener = TcpListener::bind(self.address).expect("bind the same port again");
        accept(self.inner.clone(), listener);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !self.inner.down.load(Ordering::SeqCst) {
            self.down();
        }
    }
}

impl Inner {
    fn connections(&self) -> MutexGuard<'_, HashMap<u64, TcpStream>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn accept(inner: Arc<Inner>, listener: TcpListener) {
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            if inner.down.load(Ordering::SeqCst) {
                return;
            }
            let Ok(socket) = socket else { continue };
            let _ = socket.set_nodelay(true);
            let _ = socket.set_read_timeout(Some(IDLE));
            let number = inner.next_connection.fetch_add(1, Ordering::Relaxed);
            if let Ok(copy) = socket.try_clone() {
                inner.connections().insert(number, copy);
            }
            let inner = inner.clone();
            std::thread::spawn(move || {
                serve(&inner, socket, number);
                // A socket is closed, or reset, when its last copy goes.
                inner.connections().remove(&number);
            });
        }
    });
}

fn serve(inner: &Inner, socket: TcpStream, number: u64) {
    let Ok(lingering) = socket.try_clone() else { return };
    let mut stream = match &inner.tls {
        None => Stream::Plain(socket),
        Some(config) => match Stream::accept(socket, config.clone()) {
            Ok(stream) => stream,
            Err(_) => return,
        },
    };
    let mut buffer = Vec::new();
    while let Ok(Some(head)) = raw_http::read_request_head(&mut stream, &mut buffer) {
        match respond(inner, &mut stream, head, number) {
            Ok(After::KeepAlive) => {}
            Ok(After::Reset) => {
                // Linger 0 turns the close into a reset.
                let _ = socket2::SockRef::from(&lingering).set_linger(Some(Duration::ZERO));
                return;
            }
            Ok(After::Close) | Err(_) => break,
        }
    }
    let _ = stream.close();
    let _ = lingering.shutdown(Shutdown::Both);
}

fn respond(inner: &Inner, stream: &mut Stream, head: RequestHead, connection: u64) -> std::io::Result<After> {
    let path = raw_http::decode_path(&head.target);
    let own_url = format!("{}{}", inner.base, head.target);
    let head_only = head.method == "HEAD";
    let seen = Seen {
        method: head.method,
        target: head.target,
        path: path.clone(),
        headers: head.headers,
        connection,
    };
    let range = seen.header("range").map(str::to_owned);
    let faults = inner.shared.note(seen);
    let range = range.filter(|_| !faults.iter().any(|fault| matches!(fault, Fault::NoRange)));
    inner.shared.answer(&path, range.as_deref()).bend(&faults, &own_url).write(stream, head_only)
}

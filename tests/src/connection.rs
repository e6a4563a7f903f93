//! A byte stream over loopback, plain or TLS, for both ends.

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection, StreamOwned};
use std::io::{Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// Longest silence that a client of the bed bears before its test fails.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// A connected stream.
pub enum Stream {
    /// Bare TCP.
    Plain(TcpStream),
    /// TLS, our side is the server.
    Server(Box<StreamOwned<ServerConnection, TcpStream>>),
    /// TLS, our side is the client.
    Client(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Stream {
    /// Connects, plainly.
    pub fn connect(address: SocketAddr) -> Result<Self> {
        Self::plain(TcpStream::connect(address)?)
    }

    /// Connects, plainly, as a client at this address of the loopback network.
    pub fn connect_from(client: std::net::Ipv4Addr, address: SocketAddr) -> Result<Self> {
        use socket2::{Domain, Socket, Type};
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((client, 0)).into())?;
        socket.connect(&address.into())?;
        Self::plain(socket.into())
    }

    fn plain(socket: TcpStream) -> Result<Self> {
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(Self::Plain(socket))
    }

    /// Connects with TLS and finishes the handshake; the server must be `localhost`.
    pub fn connect_tls(address: SocketAddr, config: Arc<ClientConfig>) -> Result<Self> {
        let Self::Plain(socket) = Self::connect(address)? else { unreachable!("connect is plain") };
        let name = ServerName::try_from("localhost").expect("localhost is a name");
        let session = ClientConnection::new(config, name).map_err(std::io::Error::other)?;
        let mut stream = StreamOwned::new(session, socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Self::Client(Box::new(stream)))
    }

    /// Server side of TLS on an accepted socket.
    pub fn accept(socket: TcpStream, config: Arc<ServerConfig>) -> Result<Self> {
        let session = ServerConnection::new(config).map_err(std::io::Error::other)?;
        let mut stream = StreamOwned::new(session, socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Self::Server(Box::new(stream)))
    }

    /// The socket below.
    pub fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Server(stream) => &stream.sock,
            Self::Client(stream) => &stream.sock,
        }
    }

    /// The protocol that ALPN agreed on.
    pub fn alpn(&self) -> Option<Vec<u8>> {
        match self {
            Self::Plain(_) => None,
            Self::Server(stream) => stream.conn.alpn_protocol().map(<[u8]>::to_vec),
            Self::Client(stream) => stream.conn.alpn_protocol().map(<[u8]>::to_vec),
        }
    }

    /// DER of the certificate that the server showed.
    pub fn peer_certificate(&self) -> Option<Vec<u8>> {
        match self {
            Self::Client(stream) => {
                stream.conn.peer_certificates()?.first().map(|cert| cert.as_ref().to_vec())
            }
            Self::Plain(_) | Self::Server(_) => None,
        }
    }

    /// Says goodbye in TLS; the socket closes when the stream is dropped.
    pub fn close(&mut self) -> Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Server(stream) => {
                stream.conn.send_close_notify();
                stream.flush()
            }
            Self::Client(stream) => {
                stream.conn.send_close_notify();
                stream.flush()
            }
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Server(stream) => stream.read(buffer),
            Self::Client(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Server(stream) => stream.write(bytes),
            Self::Client(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Server(stream) => stream.flush(),
            Self::Client(stream) => stream.flush(),
        }
    }
}

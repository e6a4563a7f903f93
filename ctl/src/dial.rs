//! One connection to one control node, step by step: name, TCP, TLS, HTTP/2. Each step can be taken alone, as `doctor` does.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::clock::{Clock, SystemClock};
use common::duration_text::DurationText;
use common::error_chain::ErrorChain;
use hyper_util::rt::TokioIo;
use identity::{Bundle, ClientTls};
use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};

use crate::failure::Failure;
use crate::files;
use crate::server::Server;

/// A server that takes longer to be connected to is passed over for the next.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A connection on which nothing is heard is asked for a sign of life this often.
const PING_INTERVAL: Duration = Duration::from_secs(10);
/// How long the sign of life may take.
const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// No bundle of authorities comes near this many bytes.
const CA_BYTES_MAX: u64 = 1 << 20;

/// Why a server could not be reached, in the order of the steps.
#[derive(Debug, Error)]
pub(crate) enum DialError {
    /// Its name has no address.
    #[error("resolve name")]
    Resolve {
        /// What the resolver said.
        #[source]
        source: io::Error,
    },
    /// Nothing listens at its address.
    #[error("connect")]
    Connect {
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Nothing came back.
    #[error("no connection within {}", DurationText(*after))]
    TimedOut {
        /// How long it was waited for.
        after: Duration,
    },
    /// It could not show that it belongs to the cluster, or does not speak TLS.
    #[error("{reason}")]
    Tls {
        /// What is the matter.
        reason: String,
    },
    /// It does not speak HTTP/2.
    #[error("start HTTP/2")]
    Http {
        /// What the library said.
        #[source]
        source: tonic::transport::Error,
    },
}

impl DialError {
    /// How far it came; the higher, the further.
    pub(crate) const fn stage(&self) -> u8 {
        match self {
            Self::Resolve { .. } => 0,
            Self::TimedOut { .. } => 1,
            Self::Connect { .. } => 2,
            Self::Tls { .. } => 3,
            Self::Http { .. } => 4,
        }
    }

    /// The error with its causes on one line.
    pub(crate) fn chain(&self) -> String {
        ErrorChain::new(self).to_string()
    }
}

/// The authorities in a file.
pub(crate) fn bundle(ca: &Path) -> Result<Bundle, Failure> {
    let text = files::read_text(ca, CA_BYTES_MAX).map_err(|source| Failure::File {
        verb: "read",
        path: ca.to_owned(),
        source,
    })?;
    Bundle::from_pem(text.as_bytes()).map_err(|error| {
        let problem = format!("{} has no authority to trust: {}", ca.display(), ErrorChain::new(&error));
        Failure::usage(problem, "it should be the `ca.pem` of a control node's data directory")
    })
}

/// What a server has to show: a certificate of one of these authorities that names a control node. By which name or address
/// it was called does not matter.
pub(crate) fn trust(bundle: Bundle) -> Result<Arc<ClientConfig>, Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let config = ClientTls::Operator { bundle, cluster: None }.config(&clock);
    config.map_err(|error| Failure::Internal(ErrorChain::new(&error).to_string()))
}

/// The server's addresses.
pub(crate) async fn resolve(server: &Server) -> Result<Vec<SocketAddr>, DialError> {
    let found = timeout(CONNECT_TIMEOUT, tokio::net::lookup_host((server.host.as_str(), server.port))).await;
    let found = found.map_err(|_| DialError::TimedOut { after: CONNECT_TIMEOUT })?;
    let addresses: Vec<_> = found.map_err(|source| DialError::Resolve { source })?.collect();
    if addresses.is_empty() {
        return Err(DialError::Resolve { source: io::Error::other("no address") });
    }
    Ok(addresses)
}

/// A TCP connection to the first address that takes one.
pub(crate) async fn connect(addresses: &[SocketAddr]) -> Result<TcpStream, DialError> {
    let mut last = DialError::TimedOut { after: CONNECT_TIMEOUT };
    for address in addresses {
        match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Calls are small and waited for one by one. Without it they are slower, no more.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(source)) => last = DialError::Connect { source },
            Err(_) => last = DialError::TimedOut { after: CONNECT_TIMEOUT },
        }
    }
    Err(last)
}

/// TLS over a connection, with the server's identity checked.
pub(crate) async fn secure(
    server: &Server,
    stream: TcpStream,
    trust: Arc<ClientConfig>,
) -> Result<TlsStream<TcpStream>, DialError> {
    let name = ServerName::try_from(server.host.clone())
        .map_err(|_| DialError::Tls { reason: format!("`{}` is no name for a certificate", server.host) })?;
    match timeout(CONNECT_TIMEOUT, TlsConnector::from(trust).connect(name, stream)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(DialError::Tls { reason: reason(&error) }),
        Err(_) => Err(DialError::TimedOut { after: CONNECT_TIMEOUT }),
    }
}

/// A channel for calls over a secured connection.
pub(crate) async fn channel(server: &Server, stream: TlsStream<TcpStream>) -> Result<Channel, DialError> {
    // The scheme is that of what tonic sees, which is inside the TLS connection that is there already.
    let endpoint = Endpoint::from_shared(format!("http://{server}"))
        .map_err(|source| DialError::Http { source })?
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true);
    let once = Mutex::new(Some(stream));
    let connector = tower::service_fn(move |_: tonic::transport::Uri| {
        let stream = once.lock().ok().and_then(|mut once| once.take());
        // A connection that broke is not replaced behind the back of who decides where to go next.
        async move { stream.map(TokioIo::new).ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected)) }
    });
    endpoint.connect_with_connector(connector).await.map_err(|source| DialError::Http { source })
}

/// All steps.
pub(crate) async fn dial(server: &Server, trust: Arc<ClientConfig>) -> Result<Channel, DialError> {
    let addresses = resolve(server).await?;
    let stream = connect(&addresses).await?;
    let stream = secure(server, stream, trust).await?;
    channel(server, stream).await
}

/// Why there is no TLS, in the words of who has to put it right.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "rustls has more problems than need words here, and adds to them"
)]
fn reason(error: &io::Error) -> String {
    let inner = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(problem)) => match problem {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "its certificate is not of this cluster's authority".to_owned()
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "its certificate has ended".to_owned()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "its certificate is not valid yet; do the clocks agree?".to_owned()
            }
            CertificateError::Other(other) => {
                format!("it is no control node: {}", ErrorChain::new(&*other.0))
            }
            problem => format!("its certificate is not good: {problem}"),
        },
        Some(rustls::Error::InvalidMessage(_)) => {
            "it does not speak TLS; is this its --rpc-listen?".to_owned()
        }
        Some(_) | None => format!("TLS: {}", ErrorChain::new(error)),
    }
}

//! gRPC channels over TLS to processes of a cluster, as operators and data nodes have them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};

/// Longest that connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Trust in the authorities of a PEM file, and no certificate of one's own.
pub fn operator_tls(authorities: &str) -> Arc<ClientConfig> {
    let config = ClientConfig::builder().with_root_certificates(roots(authorities)).with_no_client_auth();
    over_http2(config)
}

/// The same with a certificate of one's own.
pub fn process_tls(
    authorities: &str,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Arc<ClientConfig> {
    let config = ClientConfig::builder().with_root_certificates(roots(authorities));
    over_http2(config.with_client_auth_cert(chain, key).expect("a certificate with its key"))
}

/// A channel that connects when it is used, and again after it was cut off.
pub fn channel(address: SocketAddr, tls: Arc<ClientConfig>) -> Channel {
    // TLS is the connector's business; to tonic it looks like a plain connection.
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
    endpoint.connect_with_connector_lazy(tower::service_fn(move |_: Uri| connect(address, tls.clone())))
}

type Stream = TokioIo<tokio_rustls::client::TlsStream<TcpStream>>;

async fn connect(address: SocketAddr, tls: Arc<ClientConfig>) -> std::io::Result<Stream> {
    let connecting = async {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        let name = ServerName::IpAddress(address.ip().into());
        TlsConnector::from(tls).connect(name, socket).await
    };
    let stream = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await??;
    Ok(TokioIo::new(stream))
}

fn roots(authorities: &str) -> RootCertStore {
    crate::tls::install_provider();
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authorities.as_bytes()) {
        roots.add(certificate.expect("an authority")).expect("add an authority");
    }
    roots
}

fn over_http2(mut config: ClientConfig) -> Arc<ClientConfig> {
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

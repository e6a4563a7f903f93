//! What control nodes and data nodes answer to who should not ask, or asks in the wrong way or place.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use proto::ErrorCode;
use proto::control::v1::cluster_service_client::ClusterServiceClient;
use proto::control::v1::policy_service_client::PolicyServiceClient;
use proto::control::v1::{ApplyPolicyRequest, GetStatusRequest};
use tests::operator::options;
use tests::tls::Authority;
use tests::{Call, Cluster, Operator, dial, rpc};
use tokio::runtime::Runtime;

const TIMEOUT: Duration = Duration::from_secs(20);
/// A call without a deadline is answered within the server's own, and some.
const ANSWERED_WITHIN: Duration = Duration::from_secs(12);

/// Sends bytes and reads whatever comes back until the connection ends.
fn answer(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(TIMEOUT)).unwrap();
    socket.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    // A connection that is reset is one that ended.
    let _ = socket.read_to_end(&mut answer);
    answer
}

/// Row 68 of the list of faults, the part about who calls how: without TLS, with an old TLS, with a stranger's certificate, or as a
/// server that is a stranger.
#[test]
fn strangers_get_no_further_than_the_handshake() {
    let cluster = Cluster::bootstrap();
    let rpc = cluster.control[0].rpc();
    let plain = answer(rpc, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00");
    assert!(is_alert(&plain) || plain.is_empty(), "{plain:?}");
    let old = answer(rpc, &client_hello_of_tls_1_0());
    assert!(is_alert(&old), "{old:?}");
    let runtime = Runtime::new().unwrap();
    let _inside = runtime.enter();
    // An authority of another cluster: neither does its client trust our server, nor our server its client.
    let stranger = Authority::new();
    let directory = tempfile::tempdir().unwrap();
    let authority = std::fs::read_to_string(stranger.write(directory.path())).unwrap();
    let ours = std::fs::read_to_string(cluster.credentials().join("ca.pem")).unwrap();
    let token = std::fs::read_to_string(cluster.credentials().join("admin.token")).unwrap();
    let misled = Operator::new(&authority, &token, &[rpc], TIMEOUT);
    let told = runtime.block_on(misled.call(0, GetStatusRequest {}, rpc!(ClusterServiceClient::get_status)));
    assert_eq!(told.unwrap_err().code, ErrorCode::Unavailable);
    let (certificate, key) = stranger.issue().parsed();
    let channel = dial::channel(rpc, dial::process_tls(&ours, vec![certificate], key));
    let told = runtime.block_on(ClusterServiceClient::new(channel).get_status(GetStatusRequest {}));
    assert!(told.is_err(), "{told:?}");
}

fn is_alert(answer: &[u8]) -> bool {
    // The content type of an alert, and its length.
    answer.first() == Some(&21) && answer.len() == 7
}

/// A hello that offers nothing newer than TLS 1.0.
fn client_hello_of_tls_1_0() -> Vec<u8> {
    let mut body = vec![3, 1];
    body.extend([7; 32]);
    // No session, one cipher suite, no compression.
    body.extend([0, 0, 2, 0, 0x2f, 1, 0]);
    let length = u8::try_from(body.len()).unwrap();
    let mut hello = vec![22, 3, 1, 0, length + 4, 1, 0, 0, length];
    hello.extend(body);
    hello
}

/// Row 69 of the list of faults: calls for operators are answered at one address only, and nowhere without credentials; a message
/// that is too large is refused, and so is a call without a deadline once the server's own is over.
#[test]
fn operators_calls_are_answered_in_one_place_within_limits() {
    let mut cluster = Cluster::of(3);
    cluster.add_node("data-1", "a", "off");
    let path = "/goproxy.control.v1.ClusterService/GetStatus";
    for public in [cluster.data[0].http(), cluster.data[0].admin(), cluster.control[0].admin()] {
        let told =
            Call::new(public, "POST", path).header("content-type", "application/grpc").body(&[0; 5]).send();
        assert!((400..500).contains(&told.status), "{public}: {}", told.status);
        assert!(told.header("grpc-status").is_none());
    }
    let runtime = Runtime::new().unwrap();
    let _inside = runtime.enter();
    let operator = cluster.operator(TIMEOUT);
    let large = ApplyPolicyRequest {
        options: options("large", ""),
        name: "large".to_owned(),
        content: "#".repeat(5 << 20),
        expected_generation: None,
    };
    let told =
        runtime.block_on(operator.call(0, large, rpc!(PolicyServiceClient::apply_policy))).unwrap_err();
    assert_eq!(told.code, ErrorCode::TooLarge, "{told:?}");
    let file = |name| std::fs::read_to_string(cluster.credentials().join(name)).unwrap();
    let token = file("admin.token");
    let channel = dial::channel(cluster.control[0].rpc(), dial::operator_tls(&file("ca.pem")));
    let nobody = runtime.block_on(ClusterServiceClient::new(channel.clone()).get_status(GetStatusRequest {}));
    assert_eq!(nobody.unwrap_err().code(), tonic::Code::Unauthenticated);
    // Nobody can be sure of the state without the others, however long is waited.
    cluster.control[1].kill9();
    cluster.control[2].kill9();
    let change = ApplyPolicyRequest {
        options: options("late", ""),
        name: "late".to_owned(),
        ..ApplyPolicyRequest::default()
    };
    let mut request = tonic::Request::new(change);
    request.metadata_mut().insert("authorization", format!("Bearer {}", token.trim()).parse().unwrap());
    let asked = Instant::now();
    let told = runtime.block_on(PolicyServiceClient::new(channel).apply_policy(request));
    assert!(told.is_err() && asked.elapsed() < ANSWERED_WITHIN, "{told:?} after {:?}", asked.elapsed());
}

//! gRPC over all of it: a service that says who calls, called by a node, an operator and nobody in particular.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cluster::ClusterId;
use common::clock::{Clock, ManualClock};
use identity::{
    Authority, Bundle, Caller, CallerLayer, ClientTls, Connector, Credentials, Expect, Grant, HotCredentials,
    KeyRequest, ListenLimits, OperatorToken, SigningRequest, Who, accept,
};
use proto::join::v1::join_service_client::JoinServiceClient;
use proto::join::v1::join_service_server::{JoinService, JoinServiceServer};
use proto::join::v1::{
    JoinMemberRequest, JoinMemberResponse, JoinNodeRequest, JoinNodeResponse, MemberAddress,
};
use proto::{ErrorCode, Fault};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

const NOW_US: i64 = 1_893_456_000_000_000;

/// Answers with the caller as the name of a member, and refuses members in.
struct Mirror;

#[tonic::async_trait]
impl JoinService for Mirror {
    async fn join_node(
        &self,
        request: Request<JoinNodeRequest>,
    ) -> Result<Response<JoinNodeResponse>, Status> {
        assert!(request.metadata().get("authorization").is_none(), "the secret's text goes no further");
        let name = match request.extensions().get::<Caller>() {
            Some(Caller::Operator(token)) => format!("operator {}", token.id),
            Some(Caller::Node(name)) => format!("node {name}"),
            Some(Caller::Member(id)) => format!("member {id}"),
            Some(Caller::Anonymous) => "anonymous".to_owned(),
            None => "unknown".to_owned(),
        };
        let caller = MemberAddress { name, ..MemberAddress::default() };
        Ok(Response::new(JoinNodeResponse { members: vec![caller], ..JoinNodeResponse::default() }))
    }

    async fn join_member(
        &self,
        _: Request<JoinMemberRequest>,
    ) -> Result<Response<JoinMemberResponse>, Status> {
        Err(Fault::new(ErrorCode::JoinRefused, "no such token").hint("Run member add again.").into())
    }
}

struct Bed {
    clock: Arc<ManualClock>,
    authority: Authority,
    address: SocketAddr,
    stop: CancellationToken,
    served: tokio::task::JoinHandle<Result<(), tonic::transport::Error>>,
}

impl Bed {
    async fn new() -> Self {
        let clock = Arc::new(ManualClock::new(NOW_US));
        let authority = Authority::create(ClusterId::from_bytes([1; 16]), NOW_US).unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let member = Who::Member("1".parse().unwrap());
        let control = HotCredentials::new(credentials(&authority, member), clock.clone()).unwrap();
        let incoming = accept(listener, control, ListenLimits::default(), stop.clone());
        let server = tonic::transport::Server::builder()
            .layer(CallerLayer::new(clock.clone()))
            .add_service(JoinServiceServer::new(Mirror));
        let served = tokio::spawn(server.serve_with_incoming(incoming));
        Self { clock, authority, address, stop, served }
    }

    fn client(&self, tls: ClientTls) -> JoinServiceClient<tonic::transport::Channel> {
        let connector = Connector::new(tls, self.clock.clone(), Duration::from_mins(1));
        JoinServiceClient::new(connector.channel(&self.address.to_string()).unwrap())
    }

    fn operator(&self) -> JoinServiceClient<tonic::transport::Channel> {
        let bundle = Bundle::new([self.authority.certificate().clone()]).unwrap();
        self.client(ClientTls::Operator { bundle, cluster: None })
    }
}

fn credentials(authority: &Authority, who: Who) -> Credentials {
    let made = KeyRequest::make().unwrap();
    let grant = Grant { who, hosts: ["127.0.0.1".parse().unwrap()].into() };
    let issued = authority.sign(&SigningRequest::check(made.request()).unwrap(), &grant, NOW_US).unwrap();
    let bundle = Bundle::new([authority.certificate().clone()]).unwrap();
    Credentials::new(issued.chain, made.private_key(), bundle).unwrap()
}

async fn caller(
    client: &mut JoinServiceClient<tonic::transport::Channel>,
    token: Option<&str>,
) -> Result<String, Fault> {
    let mut request = Request::new(JoinNodeRequest::default());
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", token.parse().unwrap());
    }
    let response = client.join_node(request).await.map_err(|status| Fault::of_status(&status))?;
    Ok(response.into_inner().members[0].name.clone())
}

#[tokio::test]
async fn services_are_told_who_calls() {
    let bed = Bed::new().await;
    let node = credentials(&bed.authority, Who::Node("data-1".parse().unwrap()));
    let node = HotCredentials::new(node, bed.clock.clone()).unwrap();
    let mut node = bed.client(ClientTls::Process { credentials: node, expect: Expect::AnyMember });
    let mut operator = bed.operator();
    let token = OperatorToken::random().unwrap();
    let bearer = format!("Bearer {}", token.text());
    assert_eq!(caller(&mut node, None).await, Ok("node data-1".to_owned()));
    assert_eq!(caller(&mut operator, None).await, Ok("anonymous".to_owned()));
    assert_eq!(caller(&mut operator, Some(&bearer)).await, Ok(format!("operator {}", token.id)));
    // What a member passes on is its operator's.
    assert_eq!(caller(&mut node, Some(&bearer)).await, Ok(format!("operator {}", token.id)));

    let fault = caller(&mut operator, Some("Bearer hunter2")).await.unwrap_err();
    assert_eq!((fault.code, fault.code.meaning().exit), (ErrorCode::Unauthenticated, 4));
    let fault = Fault::of_status(&operator.join_member(JoinMemberRequest::default()).await.unwrap_err());
    assert_eq!(fault, Fault::new(ErrorCode::JoinRefused, "no such token").hint("Run member add again."));

    // The connection is still open when its certificate ends.
    bed.clock.set_wall(NOW_US + 31 * 86_400_000_000);
    let fault = caller(&mut node, None).await.unwrap_err();
    assert_eq!((fault.code, fault.subject.as_str()), (ErrorCode::CredentialsExpired, "node data-1"));

    drop((node, operator));
    bed.stop.cancel();
    bed.served.await.unwrap().unwrap();
}

#[tokio::test]
async fn who_is_not_reached_is_told_apart_from_who_refuses() {
    let bed = Bed::new().await;
    let foreign = Authority::create(ClusterId::from_bytes([1; 16]), bed.clock.now_us()).unwrap();
    let bundle = Bundle::new([foreign.certificate().clone()]).unwrap();
    let mut wrong = bed.client(ClientTls::Operator { bundle, cluster: None });
    let fault = caller(&mut wrong, None).await.unwrap_err();
    assert_eq!((fault.code, fault.code.meaning().exit), (ErrorCode::Unavailable, 6));
}

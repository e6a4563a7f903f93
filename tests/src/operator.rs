//! An operator's calls by the generated clients, to control nodes one by one: for many calls at once, and to see each answer.

use std::net::SocketAddr;
use std::time::Duration;

use proto::control::v1::MutationOptions;
use proto::{ErrorCode, Fault};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use crate::dial;

/// What an answer may take on its way after the server has given up.
const GRACE: Duration = Duration::from_millis(250);

/// An operator with a connection to each control node. Cheap to clone.
#[derive(Clone)]
pub struct Operator {
    channels: Vec<Channel>,
    token: MetadataValue<Ascii>,
    timeout: Duration,
}

impl Operator {
    /// An operator with this token, whose calls take `timeout` at most. Needs a runtime.
    pub fn new(authorities: &str, token: &str, servers: &[SocketAddr], timeout: Duration) -> Self {
        let tls = dial::operator_tls(authorities);
        let channels = servers.iter().map(|server| dial::channel(*server, tls.clone())).collect();
        let token = format!("Bearer {}", token.trim()).parse().expect("a token is ASCII");
        Self { channels, token, timeout }
    }

    /// How many control nodes there are to call.
    pub fn servers(&self) -> usize {
        self.channels.len()
    }

    /// One call to the `at`-th control node.
    pub async fn call<Q, R>(
        &self,
        at: usize,
        message: Q,
        method: impl AsyncFnOnce(Channel, Request<Q>) -> Result<Response<R>, Status>,
    ) -> Result<R, Fault> {
        let channel = self.channels[at % self.channels.len()].clone();
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.token.clone());
        request.set_timeout(self.timeout);
        match tokio::time::timeout(self.timeout + GRACE, method(channel, request)).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            // A status that this side made of a broken connection says nothing about what the server did.
            Ok(Err(status)) if std::error::Error::source(&status).is_some() => {
                Err(Fault::new(ErrorCode::Unavailable, status.message()))
            }
            Ok(Err(status)) => Err(Fault::of_status(&status)),
            Err(_) => Err(Fault::new(ErrorCode::Deadline, "no answer")),
        }
    }
}

/// A change under this key, for this reason.
pub fn options(key: &str, reason: &str) -> Option<MutationOptions> {
    let (idempotency_key, reason) = (key.to_owned(), reason.to_owned());
    Some(MutationOptions { idempotency_key, dry_run: false, reason })
}

/// A method of a generated client, as [`Operator::call`] takes it.
#[macro_export]
macro_rules! rpc {
    ($client:ident :: $method:ident) => {
        async |channel, request| $client::new(channel).$method(request).await
    };
}

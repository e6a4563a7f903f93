//! Who makes a call: the layer that stands before all services and tells them. It lets everybody through whose proof has the
//! right form; whether a token is known, and what the caller may do, is decided behind it, call by call.

use std::sync::Arc;
use std::task::{Context, Poll};

use cluster::{MemberId, NodeName};
use common::clock::Clock;
use futures_util::future::{Either, Ready, ready};
use http::header::AUTHORIZATION;
use http::{HeaderMap, Request, Response};
use proto::{ErrorCode, Fault};
use tonic::Status;
use tower::{Layer, Service};

use crate::listen::ConnectionInfo;
use crate::operator_token::OperatorToken;
use crate::peer::Who;

/// Who makes a call; stands among each request's extensions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Caller {
    /// Somebody who shows this token. It has the right form; whether it is known is still to be asked.
    Operator(OperatorToken),
    /// A data node, by its certificate.
    Node(NodeName),
    /// A control node, by its certificate.
    Member(MemberId),
    /// Nobody who could be named.
    Anonymous,
}

/// Puts a [`Caller`] into each request.
#[derive(Clone, Debug)]
pub struct CallerLayer {
    clock: Arc<dyn Clock>,
}

impl CallerLayer {
    /// Certificates are looked at with every call, since a connection may outlive them.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock }
    }
}

impl<S> Layer<S> for CallerLayer {
    type Service = CallerService<S>;

    fn layer(&self, inner: S) -> CallerService<S> {
        CallerService { inner, clock: Arc::clone(&self.clock) }
    }
}

/// The layer's service.
#[derive(Clone, Debug)]
pub struct CallerService<S> {
    inner: S,
    clock: Arc<dyn Clock>,
}

impl<S, B, R> Service<Request<B>> for CallerService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Default,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<Response<R>, S::Error>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let now_s = self.clock.now_us().div_euclid(1_000_000);
        match caller(request.headers(), request.extensions().get(), now_s) {
            Ok(caller) => {
                // Nothing behind this needs the secret's text, and nothing may log it.
                request.headers_mut().remove(AUTHORIZATION);
                request.extensions_mut().insert(caller);
                Either::Left(self.inner.call(request))
            }
            Err(fault) => Either::Right(ready(Ok(Status::from(fault).into_http()))),
        }
    }
}

/// A token goes before a certificate: a member that passes an operator's call on shows both, and it is the operator's call.
fn caller(headers: &HeaderMap, connection: Option<&ConnectionInfo>, now_s: i64) -> Result<Caller, Fault> {
    let mut shown = headers.get_all(AUTHORIZATION).into_iter();
    if let Some(value) = shown.next() {
        let token = value.to_str().ok().and_then(|value| value.strip_prefix("Bearer "));
        let token = token.and_then(|token| token.parse::<OperatorToken>().ok());
        return match (token, shown.next()) {
            (Some(token), None) => Ok(Caller::Operator(token)),
            (None | Some(_), _) => Err(malformed()),
        };
    }
    let Some(connection) = connection else { return Ok(Caller::Anonymous) };
    let Some(peer) = &connection.peer else { return Ok(Caller::Anonymous) };
    if connection.peer_end_s.is_some_and(|end_s| now_s > end_s) {
        return Err(Fault::new(
            ErrorCode::CredentialsExpired,
            format!("the certificate of {} has ended", peer.who),
        )
        .about(peer.who.to_string())
        .hint("Connect again with the renewed certificate."));
    }
    Ok(match &peer.who {
        Who::Member(id) => Caller::Member(*id),
        Who::Node(name) => Caller::Node(name.clone()),
    })
}

fn malformed() -> Fault {
    Fault::new(
        ErrorCode::Unauthenticated,
        "the authorization header holds no token of the form gpt1.ID.SECRET",
    )
    .hint("Name the token's file with --token-file, or put the token itself into GOPROXYCTL_TOKEN.")
}

#[cfg(test)]
mod tests {
    use cluster::ClusterId;

    use super::*;
    use crate::peer::PeerIdentity;

    fn connection(who: Option<Who>) -> ConnectionInfo {
        let cluster = ClusterId::from_bytes([1; 16]);
        let peer = who.map(|who| Arc::new(PeerIdentity { cluster, who }));
        let peer_end_s = peer.is_some().then_some(1_000);
        ConnectionInfo { remote: ([127, 0, 0, 1], 1).into(), peer, peer_end_s }
    }

    fn headers(values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (AUTHORIZATION, value.parse().unwrap())).collect()
    }

    #[test]
    fn a_certificate_names_its_process_while_it_is_in_force() {
        let node = connection(Some(Who::Node("data-1".parse().unwrap())));
        let member = connection(Some(Who::Member(MemberId::new(7).unwrap())));
        let none = HeaderMap::new();
        assert_eq!(caller(&none, Some(&node), 1_000), Ok(Caller::Node("data-1".parse().unwrap())));
        assert_eq!(caller(&none, Some(&member), 0), Ok(Caller::Member(MemberId::new(7).unwrap())));
        assert_eq!(caller(&none, Some(&connection(None)), 2_000), Ok(Caller::Anonymous));
        assert_eq!(caller(&none, None, 0), Ok(Caller::Anonymous));
        assert_eq!(caller(&none, Some(&node), 1_001).unwrap_err().code, ErrorCode::CredentialsExpired);
    }

    #[test]
    fn a_token_goes_before_a_certificate_and_has_to_be_whole() {
        let token = OperatorToken::random().unwrap();
        let member = connection(Some(Who::Member(MemberId::new(7).unwrap())));
        let bearer = format!("Bearer {}", token.text());
        assert_eq!(caller(&headers(&[&bearer]), Some(&member), 0), Ok(Caller::Operator(token.clone())));
        for wrong in
            ["", "Bearer ", "Basic eDp5", &token.text(), &bearer.to_lowercase(), &format!("{bearer} ")]
        {
            let fault = caller(&headers(&[wrong]), Some(&member), 0).unwrap_err();
            assert_eq!(fault.code, ErrorCode::Unauthenticated, "{wrong}");
        }
        assert!(caller(&headers(&[&bearer, &bearer]), None, 0).is_err(), "two are one too many");
    }
}

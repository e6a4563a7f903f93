//! A control node that says what the test tells it to, and remembers what it was asked.
//!
//! It speaks gRPC over HTTP/2 over TLS as the real one does, below the generated code, so that it can also break off, hang,
//! and answer a method in any way.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Empty, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use identity::OperatorToken;
use prost::Message;
use proto::{ErrorCode, Fault};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::bed::TOKEN;

/// How a call is answered.
#[derive(Clone)]
pub(crate) enum Reply {
    /// With one message.
    Say(Bytes),
    /// With a refusal.
    Refuse(Fault),
    /// With messages and a good end.
    Stream(Vec<Bytes>),
    /// With messages, and then the stream breaks.
    Broken(Vec<Bytes>),
    /// Not at all.
    Hang,
    /// By breaking off.
    Cut,
}

impl Reply {
    /// With this message.
    pub(crate) fn say(message: &impl Message) -> Self {
        Self::Say(message.encode_to_vec().into())
    }

    /// With these messages.
    pub(crate) fn stream<M: Message>(messages: &[M]) -> Self {
        Self::Stream(messages.iter().map(|message| message.encode_to_vec().into()).collect())
    }

    /// With these messages, and then the stream breaks.
    pub(crate) fn broken<M: Message>(messages: &[M]) -> Self {
        Self::Broken(messages.iter().map(|message| message.encode_to_vec().into()).collect())
    }

    /// With this refusal.
    pub(crate) fn refuse(code: ErrorCode, message: &str) -> Self {
        Self::Refuse(Fault::new(code, message))
    }
}

/// A call that was made.
pub(crate) struct Asked {
    /// `Service/Method`.
    pub(crate) method: String,
    /// The request.
    pub(crate) body: Bytes,
    /// `Bearer …`, if there was one.
    pub(crate) authorization: Option<String>,
}

#[derive(Default)]
struct State {
    replies: BTreeMap<String, Vec<Reply>>,
    asked: Vec<Asked>,
}

/// A fake control node.
pub(crate) struct Fake {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Fake {
    /// Starts one.
    pub(crate) async fn start(tls: TlsAcceptor) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let accepting = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (tls, shared) = (tls.clone(), Arc::clone(&shared));
                tokio::spawn(async move {
                    let Ok(stream) = tls.accept(socket).await else { return };
                    let service = service_fn(move |request| answer(Arc::clone(&shared), request));
                    let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    // Tests break connections on purpose.
                    let _ = server.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { address, state, accepting }
    }

    /// Answers calls of a method so, one after the other; the last answer is given again and again.
    pub(crate) fn on(&self, method: &str, replies: Vec<Reply>) {
        self.state.lock().unwrap().replies.insert(method.to_owned(), replies);
    }

    /// The calls of a method, with their requests.
    pub(crate) fn asked<M: Message + Default>(&self, method: &str) -> Vec<M> {
        let state = self.state.lock().unwrap();
        let of_method = state.asked.iter().filter(|asked| asked.method == method);
        of_method.map(|asked| M::decode(asked.body.clone()).unwrap()).collect()
    }

    /// What was said of who asks, in each call.
    pub(crate) fn authorizations(&self) -> Vec<Option<String>> {
        self.state.lock().unwrap().asked.iter().map(|asked| asked.authorization.clone()).collect()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

type Body = BoxBody<Bytes, io::Error>;

async fn answer(state: Arc<Mutex<State>>, request: Request<Incoming>) -> Result<Response<Body>, io::Error> {
    let (head, body) = request.into_parts();
    let path = head.uri.path().trim_start_matches("/goproxy.control.v1.").to_owned();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let authorization = head.headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
    let shown = authorization.as_deref().and_then(|text| text.strip_prefix("Bearer "));
    let shown = shown.and_then(|text| text.parse::<OperatorToken>().ok());
    let known = shown.is_some() && shown == TOKEN.parse().ok();
    let reply = {
        let mut state = state.lock().unwrap();
        // A gRPC message has five bytes before it.
        state.asked.push(Asked { method: path.clone(), body: body.slice(5..), authorization });
        let replies = state.replies.get_mut(&path);
        match replies {
            None => Reply::refuse(ErrorCode::Unimplemented, &format!("the fake does not know {path}")),
            Some(replies) if replies.len() > 1 => replies.remove(0),
            Some(replies) => replies[0].clone(),
        }
    };
    if !known && path != "ClusterService/GetHealth" {
        return Ok(refusal(Fault::new(ErrorCode::Unauthenticated, "no token that is known")));
    }
    match reply {
        Reply::Say(message) => Ok(messages(vec![message], true)),
        Reply::Stream(list) => Ok(messages(list, true)),
        Reply::Broken(list) => Ok(messages(list, false)),
        Reply::Refuse(fault) => Ok(refusal(fault)),
        Reply::Hang => std::future::pending().await,
        Reply::Cut => Err(io::Error::other("cut")),
    }
}

fn messages(list: Vec<Bytes>, whole: bool) -> Response<Body> {
    let frames = list.into_iter().map(|message| {
        let mut framed = BytesMut::new();
        framed.put_u8(0);
        framed.put_u32(u32::try_from(message.len()).unwrap());
        framed.put(message);
        Ok(Frame::data(framed.freeze()))
    });
    let mut frames: Vec<_> = frames.collect();
    frames.push(if whole {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        Ok(Frame::trailers(trailers))
    } else {
        Err(io::Error::other("broken"))
    });
    let frames = stream::iter(frames).then(|frame: io::Result<_>| async move {
        if frame.is_err() {
            // waits for: the frames before it to have left; a reset drops what is still queued, and tells nobody.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        frame
    });
    let body = BoxBody::new(StreamBody::new(frames));
    Response::builder().header("content-type", "application/grpc").body(body).unwrap()
}

fn refusal(fault: Fault) -> Response<Body> {
    let response = tonic::Status::from(fault).into_http::<Empty<Bytes>>();
    response.map(|body| body.map_err(|never: Infallible| match never {}).boxed())
}

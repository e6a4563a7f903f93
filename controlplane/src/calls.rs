//! Calls under way, so that a drain knows what it waits for and what it ends.
//!
//! A call that comes to an end by itself is waited for. A watch does not, and is ended as soon as the drain begins: whoever has one goes to
//! another member. Raft's messages are taken in to the last, since calls that are waited for may need them.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Frame, SizeHint};
use proto::{ErrorCode, Fault};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

/// See the head of this file. Cheap to clone, and the layer that stands before all services.
#[derive(Clone, Debug, Default)]
pub(crate) struct Calls {
    waited_for: TaskTracker,
    end_watches: CancellationToken,
    end_all: CancellationToken,
}

impl Calls {
    /// Ends watches, waits until the calls that end by themselves have, for `timeout` at most, and then ends whatever there is.
    pub(crate) async fn drain(&self, timeout: Duration) {
        self.end_watches.cancel();
        self.waited_for.close();
        if tokio::time::timeout(timeout, self.waited_for.wait()).await.is_err() {
            tracing::warn!(
                calls = self.waited_for.len(),
                "calls still running at the end of the drain timeout; they are broken off"
            );
        }
        self.end_all.cancel();
    }

    fn begin(&self, path: &str) -> Call {
        let (end, waited_for) = match Kind::of(path) {
            Kind::Watch => (&self.end_watches, None),
            Kind::Messages => (&self.end_all, None),
            Kind::Finite => (&self.end_all, Some(self.waited_for.token())),
        };
        Call { end: Box::pin(end.clone().cancelled_owned()), _waited_for: waited_for }
    }
}

/// How a call ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// By itself.
    Finite,
    /// When the client has seen enough.
    Watch,
    /// When a member has no more to say to this one.
    Messages,
}

impl Kind {
    /// By the method, the last part of the path.
    fn of(path: &str) -> Self {
        match path.rsplit('/').next().unwrap_or_default() {
            "Exchange" => Self::Messages,
            // One stream for as many questions as the client has.
            "ServerReflectionInfo" => Self::Watch,
            method if method.starts_with("Watch") => Self::Watch,
            _ => Self::Finite,
        }
    }
}

/// A call under way, until its answer has been handed over.
struct Call {
    end: Pin<Box<WaitForCancellationFutureOwned>>,
    _waited_for: Option<TaskTrackerToken>,
}

fn ended() -> Status {
    Fault::new(ErrorCode::Unavailable, "this control node is draining").into()
}

impl<S> Layer<S> for Calls {
    type Service = CallsService<S>;

    fn layer(&self, inner: S) -> CallsService<S> {
        CallsService { inner, calls: self.clone() }
    }
}

/// The layer's service.
#[derive(Clone, Debug)]
pub(crate) struct CallsService<S> {
    inner: S,
    calls: Calls,
}

impl<S, B> Service<Request<B>> for CallsService<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut call = self.calls.begin(request.uri().path());
        let answering = self.inner.call(request);
        Box::pin(async move {
            tokio::select! {
                biased;
                answered = answering => {
                    answered.map(|response| response.map(|body| Body::new(Answer { body, call })))
                }
                () = &mut call.end => Ok(ended().into_http()),
            }
        })
    }
}

/// The rest of an answer; broken off, it says why.
struct Answer {
    body: Body,
    call: Call,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        // First what there is to say: a watch of health ends with how it is.
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            return Poll::Ready(frame);
        }
        ready!(self.call.end.as_mut().poll(context));
        self.body = Body::empty();
        let mut trailers = HeaderMap::new();
        let told = ended().add_header(&mut trailers);
        Poll::Ready(Some(told.map(|()| Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body::Body as _;
    use tokio::sync::oneshot;
    use tower::service_fn;

    use super::*;

    const LONG: Duration = Duration::from_mins(1);

    /// A body that says nothing until it is told to end.
    struct Silent(oneshot::Receiver<()>);

    impl http_body::Body for Silent {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            Pin::new(&mut self.0).poll(context).map(|_| None)
        }
    }

    /// The answer to a call whose body goes on until the sender is used.
    async fn call(calls: &Calls, path: &str) -> (oneshot::Sender<()>, Body) {
        let (end, ended) = oneshot::channel();
        let mut ended = Some(ended);
        let mut service = calls.layer(service_fn(move |_: Request<()>| {
            let body = Body::new(Silent(ended.take().unwrap()));
            async move { Ok::<_, Infallible>(Response::new(body)) }
        }));
        let request = Request::builder().uri(path).body(()).unwrap();
        (end, service.call(request).await.unwrap().into_body())
    }

    /// The gRPC status with which a body ends; `None` when it just ends.
    async fn status(mut body: Body) -> Option<tonic::Code> {
        let frame = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await?;
        let trailers = frame.unwrap().into_trailers().unwrap();
        assert!(body.is_end_stream());
        Some(Status::from_header_map(&trailers).unwrap().code())
    }

    #[test]
    fn only_what_never_ends_by_itself_is_not_waited_for() {
        for (path, kind) in [
            ("/goproxy.node.v1.NodeAgentService/WatchRecords", Kind::Watch),
            ("/grpc.health.v1.Health/Watch", Kind::Watch),
            ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Kind::Watch),
            ("/goproxy.raft.v1.RaftService/Exchange", Kind::Messages),
            ("/goproxy.raft.v1.RaftService/InstallSnapshot", Kind::Finite),
            ("/goproxy.control.v1.ModuleService/PublishVersion", Kind::Finite),
            ("", Kind::Finite),
        ] {
            assert_eq!(Kind::of(path), kind, "{path}");
        }
    }

    #[tokio::test]
    async fn a_drain_ends_watches_waits_for_calls_and_takes_messages_until_then() {
        let calls = Calls::default();
        let (_watch, watch) = call(&calls, "/a.B/WatchC").await;
        let (_messages, messages) = call(&calls, "/a.B/Exchange").await;
        let (end, finite) = call(&calls, "/a.B/Get").await;
        let drain = tokio::spawn({
            let calls = calls.clone();
            async move { calls.drain(LONG).await }
        });
        assert_eq!(status(watch).await, Some(tonic::Code::Unavailable));
        assert!(!drain.is_finished() && !calls.end_all.is_cancelled());
        end.send(()).unwrap();
        assert_eq!(status(finite).await, None);
        drain.await.unwrap();
        assert_eq!(status(messages).await, Some(tonic::Code::Unavailable));
    }

    #[tokio::test]
    async fn a_call_that_is_not_answered_in_time_is_told_why() {
        let calls = Calls::default();
        let mut service = calls
            .layer(service_fn(|_: Request<()>| std::future::pending::<Result<Response<Body>, Infallible>>()));
        let answering = service.call(Request::builder().uri("/a.B/Get").body(()).unwrap());
        calls.drain(Duration::from_millis(1)).await;
        let answer = answering.await.unwrap();
        assert_eq!(Status::from_header_map(answer.headers()).unwrap().code(), tonic::Code::Unavailable);
    }

    #[tokio::test]
    async fn nothing_holds_up_a_drain_when_only_watches_are_under_way() {
        let calls = Calls::default();
        let (_watch, _body) = call(&calls, "/a.B/WatchC").await;
        let (_messages, _stream) = call(&calls, "/a.B/Exchange").await;
        tokio::time::timeout(LONG, calls.drain(2 * LONG)).await.unwrap();
    }
}

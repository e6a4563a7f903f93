//! What operators and their tools look at, on a listener of its own: `/metrics`, `/healthz`, `/readyz`,
//! `/version`, `/debug/` and, for browsers, a console. No credentials: bind it where only they reach it. Nothing here changes anything.

mod console;
mod debug;
mod process;
mod taking;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::registry::Registry;
use taking::Taking;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub use debug::DebugPage;

/// Tells whether the process is ready: a status, and two lines at most.
pub type Readiness = Box<dyn Fn() -> (StatusCode, String) + Send + Sync>;

/// Connections at once; scrapers and health checkers are few.
const CONNECTIONS_MAX: usize = 256;
/// How long a client may take nothing of what it asked for. It would keep its place for good, and the others would find none.
const STALL_MAX: Duration = Duration::from_secs(30);
/// The browser takes each answer for what it is said to be.
const NO_SNIFFING: HeaderValue = HeaderValue::from_static("nosniff");
const TEXT: &str = "text/plain; charset=utf-8";
/// The exposition format that prometheus-client writes.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// See the head of this file.
pub struct Admin {
    registry: Arc<Registry>,
    readiness: Readiness,
    version_text: String,
    pages: Vec<DebugPage>,
}

impl Admin {
    /// Shows `registry`, what `readiness` tells, and under `/debug/` the pages.
    pub fn new(
        mut registry: Registry,
        readiness: Readiness,
        version_text: String,
        pages: Vec<DebugPage>,
    ) -> Self {
        registry.register_collector(Box::new(process::ProcessCollector));
        Self { registry: Arc::new(registry), readiness, version_text, pages }
    }

    /// More pages for `/debug/`.
    pub(crate) fn add_pages(&mut self, pages: Vec<DebugPage>) {
        self.pages.extend(pages);
    }

    /// What is behind `/metrics`.
    pub(crate) fn registry(&self) -> Arc<Registry> {
        Arc::clone(&self.registry)
    }

    /// Writes the metrics as `/metrics` shows them, for whoever sends them elsewhere.
    pub fn exposition(&self) -> impl Fn() -> String + Send + Sync + use<> {
        let registry = self.registry();
        move || {
            let mut text = String::new();
            // Writing to a string does not fail; what a collector could not write is left out.
            let _ = prometheus_client::encoding::text::encode(&mut text, &registry);
            text
        }
    }

    /// Serves on `listener` until `stop`.
    pub async fn run(self: Arc<Self>, listener: TcpListener, stop: CancellationToken) {
        let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => return,
            };
            let Ok((stream, _)) = accepted else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let admin = Arc::clone(&self);
            tokio::spawn(async move {
                let _permit = permit;
                admin.serve(Taking::new(stream, STALL_MAX)).await;
            });
        }
    }

    async fn serve<T>(self: Arc<Self>, stream: Taking<T>)
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let service = service_fn(move |request| {
            let admin = Arc::clone(&self);
            async move { Ok::<_, Infallible>(admin.answer(request).await) }
        });
        let served = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), service)
            .await;
        if let Err(error) = served {
            tracing::debug!(%error, "admin connection ended");
        }
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Full<Bytes>> {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "this address answers GET and HEAD\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match request.uri().path() {
            "/metrics" => self.metrics(),
            "/healthz" => text(StatusCode::OK, "ok\n"),
            "/readyz" => {
                let (status, told) = (self.readiness)();
                text(status, told)
            }
            "/version" => text(StatusCode::OK, self.version_text.clone()),
            "/debug" | "/debug/" => text(StatusCode::OK, debug::index(&self.pages)),
            path => match path.strip_prefix("/debug/") {
                Some(name) => self.debug_page(name).await,
                None => console::file(path).unwrap_or_else(|| {
                    let here =
                        "here are /metrics, /healthz, /readyz, /version and /debug/, and for browsers /\n";
                    text(StatusCode::NOT_FOUND, here)
                }),
            },
        }
    }

    /// Some look at what is on disk.
    async fn debug_page(self: &Arc<Self>, name: &str) -> Response<Full<Bytes>> {
        let Some(at) = self.pages.iter().position(|page| page.name == name) else {
            return text(StatusCode::NOT_FOUND, debug::index(&self.pages));
        };
        let admin = Arc::clone(self);
        let written = tokio::task::spawn_blocking(move || admin.pages.get(at).map(|page| (page.text)()));
        match written.await {
            Ok(Some(page)) => text(StatusCode::OK, page),
            Ok(None) | Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "the page could not be written\n"),
        }
    }

    fn metrics(&self) -> Response<Full<Bytes>> {
        let mut body = String::new();
        match prometheus_client::encoding::text::encode(&mut body, &self.registry) {
            Ok(()) => response(StatusCode::OK, OPENMETRICS, body.into()),
            Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "the metrics could not be written\n"),
        }
    }
}

fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    response(status, TEXT, text.into())
}

fn response(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, NO_SNIFFING);
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const STALL: Duration = Duration::from_millis(500);
    /// More than the pipe between client and server takes in.
    const BODY_BYTES: usize = 16 * PIPE_BYTES;
    const PIPE_BYTES: usize = 4096;
    const REQUEST: &[u8] = b"GET /version HTTP/1.1\r\nHost: a\r\n\r\n";

    fn admin() -> Arc<Admin> {
        let readiness = Box::new(|| (StatusCode::OK, String::new()));
        Arc::new(Admin::new(Registry::default(), readiness, "#".repeat(BODY_BYTES), Vec::new()))
    }

    #[tokio::test]
    async fn a_client_that_asks_and_takes_nothing_loses_its_connection() {
        let (mut client, server) = tokio::io::duplex(PIPE_BYTES);
        let serving = tokio::spawn(admin().serve(Taking::new(server, STALL)));
        client.write_all(&REQUEST.repeat(20)).await.expect("write");
        tokio::time::timeout(20 * STALL, serving).await.expect("it has ended").expect("join");
    }

    #[tokio::test]
    async fn a_client_that_takes_its_time_gets_one_answer_after_the_other_whole() {
        let (mut client, server) = tokio::io::duplex(PIPE_BYTES);
        tokio::spawn(admin().serve(Taking::new(server, STALL)));
        for _ in 0..2 {
            client.write_all(REQUEST).await.expect("write");
            let (mut taken, mut piece) = (0, [0; PIPE_BYTES]);
            while taken < BODY_BYTES {
                // waits for: nothing but time, of which the client takes some
                tokio::time::sleep(STALL / 8).await;
                let read = client.read(&mut piece).await.expect("read");
                assert!(read > 0, "cut after {taken} bytes");
                taken += String::from_utf8_lossy(&piece[..read]).matches('#').count();
            }
            // waits for: nothing but time, in which it has nothing to take
            tokio::time::sleep(2 * STALL).await;
        }
    }
}

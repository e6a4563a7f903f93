//! The web console: three files that a browser shows `/metrics`, `/readyz` and `/version` with. There is nothing behind it that
//! tools do not have too.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;

use super::response;

/// Whatever a label says, the page runs only what it came with, asks only where it came from, and is shown in no other page.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// The file of the console at `path`.
pub(super) fn file(path: &str) -> Option<Response<Full<Bytes>>> {
    let (content_type, content) = match path {
        "/" => ("text/html; charset=utf-8", include_str!("console/index.html")),
        "/console.css" => ("text/css; charset=utf-8", include_str!("console/console.css")),
        "/console.js" => ("text/javascript; charset=utf-8", include_str!("console/console.js")),
        "/openmetrics.js" => ("text/javascript; charset=utf-8", include_str!("console/openmetrics.js")),
        _ => return None,
    };
    let mut response = response(StatusCode::OK, content_type, Bytes::from_static(content.as_bytes()));
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, POLICY);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Some(response)
}

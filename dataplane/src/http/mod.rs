//! HTTP towards clients: sockets, limits, the request path and its answers. Knows GOPROXY's paths, nothing of
//! how content is found (that is [`crate::serve`]).

mod body;
mod connection;
mod guard;
mod host;
mod inbound;
mod limits;
mod listen;
mod metrics;
mod observe;
mod outlet;
mod piece;
mod places;
mod private;
mod range;
mod reaper;
mod rescue;
mod respond;
mod router;
mod sending;
mod shortcut;
mod stack;
mod streams;
mod trace;
mod unread;
mod watched;

pub use body::{Body, BodyError, ByteSource};
pub use inbound::{Inbound, RequestIds};
pub use listen::{Server, TlsSource, bind};
pub use metrics::HttpFamilies;
pub use observe::{AccessLog, Observer};
pub use reaper::{Patience, Reaper};
pub use respond::{CacheControl, Responder};
pub use router::Router;
pub(crate) use sending::costs_less_from_file;
pub use shortcut::Desk;
pub use stack::stack;
pub use trace::TraceParent;

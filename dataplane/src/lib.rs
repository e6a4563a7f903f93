//! The data plane: serves the GOPROXY protocol from a local cache, fetching what is missing.
//!
//! | module | owns |
//! |---|---|
//! | [`http`] | sockets, limits, the request path, answers |
//! | [`serve`] | how content is found: memory, store, origins, one flight per missing thing |
//! | [`store`] | everything on disk, and what leaves when space runs out |
//! | [`peers`] | the other nodes of the cluster: which of them to ask, and asking |
//! | [`replicate`] | keeping copies where the layout wants them |
//! | [`rpc`] | what other nodes, and control nodes, ask of this one |
//! | `holdings` | what the control plane hears of the store |
//! | `scrub` | reading everything that is stored, and making whole what is bad |
//! | [`upstream`] | fetching along a GOPROXY chain |
//! | [`sumdb`] | the checksum database: asked, verified, served again |
//! | [`private`] | which modules are private, and what logs call them |
//! | [`plane`] | building all of it from a configuration, running it, draining |
//! | [`client`] | whom a request is answered for |
//! | `per_client` | what one client may hold of what all share |
//! | `reservoir` | some of very many, each as likely as any other |
//! | [`admin`] | what operators look at |

#![forbid(unsafe_code)]

pub mod admin;
pub mod client;
pub mod control;
mod holdings;
mod housekeeping;
pub mod http;
pub mod peers;
mod per_client;
pub mod plane;
pub mod private;
pub mod replicate;
mod reservoir;
pub mod rpc;
mod scrub;
pub mod serve;
pub mod store;
pub mod sumdb;
mod sumdb_relay;
mod sumdb_store;
pub mod upstream;

pub use plane::{BuildError, Config, DataPlane};

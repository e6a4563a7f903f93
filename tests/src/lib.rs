//! The test bed: everything around the server that a test needs, and nothing of the server itself.
//!
//! It owns the fake origin, the fake checksum database, the real `go` command, raw sockets, and the
//! life of a real `goproxyd` process. It shares no code with the server, so a rule that the server
//! gets wrong is not wrong here in the same way. Everything listens on loopback, port chosen at run time.

#![forbid(unsafe_code)]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    clippy::return_self_not_must_use,
    clippy::indexing_slicing,
    reason = "a test bed fails a test by panicking, and its checks pass their subject on"
)]

pub mod balancer;
pub mod bed;
pub mod chance;
pub mod cluster;
pub mod connection;
pub mod cores;
pub mod developers;
pub mod dial;
pub mod failing_sync;
pub mod fault;
pub mod fault_proxy;
pub mod fleet;
pub mod floating;
pub mod gate;
pub mod go_client;
pub mod group;
pub mod hostile_zip;
pub mod linear;
pub mod log_scan;
pub mod module;
pub mod nemesis;
pub mod network;
pub mod node;
pub mod operator;
pub mod origin;
pub mod probe;
pub mod process;
pub mod program;
pub mod raw_h2;
pub mod raw_http;
pub mod register;
pub mod settings;
pub mod sumdb;
pub mod tls;
pub mod tree;
pub mod usage;
pub mod wall_clock;

pub use bed::Bed;
pub use cluster::Cluster;
pub use fault::Fault;
pub use gate::Gate;
pub use go_client::{GoClient, twice};
pub use group::Group;
pub use module::Module;
pub use network::Network;
pub use node::Node;
pub use operator::Operator;
pub use origin::Origin;
pub use process::Proxy;
pub use raw_http::{Call, Response};
pub use settings::Settings;
pub use sumdb::{SumDb, Tamper};
pub use wall_clock::WallClock;

//! Black-box tests: the real server and the real go command over loopback. One module a subject.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::case_sensitive_file_extension_comparisons,
    reason = "helpers of tests fail by panicking, and a module proxy's paths are case-sensitive"
)]

mod admin;
mod ahead;
mod answers;
mod bed;
mod checksum_db;
mod checksum_proxy;
mod cluster;
mod damage;
mod disk;
mod e2e;
mod edge;
mod eviction;
mod fronted;
mod go_scripts;
mod herd;
mod hostile_zip;
mod lifecycle;
mod limits;
mod one_client;
mod paths;
mod private;
mod protocol;
mod shortcut;
mod tls;
mod upstream_chain;
mod upstream_content;
mod upstream_faults;
mod windows;

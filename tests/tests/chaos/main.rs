//! The control plane under faults and under load: real processes, and times that are printed, and asked for under `SOAK`. One test
//! after the other, in a binary of their own, since what is measured is the machine as well.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests fail by panicking, and what is measured is printed"
)]

mod failover;
mod hop;
mod linearizable;
mod neighbours;
mod repair;
mod scale;
mod scene;
mod slow_node;
mod stream;
mod torment;

use std::sync::{Mutex, MutexGuard, PoisonError};

use tests::chance::is_soak;
use tests::{Cluster, Origin, program};

/// Held by the test that runs.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    // A test that failed leaves nothing behind that another could trip over.
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Three control nodes as they are shipped, if there is such a build: what is asked for of times is asked of that.
fn shipped() -> Cluster {
    Cluster::prepared(3, |node| {
        if let Some(program) = program::shipped() {
            node.program(program);
        }
    })
}

/// A cluster of so many data nodes as they are shipped, each in a zone of its own.
fn shipped_data_nodes(count: usize, origin: &Origin) -> Cluster {
    let mut cluster = Cluster::bootstrap();
    for number in 1..=count {
        let name = format!("data-{number}");
        cluster.add_node_with(&name, &format!("zone-{number}"), &origin.url(), |node| {
            if let Some(program) = program::shipped() {
                node.program(program);
            }
        });
        cluster.wait_state(&name, "active");
    }
    cluster.settled();
    cluster
}

/// Whether what was promised of times is asked for.
fn is_asked_for() -> bool {
    is_soak() && program::shipped().is_some()
}

/// What control nodes that are killed, stopped and cut off may warn of.
fn allow_trouble(cluster: &mut Cluster) {
    for node in &mut cluster.control {
        node.allow("raft: ");
        node.allow("failed to send a snapshot");
        // A node that was stopped finds calls that their callers have given up.
        node.allow("remotely-reset pending-accept streams");
    }
}

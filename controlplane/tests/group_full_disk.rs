//! A disk without room: the member takes part in nothing, says so, and comes back by itself. A process of its own, since
//! failpoints are everybody's.

#![cfg(feature = "failpoints")]

mod group_bed;

use bytes::Bytes;
use controlplane::raft::{DiskError, Fatal, Limits, ProposeError, RequestId};
use group_bed::{Bed, deadline, member};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_waited_out() {
    let mut bed = Bed::new(1, Limits::default());
    let written = bed.write("a", "1").await;
    let handle = bed.handle(member(1));
    fail::cfg("raft::disk::write", "return(full)").unwrap();
    let outcome = handle.propose(Bytes::from_static(b"a=2"), RequestId::new(50), deadline()).await;
    assert_eq!(outcome, Err(ProposeError::OutcomeUnknown));
    let mut halted = handle.halted();
    let why = halted.wait_for(Option::is_some).await.unwrap().clone().unwrap();
    assert!(matches!(*why, Fatal::Disk(DiskError::Full { .. })), "{why:?}");
    let outcome = handle.propose(Bytes::from_static(b"a=3"), RequestId::new(51), deadline()).await;
    assert_eq!(outcome, Err(ProposeError::DiskFull));
    assert_eq!(bed.view(member(1)).get(b"a").as_deref(), Some(&b"1"[..]), "what was there can be read");
    fail::remove("raft::disk::write");
    halted.wait_for(Option::is_none).await.unwrap();
    let again = bed.write("a", "4").await;
    assert!(again.index > written.index);

    // A write of which nobody knows whether it is on disk ends the member for good.
    fail::cfg("raft::disk::write", "return(lost)").unwrap();
    let outcome = handle.propose(Bytes::from_static(b"a=5"), RequestId::new(52), deadline()).await;
    assert_eq!(outcome, Err(ProposeError::OutcomeUnknown));
    let why = halted.wait_for(Option::is_some).await.unwrap().clone().unwrap();
    assert!(matches!(*why, Fatal::Disk(DiskError::Lost { .. })), "{why:?}");
    fail::remove("raft::disk::write");
    assert!(bed.stop(member(1)).is_err());
    bed.start(member(1));
    bed.write("a", "6").await;
}

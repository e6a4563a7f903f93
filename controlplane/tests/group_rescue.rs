//! Going on from one member of a real group, on its disk.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod group_bed;

use std::collections::BTreeSet;

use controlplane::raft::{Limits, LogStore, MemberChange, Rescue, RescueError};
use group_bed::{Bed, CLUSTER, Ledger, View, deadline, log_of, member};

/// Opens the directory of a member that has stopped.
fn store(bed: &Bed, id: u64) -> LogStore {
    LogStore::open(&bed.dir_of(member(id)), CLUSTER, member(id)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_is_there_and_a_group_grows_from_one() {
    let mut bed = Bed::new(3, Limits::default());
    let mut last = 0;
    for number in 0..20 {
        last = bed.write(&format!("key-{number}"), "before").await.index;
    }
    bed.reaches(member(3), last).await;
    for id in 1..=3 {
        bed.stop(member(id)).unwrap();
    }
    let nobody = Ledger::new(View::default());
    let mut rescue = Rescue::begin(store(&bed, 3), &nobody).unwrap();
    let standing = rescue.standing();
    assert!(standing.last_index >= last && rescue.has_others());
    let request = bed.request();
    assert_eq!(rescue.apply(request, b"recovered=yes").unwrap(), 21);
    let (index, term) = rescue.beginning();
    assert!(index > standing.last_index + 1_000_000 && term > standing.term);
    rescue.write().unwrap();

    bed.start(member(3));
    bed.handle(member(3)).campaign();
    assert_eq!(bed.leader().await, member(3));
    assert!(bed.write("after", "all").await.index > index);
    let view = bed.view(member(3));
    for (key, value) in [("key-0", "before"), ("key-19", "before"), ("recovered", "yes"), ("after", "all")] {
        assert_eq!(view.get(key.as_bytes()).as_deref(), Some(value.as_bytes()), "{key}");
    }
    // A new member is sent the whole state, and votes.
    bed.create(member(4), log_of(4), None);
    bed.start(member(4));
    let leader = bed.handle(member(3));
    for change in
        [MemberChange::Add { member: member(4), log: log_of(4) }, MemberChange::Promote { member: member(4) }]
    {
        let request = bed.request();
        let changed = leader.change_membership(vec![change], request, deadline()).await.unwrap();
        assert!(changed.voters.is_subset(&BTreeSet::from([3, 4])), "{changed:?}");
    }
    let index = bed.write("both", "have it").await.index;
    bed.reaches(member(4), index).await;
    assert_eq!(bed.view(member(4)).all(), bed.view(member(3)).all());
    bed.stop(member(3)).unwrap();
    bed.stop(member(4)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_behind_the_commit_index_count() {
    let mut bed = Bed::new(2, Limits::default());
    let leader = bed.leader().await;
    let other = member(3 - leader.get());
    bed.write("acknowledged", "yes").await;
    // Alone, the leader writes to its log what it cannot commit; with a majority lost nobody can tell it from what was answered.
    bed.stop(other).unwrap();
    let request = bed.request();
    let handle = bed.handle(leader);
    let asked = tokio::spawn(async move { handle.propose("unheard=of".into(), request, deadline()).await });
    let last = loop {
        let status = bed.handle(leader).status().await.unwrap();
        if status.last_index > status.commit {
            break status.last_index;
        }
        // waits for: the proposal to be in the log
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    };
    bed.stop(leader).unwrap();
    let _ = asked.await.unwrap();
    let nobody = Ledger::new(View::default());
    let rescue = Rescue::begin(store(&bed, leader.get()), &nobody).unwrap();
    let standing = rescue.standing();
    assert!(standing.last_index >= last && standing.commit < last, "{standing:?}");
    rescue.write().unwrap();
    bed.start(leader);
    bed.handle(leader).campaign();
    let index = bed.write("later", "on").await.index;
    bed.reaches(leader, index).await;
    let view = bed.view(leader);
    assert_eq!(view.get(b"acknowledged").as_deref(), Some(&b"yes"[..]));
    assert_eq!(view.get(b"unheard").as_deref(), Some(&b"of"[..]));
    bed.stop(leader).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_cannot_be_read_is_left_alone() {
    let mut bed = Bed::new(1, Limits::default());
    bed.leader().await;
    bed.write("one", "entry").await;
    bed.stop(member(1)).unwrap();
    let nobody = Ledger::new(View::default());
    let mut rescue = Rescue::begin(store(&bed, 1), &nobody).unwrap();
    let refused = rescue.apply(bed.request(), b"no equals sign");
    assert!(matches!(refused, Err(RescueError::Machine { .. })), "{refused:?}");
    drop(rescue);
    bed.start(member(1));
    bed.leader().await;
    bed.write("two", "entries").await;
    bed.stop(member(1)).unwrap();
}

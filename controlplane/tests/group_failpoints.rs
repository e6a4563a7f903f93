//! A member ends at each named point, wherever that catches it first, and comes back: nothing that was acknowledged is
//! gone or there twice. A process of its own, since failpoints are everybody's.

#![cfg(feature = "failpoints")]

mod group_bed;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cluster::MemberId;
use controlplane::raft::{ChangeError, DiskError, Fatal, Limits, MemberChange, Role};
use group_bed::{Bed, deadline, log_of, member};

const POINTS: [&str; 14] = [
    "raft::log::before_sync",
    "raft::log::after_sync",
    "raft::log::before_compact",
    "raft::ready::before_send",
    "raft::apply::before",
    "raft::apply::after",
    "raft::members::before_apply",
    "raft::members::after_apply",
    "raft::snapshot::send_frame",
    "raft::snapshot::receive_frame",
    "raft::snapshot::verified",
    "raft::snapshot::before_install",
    "raft::snapshot::after_install",
    "raft::disk::write",
];

/// How often the point of this round was met.
static MET: AtomicU64 = AtomicU64::new(0);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_wherever_a_member_ends() {
    // What the members say when they end is not what this test is about.
    std::panic::set_hook(Box::new(|panic| {
        let text = panic.payload_as_str().unwrap_or_default();
        if text.contains("failpoint") {
            MET.fetch_add(1, Ordering::SeqCst);
        } else {
            eprintln!("{panic}");
        }
    }));
    let limits = Limits {
        log_entries_max: 20,
        log_entries_kept: 5,
        frame_bytes: 200,
        digest_interval: 10,
        ..Limits::default()
    };
    let mut bed = Bed::new(3, limits);
    let mut acknowledged = BTreeMap::new();
    for (round, point) in POINTS.iter().enumerate() {
        let action = if *point == "raft::disk::write" { "1*return(lost)" } else { "1*panic(failpoint)" };
        MET.store(0, Ordering::SeqCst);
        fail::cfg(*point, action).unwrap();
        // Writes, a member that comes and goes, and one that has to be brought up by a snapshot: each point is met.
        let joiner = member(4 + round as u64);
        bed.create(joiner, log_of(joiner.get()), None);
        bed.start(joiner);
        change(&mut bed, vec![MemberChange::Add { member: joiner, log: log_of(joiner.get()) }]).await;
        let give_up = deadline();
        // The joiner is brought up behind the writes, and on a busy machine it comes by its points after the last of them.
        for number in 0.. {
            if number >= 40 && MET.load(Ordering::SeqCst) > 0 {
                break;
            }
            assert!(Instant::now() < give_up, "{point} was not met");
            let (key, value) = (format!("{round}/{number}"), format!("{point} {number}"));
            write(&mut bed, &key, &value).await;
            acknowledged.insert(key.into_bytes(), value.into_bytes());
            restart_ended(&mut bed);
        }
        fail::remove(*point);
        let last = bed.write("last", point).await;
        acknowledged.insert(b"last".to_vec(), point.as_bytes().to_vec());
        let ids: Vec<MemberId> = bed.running.keys().copied().collect();
        for id in ids {
            reaches(&mut bed, id, last.index).await;
            assert_eq!(bed.view(id).all(), acknowledged, "member {id} after {point}");
        }
        change(&mut bed, vec![MemberChange::Remove { member: joiner }]).await;
        drop(bed.stop(joiner));
    }
}

/// Changes the members through whoever leads, until it is so.
async fn change(bed: &mut Bed, changes: Vec<MemberChange>) {
    let give_up = deadline();
    loop {
        restart_ended(bed);
        let leader = bed.leader().await;
        let request = bed.request();
        match bed.handle(leader).change_membership(changes.clone(), request, deadline()).await {
            Ok(_) => return,
            Err(ChangeError::Refused { reason }) if reason.contains("no such member") => {
                return;
            }
            Err(_) => assert!(std::time::Instant::now() < give_up, "members do not change"),
        }
    }
}

/// Writes; members that end meanwhile are started again, as whoever runs them would, for more than one may be needed.
async fn write(bed: &mut Bed, key: &str, value: &str) {
    let give_up = deadline();
    while tokio::time::timeout(Duration::from_secs(3), bed.write(key, value)).await.is_err() {
        assert!(Instant::now() < give_up, "no write in time: {key}");
        restart_ended(bed);
    }
}

/// Waits until a member has applied up to an index; one that only now has ended of what it met is started again.
async fn reaches(bed: &mut Bed, id: MemberId, index: u64) {
    let give_up = deadline();
    while tokio::time::timeout(Duration::from_secs(1), bed.reaches(id, index)).await.is_err() {
        assert!(Instant::now() < give_up, "member {id} does not come up to {index}");
        restart_ended(bed);
    }
}

fn restart_ended(bed: &mut Bed) {
    let ended: Vec<MemberId> = bed
        .running
        .iter()
        .filter(|(_, running)| running.node.handle().halted().borrow().is_some())
        .map(|(id, _)| *id)
        .collect();
    for id in ended {
        assert_ne!(
            bed.handle(id).leadership().borrow().role,
            Role::Leader,
            "member {id} leads nothing once it has ended"
        );
        let why = bed.stop(id);
        assert!(why.is_err());
        if why.is_err_and(|why| matches!(*why, Fatal::Disk(DiskError::Lost { .. }))) {
            MET.fetch_add(1, Ordering::SeqCst);
        }
        bed.start(id);
    }
}

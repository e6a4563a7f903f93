//! Who is closed, and who is not.

use std::task::Poll;

use super::super::connection::Framing;
use super::*;

fn state(tick: u32) -> (Arc<AtomicU32>, Arc<ConnectionState>) {
    let tick = Arc::new(AtomicU32::new(tick));
    (Arc::clone(&tick), Arc::new(ConnectionState::new(tick)))
}

fn client(number: u8) -> Client {
    Client::of([192, 0, 2, number].into())
}

#[tokio::test]
async fn who_holds_the_most_makes_room_with_what_is_idle_longest_and_never_with_an_answer() {
    let reaper = Reaper::new(Patience::default());
    let open = |number| {
        let task = tokio::spawn(std::future::pending::<()>());
        let state = reaper.connection();
        let id = reaper.watch(Arc::clone(&state), task.abort_handle(), client(number));
        (task, state, id)
    };
    let idle = |(task, state, id)| {
        drop(ConnectionState::answering(&state, Framing::Lines));
        (task, state, id)
    };
    let lone = idle(open(1));
    reaper.sweep(|_| {});
    let (mut busy, newer) = (open(2), open(2));
    let _answering = busy.1.answering(Framing::Lines);
    reaper.sweep(|_| {});
    let newest = idle(open(2));
    // Not the lone client's, though it is the oldest, nor a head that may still come.
    assert!(reaper.make_room());
    assert!(newest.0.await.unwrap_err().is_cancelled());
    reaper.forget(newest.2);
    reaper.sweep(|_| {});
    assert!(reaper.make_room());
    assert!(newer.0.await.unwrap_err().is_cancelled());
    reaper.forget(newer.2);
    // What is left of the other is being answered.
    assert!(reaper.make_room());
    assert!(lone.0.await.unwrap_err().is_cancelled());
    assert!(!reaper.make_room());
    assert!(tokio::time::timeout(Duration::from_millis(1), &mut busy.0).await.is_err());
}

#[test]
fn a_head_that_does_not_end_is_closed_and_an_answer_is_not() {
    let (_, connection) = state(0);
    let patience = Patience::default();
    assert_eq!(judge(&connection, &mut None, patience.head_ticks, &patience), None);
    assert_eq!(judge(&connection, &mut None, patience.head_ticks + 1, &patience), Some(Verdict::SlowHead));
    let _answering = connection.answering(Framing::Lines);
    assert_eq!(judge(&connection, &mut None, 100_000, &patience), None);
}

#[test]
fn a_client_that_takes_nothing_is_cut_off_and_one_that_takes_enough_is_not() {
    let patience = Patience::default();
    let (_, connection) = state(0);
    let _answering = connection.answering(Framing::Lines);
    let mut stall = None;
    connection.wrote(&Poll::Pending);
    let cut_off = |tick: &u32| judge(&connection, &mut stall, *tick, &patience) == Some(Verdict::SlowReader);
    assert_eq!((1..1000).find(cut_off), Some(1 + patience.stall_ticks));
    let mut stall = None;
    for tick in 1..1000 {
        if tick % (patience.stall_ticks - 1) == 0 {
            connection.wrote(&Poll::Ready(Ok(patience.stall_bytes_min as usize)));
            connection.wrote(&Poll::Pending);
        }
        assert_eq!(judge(&connection, &mut stall, tick, &patience), None, "tick {tick}");
    }
}

#[test]
fn an_idle_connection_is_closed_in_time() {
    let (tick, connection) = state(0);
    let patience = Patience::default();
    tick.store(50, Relaxed);
    drop(connection.answering(Framing::Lines));
    assert_eq!(judge(&connection, &mut None, 50 + patience.idle_ticks, &patience), None);
    assert_eq!(judge(&connection, &mut None, 51 + patience.idle_ticks, &patience), Some(Verdict::Idle));
}

#[test]
fn the_end_of_an_answer_that_a_client_never_takes_closes_an_http2_connection() {
    let patience = Patience::default();
    for begun in [0, 5, u32::MAX - 20] {
        let (tick, connection) = state(begun);
        let mut verdicts = 0..=120;
        let mut answering = connection.answering(Framing::Frames);
        answering.leave();
        let mut stall = None;
        let at = verdicts.find(|after| {
            let now = begun.wrapping_add(*after);
            tick.store(now, Relaxed);
            // Answers that come and go are no progress of the one that is stuck.
            let mut other = connection.answering(Framing::Frames);
            other.leave();
            drop(other);
            judge(&connection, &mut stall, now, &patience) == Some(Verdict::SlowReader)
        });
        assert!(at.is_some_and(|at| (64..=80).contains(&at)), "{at:?} from {begun}");
        drop(answering);
        assert_eq!(judge(&connection, &mut stall, tick.load(Relaxed), &patience), None);
    }
    let (_, connection) = state(0);
    let mut over_one = connection.answering(Framing::Lines);
    over_one.leave();
    assert!((0..100).all(|now| judge(&connection, &mut None, now, &patience).is_none()));
}

#[tokio::test]
async fn a_connection_that_ended_before_it_began_is_told_of_once_and_forgotten() {
    let reaper = Reaper::new(Patience { head_ticks: 0, ..Patience::default() });
    let never_begun = tokio::spawn(std::future::pending::<()>());
    reaper.watch(reaper.connection(), never_begun.abort_handle(), client(1));
    let mut told = 0;
    reaper.sweep(|_| told += 1);
    reaper.sweep(|_| told += 1);
    assert!(never_begun.await.unwrap_err().is_cancelled());
    reaper.sweep(|_| told += 1);
    assert_eq!((told, reaper.open.lock().connections.len()), (1, 0));
}

#[test]
fn who_has_not_taken_all_yet_makes_no_room() {
    let (_, connection) = state(0);
    drop(connection.answering(Framing::Lines));
    assert_eq!(dispensable(&connection, 5), Some(5));
    connection.flushed(&Poll::Pending);
    assert_eq!(dispensable(&connection, 5), None, "it is in the TLS session");
    connection.flushed(&Poll::Ready(Ok(())));
    assert_eq!(dispensable(&connection, 5), Some(5));
}

#[tokio::test]
async fn a_sweep_aborts_the_slow_and_spares_the_rest() {
    let reaper = Reaper::new(Patience { head_ticks: 2, ..Patience::default() });
    let slow = tokio::spawn(std::future::pending::<()>());
    let fine = tokio::spawn(std::future::pending::<()>());
    let busy = reaper.connection();
    let _answering = busy.answering(Framing::Lines);
    reaper.watch(reaper.connection(), slow.abort_handle(), client(1));
    reaper.watch(busy, fine.abort_handle(), client(1));
    let mut verdicts = Vec::new();
    for _ in 0..3 {
        reaper.sweep(|verdict| verdicts.push(verdict));
    }
    assert_eq!(verdicts, [Verdict::SlowHead]);
    assert!(slow.await.unwrap_err().is_cancelled());
    assert!(!fine.is_finished());
}

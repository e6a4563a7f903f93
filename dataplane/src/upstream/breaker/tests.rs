//! The breaker as a table of events and what they do.

use proptest::prelude::*;

use super::*;

/// A request that goes out now and fails at once.
fn fail(breaker: &mut Breaker, fault: Fault, now: Instant) {
    let pass = breaker.admit(now).unwrap();
    breaker.failed(pass, fault, now);
}

/// A circuit that has just opened.
fn open(now: Instant) -> Breaker {
    let mut breaker = Breaker::new(now);
    for _ in 0..REQUESTS_MIN {
        fail(&mut breaker, Fault::Unreached, now);
    }
    breaker
}

/// Nothing goes out for so long, since it failed.
fn failing(retry_in: Duration) -> Result<Pass, Shut> {
    Err(Shut { retry_in, is_asked_for: false })
}

#[test]
fn opens_at_half_failures_of_enough_requests_and_not_before() {
    let now = Instant::now();
    let mut breaker = Breaker::new(now);
    for _ in 0..REQUESTS_MIN - 1 {
        fail(&mut breaker, Fault::Unreached, now);
    }
    assert_eq!(breaker.state(now), BreakerState::Closed);
    fail(&mut breaker, Fault::Unreached, now);
    assert_eq!(breaker.admit(now), failing(OPEN_FIRST));

    let mut mixed = Breaker::new(now);
    for _ in 0..100 {
        mixed.succeeded(now);
        mixed.succeeded(now);
        fail(&mut mixed, Fault::Unreached, now);
    }
    assert_eq!(mixed.state(now), BreakerState::Closed, "a third of failures");
}

#[test]
fn a_few_modules_that_fail_do_not_open_it_and_many_do() {
    let now = Instant::now();
    let mut breaker = Breaker::new(now);
    for number in 0..1_000 {
        fail(&mut breaker, Fault::Over(number % 7), now);
    }
    assert_eq!(breaker.state(now), BreakerState::Closed);
    for number in 0..REQUESTS_MIN {
        if let Ok(pass) = breaker.admit(now) {
            breaker.failed(pass, Fault::Over(number), now);
        }
    }
    assert_eq!(breaker.state(now), BreakerState::Open);
}

#[test]
fn a_probe_that_waits_keeps_the_others_out_for_seconds_only() {
    let now = Instant::now();
    let mut breaker = open(now);
    let later = now + OPEN_FIRST;
    assert_eq!(breaker.state(later), BreakerState::HalfOpen);
    for _ in 0..PROBES {
        breaker.admit(later).unwrap();
    }
    assert_eq!(breaker.admit(later), failing(PROBES_EVERY));
    let next = later + PROBES_EVERY;
    breaker.admit(next).unwrap();
    breaker.succeeded(next);
    assert_eq!(breaker.state(next), BreakerState::Closed);
    fail(&mut breaker, Fault::Unreached, next);
    assert_eq!(breaker.state(next), BreakerState::Closed, "history is cleared");
}

#[test]
fn a_probe_that_fails_doubles_the_time() {
    let now = Instant::now();
    let mut breaker = open(now);
    let later = now + OPEN_FIRST;
    fail(&mut breaker, Fault::Unreached, later);
    assert_eq!(breaker.admit(later), failing(OPEN_FIRST * 2));
    let again = later + OPEN_FIRST * 2;
    breaker.admit(again).unwrap();
    breaker.succeeded(again);
    for _ in 0..REQUESTS_MIN {
        if let Ok(pass) = breaker.admit(again) {
            breaker.failed(pass, Fault::Unreached, again);
        }
    }
    assert_eq!(breaker.admit(again), failing(OPEN_FIRST), "success begins anew");
}

#[test]
fn whoever_answers_at_all_is_asked_by_everybody_but_not_trusted_yet() {
    let now = Instant::now();
    let mut breaker = open(now);
    let later = now + OPEN_FIRST;
    let probe = breaker.admit(later).unwrap();
    breaker.erred();
    breaker.failed(probe, Fault::Over(0), later);
    for _ in 0..100 {
        breaker.admit(later).unwrap();
    }
    assert_eq!(breaker.state(later), BreakerState::HalfOpen);
    for module in 1..REQUESTS_MIN {
        fail(&mut breaker, Fault::Over(module), later);
    }
    assert_eq!(breaker.admit(later), failing(OPEN_FIRST * 2), "it was only able to say that it cannot");

    let mut breaker = open(now);
    breaker.admit(later).unwrap();
    breaker.erred();
    breaker.succeeded(later);
    assert_eq!(breaker.state(later), BreakerState::Closed);
}

#[test]
fn what_went_out_before_it_opened_says_nothing_of_the_time_after() {
    let now = Instant::now();
    let mut breaker = Breaker::new(now);
    let old = breaker.admit(now).unwrap();
    for _ in 0..REQUESTS_MIN {
        fail(&mut breaker, Fault::Unreached, now);
    }
    breaker.succeeded(now);
    assert_eq!(breaker.state(now), BreakerState::Open);
    let later = now + OPEN_FIRST;
    breaker.admit(later).unwrap();
    breaker.failed(old, Fault::Unreached, later);
    assert_eq!(breaker.state(later), BreakerState::HalfOpen);
    breaker.admit(later).unwrap();
}

#[test]
fn retry_after_is_obeyed_up_to_a_bound() {
    let now = Instant::now();
    let mut breaker = Breaker::new(now);
    breaker.hold_off(now, Duration::from_hours(24));
    let shut = Shut { retry_in: OPEN_MAX, is_asked_for: true };
    assert_eq!(breaker.admit(now), Err(shut));
    breaker.hold_off(now, Duration::from_secs(1));
    assert_eq!(breaker.admit(now), Err(shut), "a shorter wish does not shorten");
    assert!(breaker.admit(now + OPEN_MAX).is_ok());
}

proptest! {
    /// However outcomes and time mix: nobody is kept out for longer than the bound, and after an answer
    /// everything passes.
    #[test]
    fn it_always_comes_back(events in prop::collection::vec((0_u8..7, 0_u64..5_000), 0..200)) {
        let mut now = Instant::now();
        let mut breaker = Breaker::new(now);
        let mut passes = vec![breaker.admit(now).unwrap()];
        for (event, gap_ms) in events {
            now += Duration::from_millis(gap_ms);
            let pass = passes[gap_ms as usize % passes.len()];
            match event {
                0 => breaker.succeeded(now),
                1 => breaker.failed(pass, Fault::Unreached, now),
                2 => breaker.failed(pass, Fault::Over(gap_ms as u32), now),
                3 => breaker.erred(),
                4 => breaker.hold_off(now, Duration::from_millis(gap_ms)),
                _ => {}
            }
            match breaker.admit(now) {
                Ok(pass) => passes.push(pass),
                Err(shut) => prop_assert!(shut.retry_in > Duration::ZERO && shut.retry_in <= OPEN_MAX),
            }
        }
        let later = now + OPEN_MAX;
        prop_assert!(breaker.admit(later).is_ok());
        breaker.succeeded(later);
        prop_assert_eq!(breaker.state(later), BreakerState::Closed);
    }
}

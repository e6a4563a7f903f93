//! Whether a history of concurrent operations on one register could have come from a register that does one thing at a time.
//!
//! The register has a generation that grows by one with each write, and can be written on condition of its generation. The search
//! is that of Wing and Gong with Lowe's memory of what was tried. An operation whose end nobody heard of may have taken effect at
//! any time after its beginning, or never. Pure: a history in, a verdict out; histories of several registers are checked one by one.

use std::collections::HashSet;
use std::fmt;

/// What a register holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct State {
    /// How often it was written.
    pub generation: u64,
    /// What was written last.
    pub value: u64,
}

/// What a client did, and what it was told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Call {
    /// It read this.
    Read(State),
    /// It wrote this value, whatever was there.
    Write(u64),
    /// It wrote this value in place of this generation.
    Swap {
        /// The generation that had to be there.
        expected: u64,
        /// The value.
        value: u64,
    },
    /// It was told that this generation was not there.
    Refused {
        /// The generation that had to be there.
        expected: u64,
    },
}

/// An operation of a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Operation {
    /// When the client began.
    pub begin: u64,
    /// When it was answered; `None` if it never knew what came of it.
    pub end: Option<u64>,
    /// What it did.
    pub call: Call,
}

/// Why no order explains a history: how far the search came at best, and what fits nowhere after that.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// Answered operations that could be put in order.
    pub explained: usize,
    /// What the register held then.
    pub state: State,
    /// The answered operations that would have to be next.
    pub stuck: Vec<Operation>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { explained, state, stuck } = self;
        write!(f, "after {explained} operations, at {state:?}, none of these can be next: {stuck:?}")
    }
}

impl Operation {
    fn is_answered(&self) -> bool {
        self.end.is_some()
    }

    /// Whether nobody heard of it and the generation that it was for is gone: it never took effect.
    fn is_too_late(&self, state: State) -> bool {
        let gone = matches!(self.call, Call::Swap { expected, .. } if expected < state.generation);
        gone && !self.is_answered()
    }

    /// What the register holds after the operation; `None` if it could not have been answered so.
    fn after(&self, state: State) -> Option<State> {
        let written = |value| State { generation: state.generation + 1, value };
        match self.call {
            Call::Read(seen) => (seen == state).then_some(state),
            Call::Write(value) => Some(written(value)),
            Call::Swap { expected, value } => (expected == state.generation).then(|| written(value)),
            Call::Refused { expected } => (expected != state.generation).then_some(state),
        }
    }
}

/// Looks for an order of the operations in which each is between its beginning and its end and every answer is right, from a register
/// that holds `first`.
pub fn check(first: State, history: &[Operation]) -> Result<(), Violation> {
    let mut operations = history.to_vec();
    operations.sort_by_key(|operation| operation.begin);
    let answered = operations.iter().filter(|operation| operation.is_answered()).count();
    let mut tried = HashSet::new();
    let mut open = vec![Branch { state: first, done: Done::none(operations.len()), explained: 0, low: 0 }];
    let mut best: Option<Violation> = None;
    while let Some(mut branch) = open.pop() {
        branch.take_what_changes_nothing(&operations);
        if branch.explained == answered {
            return Ok(());
        }
        if !tried.insert((branch.state, branch.done.clone())) {
            continue;
        }
        let next = branch.next(&operations);
        if best.as_ref().is_none_or(|best| branch.explained > best.explained) {
            let stuck = next.iter().map(|at| operations[*at]).filter(Operation::is_answered).collect();
            best = Some(Violation { explained: branch.explained, state: branch.state, stuck });
        }
        for at in next {
            let Some(state) = operations[at].after(branch.state) else { continue };
            let mut taken = branch.clone();
            taken.take(at, &operations);
            taken.state = state;
            open.push(taken);
        }
    }
    Err(best.unwrap_or(Violation { explained: 0, state: first, stuck: Vec::new() }))
}

/// Which operations are in order already, a bit for each.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Done(Vec<u64>);

impl Done {
    fn none(count: usize) -> Self {
        Self(vec![0; count.div_ceil(64)])
    }

    fn has(&self, at: usize) -> bool {
        self.0[at / 64] & (1 << (at % 64)) != 0
    }

    fn add(&mut self, at: usize) {
        self.0[at / 64] |= 1 << (at % 64);
    }
}

/// An order of some operations.
#[derive(Clone)]
struct Branch {
    state: State,
    done: Done,
    /// Answered operations in it.
    explained: usize,
    /// All operations before this one are in it, or can no longer happen.
    low: usize,
}

impl Branch {
    fn take(&mut self, at: usize, operations: &[Operation]) {
        self.done.add(at);
        self.explained += usize::from(operations[at].is_answered());
    }

    /// Moves `low` past what is in order, and past what can no longer happen.
    fn narrow(&mut self, operations: &[Operation]) {
        let is_over =
            |at: usize, operation: &Operation| self.done.has(at) || operation.is_too_late(self.state);
        let left = operations.iter().enumerate().skip(self.low);
        self.low = left
            .filter(|(at, operation)| !is_over(*at, operation))
            .map(|(at, _)| at)
            .next()
            .unwrap_or(operations.len());
    }

    /// Operations that may be next: those that began before any that is left was answered.
    fn next(&self, operations: &[Operation]) -> Vec<usize> {
        let mut found = Vec::new();
        let mut earliest_end = u64::MAX;
        for (at, operation) in operations.iter().enumerate().skip(self.low) {
            if operation.begin > earliest_end {
                break;
            }
            if !self.done.has(at) {
                found.push(at);
                earliest_end = earliest_end.min(operation.end.unwrap_or(u64::MAX));
            }
        }
        found
    }

    /// What leaves the register as it is can be next as soon as it fits: that never makes anything else impossible.
    fn take_what_changes_nothing(&mut self, operations: &[Operation]) {
        loop {
            self.narrow(operations);
            let idle = |at: &usize| operations[*at].after(self.state) == Some(self.state);
            let Some(at) = self.next(operations).into_iter().find(idle) else { return };
            self.take(at, operations);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: State = State { generation: 1, value: 10 };

    fn at(generation: u64, value: u64) -> Call {
        Call::Read(State { generation, value })
    }

    fn swap(expected: u64, value: u64) -> Call {
        Call::Swap { expected, value }
    }

    fn did(begin: u64, end: u64, call: Call) -> Operation {
        Operation { begin, end: Some(end), call }
    }

    fn unheard(begin: u64, call: Call) -> Operation {
        Operation { begin, end: None, call }
    }

    fn explained(history: &[Operation]) -> Result<(), Violation> {
        check(FIRST, history)
    }

    #[test]
    fn one_after_the_other_is_explained() {
        let history = [
            did(0, 1, at(1, 10)),
            did(2, 3, swap(1, 11)),
            did(4, 5, at(2, 11)),
            did(6, 7, Call::Refused { expected: 1 }),
            did(8, 9, Call::Write(12)),
            did(10, 11, at(3, 12)),
        ];
        assert_eq!(explained(&history), Ok(()));
        assert_eq!(explained(&[]), Ok(()));
    }

    #[test]
    fn what_overlaps_may_be_in_either_order() {
        // Both readers overlap the write, one saw it and the other did not, though the one that did not was answered later.
        let write = did(0, 10, swap(1, 11));
        assert_eq!(explained(&[write, did(1, 9, at(2, 11)), did(2, 8, at(1, 10))]), Ok(()));
        // The one that was refused came second, whoever was answered first.
        assert_eq!(explained(&[write, did(1, 2, Call::Refused { expected: 1 })]), Ok(()));
        assert_eq!(
            explained(&[did(0, 10, Call::Write(11)), did(0, 9, swap(2, 12)), did(11, 12, at(3, 12))]),
            Ok(())
        );
    }

    #[test]
    fn a_write_that_nobody_heard_of_may_have_happened_late_or_never() {
        let lost = unheard(0, swap(1, 11));
        assert_eq!(explained(&[lost, did(5, 6, at(1, 10))]), Ok(()));
        assert_eq!(explained(&[lost, did(5, 6, at(1, 10)), did(7, 8, at(2, 11))]), Ok(()));
        assert_eq!(explained(&[lost, did(5, 6, swap(1, 12)), did(7, 8, at(2, 12))]), Ok(()));
        assert_eq!(
            explained(&[unheard(0, Call::Write(11)), did(5, 6, swap(1, 12)), did(7, 8, at(3, 11))]),
            Ok(())
        );
    }

    #[test]
    fn a_stale_read_is_noticed() {
        let history = [did(0, 1, swap(1, 11)), did(2, 3, at(1, 10))];
        let violation = explained(&history).unwrap_err();
        assert_eq!(
            violation,
            Violation { explained: 1, state: State { generation: 2, value: 11 }, stuck: vec![history[1]] }
        );
        // Stale by what another reader was told already, though the write is still under way.
        assert!(explained(&[did(0, 10, swap(1, 11)), did(1, 2, at(2, 11)), did(3, 4, at(1, 10))]).is_err());
        // A write that nobody heard of was seen: it cannot be unseen.
        assert!(explained(&[unheard(0, swap(1, 11)), did(1, 2, at(2, 11)), did(3, 4, at(1, 10))]).is_err());
    }

    #[test]
    fn a_lost_write_is_noticed() {
        assert!(explained(&[did(0, 1, swap(1, 11)), did(2, 3, swap(1, 12))]).is_err());
        assert!(
            explained(&[did(0, 1, Call::Write(11)), did(2, 3, Call::Write(12)), did(4, 5, at(2, 12))])
                .is_err()
        );
    }

    #[test]
    fn a_write_that_happened_twice_is_noticed() {
        assert!(explained(&[did(0, 1, Call::Write(11)), did(2, 3, at(3, 11))]).is_err());
        assert!(explained(&[unheard(0, Call::Write(11)), did(2, 3, at(3, 11))]).is_err());
    }

    #[test]
    fn two_winners_of_one_generation_are_noticed() {
        let both = [did(0, 10, swap(1, 11)), did(0, 10, swap(1, 12))];
        assert!(explained(&both).is_err());
        // One of them did not hear that it won, and yet was seen to.
        assert!(
            explained(&[unheard(0, swap(1, 11)), did(0, 10, swap(1, 12)), did(11, 12, at(2, 11))]).is_err()
        );
    }

    #[test]
    fn a_refusal_without_a_reason_and_a_value_from_nowhere_are_noticed() {
        assert!(explained(&[did(0, 1, Call::Refused { expected: 1 })]).is_err());
        assert!(explained(&[did(0, 1, at(1, 99))]).is_err());
        assert!(explained(&[did(0, 1, swap(1, 11)), did(2, 3, at(2, 99))]).is_err());
        // Nothing happens before it begins.
        assert!(explained(&[did(0, 1, at(2, 11)), did(2, 3, swap(1, 11))]).is_err());
    }

    #[test]
    fn a_long_history_of_many_clients_is_checked_in_no_time() {
        let mut history = Vec::new();
        for round in 0..3_000 {
            let (begin, generation) = (round * 10, round + 1);
            // One of four wins, one never hears what came of it, and two read before and after.
            history.push(did(begin, begin + 8, swap(generation, generation + 1)));
            history.push(did(begin, begin + 9, Call::Refused { expected: generation }));
            history.push(unheard(begin, swap(generation, 7)));
            history.push(did(begin + 1, begin + 9, at(generation, generation)));
            history.push(did(begin + 1, begin + 9, at(generation + 1, generation + 1)));
        }
        assert_eq!(check(State { generation: 1, value: 1 }, &history), Ok(()));
        let last = history.len() as u64 * 10;
        history.push(did(last, last + 1, at(3_000, 3_000)));
        assert!(check(State { generation: 1, value: 1 }, &history).is_err());
    }
}

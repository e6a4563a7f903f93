//! Owns the rule of a chain: after which answer the next entry is asked, and which error is told at the end.
//!
//! Pure. Knows nothing of HTTP: the caller says to which [`Class`] an error belongs.

use super::chain::FallThrough;

/// What an error of one entry means for the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// The entry could not be asked at all (`off`, or `direct` before git support): says nothing.
    NotAsked,
    /// The origin says that there is no such thing (404, 410).
    NotFound,
    /// Anything else that went wrong.
    Other,
}

/// What to do after an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Ask the next entry.
    GoOn,
    /// Tell the error.
    Stop,
}

/// One walk along a chain: collects errors and keeps the one worth telling.
///
/// The rule is that of `cmd/go/internal/modfetch.TryProxies`: "not found" always lets the next entry be asked, other
/// errors only where `|` follows; an error other than "not found" is told rather than a "not found", and of two of
/// the same kind the later one. So trouble is never reported as absence.
#[derive(Debug)]
pub struct Walk<E> {
    told: Option<(Class, E)>,
}

impl<E> Walk<E> {
    /// A walk on which nobody was asked yet.
    pub fn new() -> Self {
        Self { told: None }
    }

    /// Notes the error of an entry and says whether to ask the next one.
    pub fn failed(&mut self, class: Class, error: E, then: FallThrough) -> Step {
        let replaces = match &self.told {
            None => true,
            // An entry that was not asked never hides what another one said.
            Some((told, _)) => class >= *told && class != Class::NotAsked,
        };
        if replaces {
            self.told = Some((class, error));
        }
        match (class, then) {
            (Class::NotAsked | Class::NotFound, _) | (Class::Other, FallThrough::OnAnyError) => Step::GoOn,
            (Class::Other, FallThrough::OnNotFound) => Step::Stop,
        }
    }

    /// The error to tell; `None` if no entry failed.
    pub fn into_error(self) -> Option<E> {
        self.told.map(|(_, error)| error)
    }
}

impl<E> Default for Walk<E> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(steps: &[(Class, FallThrough)]) -> (usize, Option<usize>) {
        let mut walk = Walk::new();
        for (index, (class, then)) in steps.iter().enumerate() {
            if walk.failed(*class, index, *then) == Step::Stop {
                return (index + 1, walk.into_error());
            }
        }
        (steps.len(), walk.into_error())
    }

    #[test]
    fn the_table_of_the_go_command() {
        use Class::{NotAsked, NotFound, Other};
        use FallThrough::{OnAnyError, OnNotFound};
        // (errors in order, entries asked, index of the error told)
        type Row = (&'static [(Class, FallThrough)], usize, usize);
        let table: &[Row] = &[
            (&[(NotFound, OnNotFound), (NotFound, OnNotFound)], 2, 1),
            (&[(Other, OnNotFound), (NotFound, OnNotFound)], 1, 0),
            (&[(Other, OnAnyError), (NotFound, OnNotFound)], 2, 0),
            (&[(NotFound, OnAnyError), (Other, OnNotFound)], 2, 1),
            (&[(Other, OnAnyError), (Other, OnAnyError)], 2, 1),
            (&[(NotFound, OnNotFound), (NotAsked, OnNotFound)], 2, 0),
            (&[(Other, OnAnyError), (NotAsked, OnNotFound)], 2, 0),
            (&[(NotAsked, OnNotFound)], 1, 0),
        ];
        for (steps, asked, told) in table {
            assert_eq!(run(steps), (*asked, Some(*told)), "{steps:?}");
        }
    }

    fn class() -> impl Strategy<Value = Class> {
        prop_oneof![Just(Class::NotAsked), Just(Class::NotFound), Just(Class::Other)]
    }

    fn then() -> impl Strategy<Value = FallThrough> {
        prop_oneof![Just(FallThrough::OnNotFound), Just(FallThrough::OnAnyError)]
    }

    proptest! {
        #[test]
        fn agrees_with_the_rule_said_otherwise(steps in prop::collection::vec((class(), then()), 1..8)) {
            let (asked, told) = run(&steps);
            // The walk ends at the first trouble that is followed by `,`.
            let stop = steps.iter().position(|s| *s == (Class::Other, FallThrough::OnNotFound));
            prop_assert_eq!(asked, stop.map_or(steps.len(), |at| at + 1));
            // Told is the last of the gravest class among those asked; of the silent ones the first.
            let seen = &steps[..asked];
            let gravest = seen.iter().map(|s| s.0).max().unwrap();
            let expected = if gravest == Class::NotAsked {
                Some(0)
            } else {
                seen.iter().rposition(|s| s.0 == gravest)
            };
            prop_assert_eq!(told, expected);
        }

        #[test]
        fn trouble_is_never_told_as_absence(steps in prop::collection::vec((class(), then()), 1..8)) {
            let (asked, told) = run(&steps);
            if steps[..asked].iter().any(|s| s.0 == Class::Other) {
                prop_assert_eq!(steps[told.unwrap()].0, Class::Other);
            }
        }
    }
}

//! Proposals that wait for their entry to be applied, by request id.
//!
//! Invariant: a proposal that was taken is answered exactly once: by its entry, by another entry in its place, or by
//! the end of the leadership in which it was made.

use std::collections::BTreeMap;

use super::error::ProposeError;
use super::machine::RequestId;

/// Where a proposal went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    index: u64,
    term: u64,
    is_change: bool,
}

/// A proposal that will not be answered by its entry.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failed {
    pub(super) request: RequestId,
    /// Whether it was a change of members.
    pub(super) is_change: bool,
    pub(super) error: ProposeError,
}

#[derive(Debug, Default)]
pub(super) struct Proposals {
    by_request: BTreeMap<RequestId, Place>,
    by_index: BTreeMap<u64, RequestId>,
}

impl Proposals {
    pub(super) fn len(&self) -> usize {
        self.by_request.len()
    }

    pub(super) fn contains(&self, request: RequestId) -> bool {
        self.by_request.contains_key(&request)
    }

    pub(super) fn add(&mut self, request: RequestId, index: u64, term: u64, is_change: bool) {
        self.by_request.insert(request, Place { index, term, is_change });
        self.by_index.insert(index, request);
    }

    /// Nobody waits any longer.
    pub(super) fn forget(&mut self, request: RequestId) {
        if let Some(place) = self.by_request.remove(&request) {
            self.by_index.remove(&place.index);
        }
    }

    /// The entry at `index` is applied. Says whether the request it holds was waited for here, and which one lost its
    /// place to it.
    pub(super) fn applied(
        &mut self,
        index: u64,
        term: u64,
        request: Option<RequestId>,
    ) -> (bool, Option<Failed>) {
        let Some(waiting) = self.by_index.remove(&index) else { return (false, None) };
        let Some(place) = self.by_request.remove(&waiting) else { return (false, None) };
        if Some(waiting) == request && place.term == term {
            return (true, None);
        }
        let failed = Failed { request: waiting, is_change: place.is_change, error: ProposeError::Dropped };
        (false, Some(failed))
    }

    /// Leadership in the terms before `term` is over, and that in `term` too unless this member leads.
    pub(super) fn deposed(&mut self, term: u64, leads: bool) -> Vec<Failed> {
        let over = |place: &Place| place.term < term || !leads;
        let failed: Vec<_> = self
            .by_request
            .iter()
            .filter(|(_, place)| over(place))
            .map(|(&request, place)| Failed {
                request,
                is_change: place.is_change,
                error: ProposeError::OutcomeUnknown,
            })
            .collect();
        for failed in &failed {
            self.forget(failed.request);
        }
        failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: RequestId = RequestId::new(1);
    const TWO: RequestId = RequestId::new(2);

    #[test]
    fn an_entry_answers_the_request_it_holds() {
        let mut proposals = Proposals::default();
        proposals.add(ONE, 5, 2, false);
        assert_eq!(proposals.applied(4, 2, Some(TWO)), (false, None));
        assert_eq!(proposals.applied(5, 2, Some(ONE)), (true, None));
        assert_eq!((proposals.len(), proposals.contains(ONE)), (0, false));
    }

    #[test]
    fn an_entry_of_another_term_takes_the_place() {
        for (term, request) in [(3, Some(TWO)), (3, None), (3, Some(ONE))] {
            let mut proposals = Proposals::default();
            proposals.add(ONE, 5, 2, true);
            let failed = Failed { request: ONE, is_change: true, error: ProposeError::Dropped };
            assert_eq!(proposals.applied(5, term, request), (false, Some(failed)));
        }
    }

    #[test]
    fn the_end_of_leadership_leaves_the_outcome_open() {
        let mut proposals = Proposals::default();
        proposals.add(ONE, 5, 2, false);
        proposals.add(TWO, 6, 3, false);
        let failed = proposals.deposed(3, true);
        assert_eq!(failed.iter().map(|failed| failed.request).collect::<Vec<_>>(), [ONE]);
        assert_eq!(proposals.deposed(3, true), []);
        let failed = proposals.deposed(3, false);
        assert_eq!(failed[0].error, ProposeError::OutcomeUnknown);
        assert_eq!(proposals.len(), 0);
    }
}

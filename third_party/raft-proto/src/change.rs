//! Changes of members in their two forms, read as one.

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::eraftpb::{
    ConfChange, ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, ConfState,
};

/// One step of a change.
pub fn new_conf_change_single(node_id: u64, change: ConfChangeType) -> ConfChangeSingle {
    ConfChangeSingle { node_id, change_type: change.into() }
}

/// A change of members in either form.
pub trait ConfChangeI {
    /// In the newer form, by value.
    fn into_v2(self) -> ConfChangeV2;

    /// In the newer form.
    fn as_v2(&self) -> Cow<'_, ConfChangeV2>;

    /// In the older form, if that is what it is.
    fn as_v1(&self) -> Option<&ConfChange>;
}

impl ConfChangeI for ConfChange {
    fn into_v2(self) -> ConfChangeV2 {
        let change = ConfChangeSingle { change_type: self.change_type, node_id: self.node_id };
        ConfChangeV2 { changes: vec![change], context: self.context, ..ConfChangeV2::default() }
    }

    fn as_v2(&self) -> Cow<'_, ConfChangeV2> {
        Cow::Owned(self.clone().into_v2())
    }

    fn as_v1(&self) -> Option<&ConfChange> {
        Some(self)
    }
}

impl ConfChangeI for ConfChangeV2 {
    fn into_v2(self) -> ConfChangeV2 {
        self
    }

    fn as_v2(&self) -> Cow<'_, ConfChangeV2> {
        Cow::Borrowed(self)
    }

    fn as_v1(&self) -> Option<&ConfChange> {
        None
    }
}

impl ConfChangeV2 {
    /// Whether it takes a joint configuration, and then whether that ends by itself: always for several steps at
    /// once, since their majorities need not overlap, and whenever it is asked for.
    pub fn enter_joint(&self) -> Option<bool> {
        match self.get_transition() {
            ConfChangeTransition::Auto if self.changes.len() <= 1 => None,
            ConfChangeTransition::Auto | ConfChangeTransition::Implicit => Some(true),
            ConfChangeTransition::Explicit => Some(false),
        }
    }

    /// Whether it ends a joint configuration: that is what one without any step does.
    pub fn leave_joint(&self) -> bool {
        self.get_transition() == ConfChangeTransition::Auto && self.changes.is_empty()
    }
}

/// Whether both say the same, in whatever order.
pub fn conf_state_eq(one: &ConfState, other: &ConfState) -> bool {
    let same = |one: &[u64], other: &[u64]| {
        one.iter().collect::<BTreeSet<_>>() == other.iter().collect::<BTreeSet<_>>()
    };
    one.auto_leave == other.auto_leave
        && same(&one.voters, &other.voters)
        && same(&one.learners, &other.learners)
        && same(&one.voters_outgoing, &other.voters_outgoing)
        && same(&one.learners_next, &other.learners_next)
}

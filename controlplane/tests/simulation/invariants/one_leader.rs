//! At most one member leads in a term (Raft, figure 3: election safety).

use std::collections::BTreeMap;

use cluster::MemberId;

use super::{Invariant, Seen};

#[derive(Default)]
pub(crate) struct OneLeader(BTreeMap<u64, MemberId>);

impl Invariant for OneLeader {
    fn see(&mut self, seen: &Seen<'_>) -> Result<(), String> {
        let Seen::Leads { member, term } = seen else { return Ok(()) };
        match self.0.insert(*term, *member) {
            Some(other) if other != *member => {
                Err(format!("members {other} and {member} both lead in term {term}"))
            }
            _ => Ok(()),
        }
    }
}

//! No command happens twice, and none happens that its client was told would not.

use std::collections::{BTreeMap, BTreeSet};

use controlplane::raft::RequestId;

use super::{Invariant, Seen};

#[derive(Default)]
pub(crate) struct ExactlyOnce {
    applied: BTreeMap<RequestId, u64>,
    answered: BTreeSet<RequestId>,
    refused: BTreeSet<RequestId>,
}

impl Invariant for ExactlyOnce {
    fn see(&mut self, seen: &Seen<'_>) -> Result<(), String> {
        match seen {
            Seen::Command { member, index, request, again, .. } => {
                if *again {
                    return Err(format!("member {member} applied {request} again, at {index}"));
                }
                if *self.applied.entry(*request).or_insert(*index) != *index {
                    return Err(format!("{request} is at {index} as well as {}", self.applied[request]));
                }
            }
            Seen::Acknowledged { request, .. } if !self.answered.insert(*request) => {
                return Err(format!("{request} was acknowledged twice"));
            }
            Seen::Refused { request } => drop(self.refused.insert(*request)),
            Seen::Healed { .. } => {
                if let Some(both) = self.refused.iter().find(|request| self.applied.contains_key(request)) {
                    return Err(format!("{both} was refused and happened"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

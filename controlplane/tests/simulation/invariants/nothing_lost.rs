//! What was acknowledged is applied by everybody, at the index that was named.

use std::collections::BTreeMap;

use controlplane::raft::RequestId;

use super::{Invariant, Seen};

#[derive(Default)]
pub(crate) struct NothingLost {
    acknowledged: BTreeMap<RequestId, u64>,
}

impl Invariant for NothingLost {
    fn see(&mut self, seen: &Seen<'_>) -> Result<(), String> {
        match seen {
            Seen::Acknowledged { request, index } => drop(self.acknowledged.insert(*request, *index)),
            Seen::Healed { members } => {
                for (member, state) in *members {
                    for (request, index) in &self.acknowledged {
                        if state.requests.get(request) != Some(index) {
                            return Err(format!(
                                "{request} was acknowledged at {index}; member {member} has it at {:?}",
                                state.requests.get(request)
                            ));
                        }
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}

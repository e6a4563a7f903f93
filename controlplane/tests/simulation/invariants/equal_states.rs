//! Members apply the same at the same index, and come to the same state by it (Raft, figure 3: state machine safety), which is
//! sound.

use std::collections::BTreeMap;

use cluster::MemberId;
use controlplane::raft::{Digest, RequestId};

use super::{Invariant, Seen};

#[derive(Default)]
pub(crate) struct EqualStates {
    states: BTreeMap<u64, (MemberId, Digest)>,
    commands: BTreeMap<u64, (MemberId, RequestId, u64)>,
}

impl Invariant for EqualStates {
    fn see(&mut self, seen: &Seen<'_>) -> Result<(), String> {
        match seen {
            Seen::State { member, index, digest } => {
                let (first, theirs) = self.states.entry(*index).or_insert((*member, *digest));
                if theirs != digest {
                    return Err(format!("members {first} and {member} differ at index {index}"));
                }
            }
            Seen::Command { member, index, request, content, .. } => {
                let first = self.commands.entry(*index).or_insert((*member, *request, *content));
                if (first.1, first.2) != (*request, *content) {
                    return Err(format!(
                        "at index {index} member {} applied {}, member {member} {request}",
                        first.0, first.1
                    ));
                }
            }
            Seen::Unsound { member, index, why } => {
                return Err(format!("member {member} has an unsound state at {index}: {why}"));
            }
            _ => {}
        }
        Ok(())
    }
}

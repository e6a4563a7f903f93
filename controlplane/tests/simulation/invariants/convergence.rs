//! When the network is whole again and everybody lives, one leads, no change hangs, and all come to the same state.

use std::collections::BTreeSet;

use super::{Invariant, Seen};

pub(crate) struct Convergence;

impl Invariant for Convergence {
    fn see(&mut self, seen: &Seen<'_>) -> Result<(), String> {
        let Seen::Healed { members } = seen else { return Ok(()) };
        if members.values().filter(|member| member.leads).count() != 1 {
            return Err(format!("no single leader: {:?}", brief(seen)));
        }
        if members.values().any(|member| member.is_joint) {
            return Err("a joint configuration was never left".to_owned());
        }
        let states: BTreeSet<_> = members.values().map(|member| (member.applied, member.digest)).collect();
        if states.len() != 1 {
            return Err(format!("members did not come to one state: {:?}", brief(seen)));
        }
        Ok(())
    }
}

fn brief(seen: &Seen<'_>) -> Vec<(u64, u64, bool)> {
    let Seen::Healed { members } = seen else { return Vec::new() };
    members.iter().map(|(id, member)| (id.get(), member.applied, member.leads)).collect()
}

//! Layouts follow one another: an epoch is never followed by a lower one, and two layouts never follow the same.

use std::collections::BTreeMap;

use cluster::Epoch;

use super::{Invariant, Seen};

#[derive(Default)]
pub(crate) struct EpochsRise {
    /// The epoch in force after each entry.
    at: BTreeMap<u64, Epoch>,
    /// The entry that followed each epoch.
    followed: BTreeMap<Epoch, u64>,
}

impl Invariant for EpochsRise {
    fn see(&mut self, seen: &Seen<'_>) -> Result<(), String> {
        let Seen::Layout { member, index, epoch, follows } = seen else { return Ok(()) };
        if let Some(follows) = follows {
            let first = *self.followed.entry(*follows).or_insert(*index);
            if first != *index {
                return Err(format!("the layouts at {first} and {index} both follow epoch {follows}"));
            }
        }
        let Some(epoch) = epoch else { return Ok(()) };
        let before = self.at.range(..*index).next_back().map(|(_, before)| *before);
        let after = self.at.range(index + 1..).next().map(|(_, after)| *after);
        let here = *self.at.entry(*index).or_insert(*epoch);
        if here != *epoch
            || before.is_some_and(|before| before > here)
            || after.is_some_and(|after| after < here)
        {
            return Err(format!(
                "member {member} has epoch {epoch} at {index}, where {here} is, after {before:?} and before {after:?}"
            ));
        }
        Ok(())
    }
}

//! A read gives a state no older than any that was acknowledged or read before it was asked for.

use std::collections::BTreeMap;

use super::{Invariant, Seen};

#[derive(Default)]
pub(crate) struct FreshReads {
    newest: u64,
    floors: BTreeMap<u64, u64>,
}

impl Invariant for FreshReads {
    fn see(&mut self, seen: &Seen<'_>) -> Result<(), String> {
        match seen {
            Seen::Acknowledged { index, .. } => self.newest = self.newest.max(*index),
            Seen::ReadBegan { read } => drop(self.floors.insert(*read, self.newest)),
            Seen::ReadEnded { read, index } => {
                let floor = self.floors.remove(read).unwrap_or(0);
                if *index < floor {
                    return Err(format!(
                        "a read was given the state at {index}, {floor} was known before it"
                    ));
                }
                self.newest = self.newest.max(*index);
            }
            _ => {}
        }
        Ok(())
    }
}

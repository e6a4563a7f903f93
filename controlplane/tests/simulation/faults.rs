//! What goes wrong, and how often.

use super::disk::Failure;
use super::world::World;

impl World {
    /// Something goes wrong.
    pub(crate) fn fault(&mut self) {
        let ids = self.ids();
        let Some(victim) = self.rng.pick(&ids) else { return };
        match self.rng.below(16) {
            0..=5 => self.net.change(&mut self.rng, &ids),
            6 | 7 if self.nodes[&victim].peer.is_some() => self.crash(victim),
            // Within the next writes, so that it hits between two of them.
            8..=10 => {
                let writes = self.rng.below(12);
                self.nodes[&victim].disk.fail_after(writes, Failure::PowerCut);
            }
            11 => {
                let writes = self.rng.below(12);
                self.nodes[&victim].disk.fail_after(writes, Failure::Full);
            }
            12 => {
                let ms = self.rng.between(100, 2500);
                self.pause(victim, ms);
            }
            13 => drop(self.with(victim, controlplane::raft::Peer::campaign)),
            14 => {
                for other in ids.iter().filter(|other| **other != victim) {
                    self.with(victim, |peer| peer.report_unreachable(*other));
                }
            }
            // Rarely, and never so many that the others could not go on.
            15 if self.rng.chance(100) => {
                let spare = self.group().is_some_and(|(_, members)| {
                    members.voters.len() >= 3
                        && !members.is_joint()
                        && self.nodes.values().all(|node| !node.is_disowned)
                });
                if spare {
                    self.wipe(victim);
                }
            }
            _ => {}
        }
    }
}

//! Queues in memory: what simulations and tests run the policy on.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::ops::Bound;

use super::super::keys::QueueId;
use super::policy::{Algorithm, Front, Memory, Queues, Shares, Step, step};

#[derive(Clone, Copy, Debug)]
struct Resident {
    size: u64,
    last_used: u64,
}

/// Sizes by position and name.
#[derive(Debug, Default)]
struct Queue {
    entries: BTreeMap<(u64, u64), u64>,
    bytes: u64,
}

/// A cache of sizes without content.
#[derive(Debug)]
pub struct MemoryQueues {
    queues: [Queue; super::QUEUES],
    /// The last one that was left where it is, by queue.
    left: [Option<(u64, u64)>; super::QUEUES],
    resident: HashMap<u64, Resident, foldhash::fast::FixedState>,
    pinned: fn(u64) -> bool,
    now: u64,
    capacity: u64,
}

impl MemoryQueues {
    /// An empty cache of `capacity` bytes in which objects that are `pinned` never leave.
    pub fn new(capacity: u64, pinned: fn(u64) -> bool) -> Self {
        Self {
            queues: Default::default(),
            left: [None; super::QUEUES],
            resident: HashMap::default(),
            pinned,
            now: 0,
            capacity,
        }
    }

    /// Whether an object is in the cache.
    pub fn holds(&self, id: u64) -> bool {
        self.resident.contains_key(&id)
    }

    /// Bytes in the cache.
    pub fn total_bytes(&self) -> u64 {
        self.queues.iter().map(|queue| queue.bytes).sum()
    }

    /// Asks for an object: true for a hit; a miss brings it in, and others out until the capacity holds.
    pub fn request(
        &mut self,
        id: u64,
        size: u64,
        memory: &Memory,
        algorithm: Algorithm,
        shares: Shares,
    ) -> bool {
        self.now += 1;
        if let Some(resident) = self.resident.get_mut(&id) {
            resident.last_used = self.now;
            memory.frequency.bump(id);
            return true;
        }
        let queue = memory.admit(algorithm, id, size);
        self.resident.insert(id, Resident { size, last_used: self.now });
        self.push(queue, self.now, id, size);
        self.left = [None; super::QUEUES];
        // Each object is moved at most a few times before it leaves.
        let mut moves = 0;
        while self.total_bytes() > self.capacity && moves <= 4 * self.resident.len() {
            let Ok(step) = step(self, memory, algorithm, shares, self.capacity);
            match step {
                Step::Evicted => moves = 0,
                Step::Moved => moves += 1,
                Step::Nothing => break,
            }
        }
        false
    }

    fn push(&mut self, queue: QueueId, order: u64, id: u64, size: u64) {
        if let Some(queue) = self.queues.get_mut(usize::from(queue.0)) {
            queue.entries.insert((order, id), size);
            queue.bytes += size;
        }
    }

    fn remove(&mut self, front: &Front<u64>) {
        if let Some(queue) = self.queues.get_mut(usize::from(front.queue.0)) {
            queue.entries.remove(&(front.order, front.item));
            queue.bytes -= front.size;
        }
    }
}

impl Queues for MemoryQueues {
    type Item = u64;
    type Error = Infallible;

    fn bytes(&self, queue: QueueId) -> u64 {
        self.queues.get(usize::from(queue.0)).map_or(0, |queue| queue.bytes)
    }

    fn front(&mut self, queue: QueueId) -> Result<Option<Front<u64>>, Infallible> {
        let left = self.left.get(usize::from(queue.0)).copied().flatten();
        let behind = (left.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let entries = self.queues.get(usize::from(queue.0)).map(|queue| &queue.entries);
        let first = entries.and_then(|entries| entries.range(behind).next());
        let Some((&(order, id), &size)) = first else { return Ok(None) };
        let last_used = self.resident.get(&id).map_or(0, |resident| resident.last_used);
        let evictable = !(self.pinned)(id);
        Ok(Some(Front { queue, order, fingerprint: id, size, last_used, evictable, item: id }))
    }

    fn leave(&mut self, front: &Front<u64>) {
        if let Some(left) = self.left.get_mut(usize::from(front.queue.0)) {
            *left = Some((front.order, front.item));
        }
    }

    fn requeue(&mut self, front: Front<u64>, to: QueueId, order: Option<u64>) -> Result<(), Infallible> {
        self.remove(&front);
        self.now += u64::from(order.is_none());
        self.push(to, order.unwrap_or(self.now), front.item, front.size);
        Ok(())
    }

    fn evict(&mut self, front: Front<u64>) -> Result<bool, Infallible> {
        self.remove(&front);
        let left = self.resident.remove(&front.item);
        Ok(left.is_some_and(|resident| resident.size == front.size))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::SMALL_OBJECT_BYTES;
    use super::*;

    fn never(_: u64) -> bool {
        false
    }

    fn spread(id: u64) -> u64 {
        (id + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    /// The order that defines LRU, told naively.
    fn naive_lru(capacity: u64, requests: &[(u64, u64)]) -> Vec<bool> {
        let mut cache: Vec<(u64, u64)> = Vec::new();
        let mut hits = Vec::new();
        for &(id, size) in requests {
            let at = cache.iter().position(|&(held, _)| held == id);
            hits.push(at.is_some());
            let entry = at.map_or((id, size), |at| cache.remove(at));
            cache.push(entry);
            while cache.iter().map(|&(_, size)| size).sum::<u64>() > capacity {
                cache.remove(0);
            }
        }
        hits
    }

    #[test]
    fn what_is_pinned_in_one_pool_keeps_nothing_in_the_other() {
        let is_pinned = |id: u64| id < 2;
        let (capacity, half) = (10 * SMALL_OBJECT_BYTES, SMALL_OBJECT_BYTES / 2);
        // The pinned ones take far more than the share of their pool.
        for (pinned_bytes, bytes) in [(4 * SMALL_OBJECT_BYTES, half), (SMALL_OBJECT_BYTES, 3 * half)] {
            let small_pool_percent = if bytes == half { 60 } else { 1 };
            let shares = Shares { small_pool_percent, ..Shares::default() };
            let memory = Memory::new(capacity, shares, 1024);
            let mut cache = MemoryQueues::new(capacity, is_pinned);
            for id in 0..60 {
                let size = if is_pinned(id) { pinned_bytes } else { bytes };
                cache.request(id, size, &memory, Algorithm::S3Fifo, shares);
                assert!(cache.total_bytes() <= capacity, "{id} of {bytes}");
            }
            assert!(cache.holds(0) && cache.holds(1) && cache.holds(59));
        }
    }

    proptest! {
        #[test]
        fn lru_is_lru(requests in proptest::collection::vec((0..30_u64, 1..5_u64), 1..200)) {
            // An object's size is a function of its name.
            let requests: Vec<_> = requests.iter().map(|&(id, _)| (spread(id), 1 + id % 4)).collect();
            let shares = Shares::default();
            let memory = Memory::new(20, shares, 1024);
            let mut cache = MemoryQueues::new(20, never);
            let hits: Vec<bool> = requests
                .iter()
                .map(|&(id, size)| cache.request(id, size, &memory, Algorithm::Lru, shares))
                .collect();
            prop_assert_eq!(hits, naive_lru(20, &requests));
        }

        #[test]
        fn capacity_holds_and_pins_stay(
            ids in proptest::collection::vec(0..60_u64, 1..300),
            lru in any::<bool>(),
        ) {
            let algorithm = if lru { Algorithm::Lru } else { Algorithm::S3Fifo };
            let pinned = |id: u64| id.is_multiple_of(7);
            let shares = Shares::default();
            let memory = Memory::new(2_000, shares, 1024);
            let mut cache = MemoryQueues::new(2_000, pinned);
            let mut seen_pinned = std::collections::BTreeSet::new();
            for id in ids {
                let id = spread(id);
                cache.request(id, 1 + id % 100, &memory, algorithm, shares);
                if pinned(id) {
                    seen_pinned.insert(id);
                }
                let pinned_bytes: u64 = seen_pinned.iter().map(|id| 1 + id % 100).sum();
                prop_assert!(cache.total_bytes() <= pinned_bytes.max(2_000));
                prop_assert!(seen_pinned.iter().all(|&id| cache.holds(id)));
            }
        }
    }
}

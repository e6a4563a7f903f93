//! Who leaves next: S3-FIFO by bytes in two pools, and LRU, as single steps over queues behind a trait.
//!
//! Pure of IO, clocks and randomness: the queues act, this decides. Invariant: a step either takes the front of
//! one queue away or moves it to another place; it never touches anything but fronts. What is pinned it leaves where it is,
//! which is no step of its own.
//!
//! S3-FIFO is from Yang, Zhang, Qiu, Yue, Rashmi, "FIFO queues are all you need for cache eviction", SOSP 2023:
//! what is new enters a small queue; what was not asked for again by the time it reaches the front leaves, with
//! its name kept for a while; what was goes to the main queue, a FIFO that gives second chances. What comes
//! back while its name is kept enters the main queue at once. Here sizes count, and small and large objects do
//! not compete for the same bytes: each pool has its share, and unused share is lent.

use std::sync::atomic::{AtomicI64, AtomicU64};

use super::super::keys::QueueId;
use super::goal::Collecting;
use super::worker::{Damage, Round};
use super::{Frequency, Ghost};

/// Number of queues: a small and a main one in each pool.
pub const QUEUES: usize = 4;
/// Objects up to this size are in the pool of small ones, bytes.
pub const SMALL_OBJECT_BYTES: u64 = 1024 * 1024;
/// Hits that take an object from the small queue to the main one.
const PROMOTION_HITS: u8 = 1;

/// How victims are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Algorithm {
    /// S3-FIFO in two pools: resists scans.
    #[default]
    S3Fifo,
    /// Least recently used first.
    Lru,
}

/// Which objects compete with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pool {
    /// Up to [`SMALL_OBJECT_BYTES`].
    Small,
    /// Above it.
    Large,
}

impl Pool {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Small, Self::Large];

    /// The pool of an object of `size` bytes.
    pub fn of(size: u64) -> Self {
        if size <= SMALL_OBJECT_BYTES { Self::Small } else { Self::Large }
    }

    fn small_queue(self) -> QueueId {
        match self {
            Self::Small => QueueId(0),
            Self::Large => QueueId(2),
        }
    }

    fn main_queue(self) -> QueueId {
        match self {
            Self::Small => QueueId(1),
            Self::Large => QueueId(3),
        }
    }
}

/// How the capacity is divided, per cent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// Of the capacity, for small objects.
    pub small_pool_percent: u8,
    /// Of each pool, for its small queue.
    pub small_queue_percent: u8,
}

impl Default for Shares {
    fn default() -> Self {
        Self { small_pool_percent: 60, small_queue_percent: 10 }
    }
}

/// The object at the front of a queue.
#[derive(Clone, Debug)]
pub struct Front<T> {
    /// The queue it is in.
    pub queue: QueueId,
    /// Its position; for LRU the time of last use as far as the queue knows.
    pub order: u64,
    /// Its hash, by which sketch and ghost know it.
    pub fingerprint: u64,
    /// Its size, bytes.
    pub size: u64,
    /// When it was really used last, on the scale of `order`; only LRU looks.
    pub last_used: u64,
    /// False when it is pinned.
    pub evictable: bool,
    /// What the queues know it by.
    pub item: T,
}

/// Four queues of objects, and the means to act on their fronts.
pub trait Queues {
    /// What an object is known by.
    type Item;
    /// Why acting failed.
    type Error;

    /// Bytes in a queue.
    fn bytes(&self, queue: QueueId) -> u64;
    /// The object at the front, of those that were not left.
    fn front(&mut self, queue: QueueId) -> Result<Option<Front<Self::Item>>, Self::Error>;
    /// Leaves a front where it is: until the next pass what is behind it is at the front.
    fn leave(&mut self, front: &Front<Self::Item>);
    /// Moves a front into a queue: at position `order`, or behind all others.
    fn requeue(
        &mut self,
        front: Front<Self::Item>,
        to: QueueId,
        order: Option<u64>,
    ) -> Result<(), Self::Error>;
    /// Takes a front away for good; false when it had to stay after all.
    fn evict(&mut self, front: Front<Self::Item>) -> Result<bool, Self::Error>;
}

/// What is remembered, in fixed memory.
#[derive(Debug)]
pub struct Memory {
    /// How often was it asked for?
    pub frequency: Frequency,
    ghosts: [parking_lot::Mutex<Ghost>; 2],
    /// Where collecting is what the evicted leave behind.
    pub(super) collecting: parking_lot::Mutex<Collecting>,
    /// What is in its way.
    pub(super) damage: Damage,
    /// When the next round of retention may begin, µs since the epoch.
    pub(super) retention_from_us: AtomicI64,
    /// The last position that was given out when the round before it began.
    pub(super) retention_order: AtomicU64,
    /// Where the dropping of small things is.
    pub(super) tidying: parking_lot::Mutex<Round>,
}

impl Memory {
    /// Memory for a cache of `capacity` bytes.
    pub fn new(capacity: u64, shares: Shares, slots: usize) -> Self {
        let ghost = |pool| {
            let window = pool_bytes(capacity, shares, pool);
            parking_lot::Mutex::new(Ghost::new(slots / 4, window))
        };
        Self {
            frequency: Frequency::new(slots),
            ghosts: [ghost(Pool::Small), ghost(Pool::Large)],
            collecting: parking_lot::Mutex::default(),
            damage: Damage::default(),
            retention_from_us: AtomicI64::new(0),
            retention_order: AtomicU64::new(0),
            tidying: parking_lot::Mutex::default(),
        }
    }

    fn ghost(&self, pool: Pool) -> &parking_lot::Mutex<Ghost> {
        let [small, large] = &self.ghosts;
        match pool {
            Pool::Small => small,
            Pool::Large => large,
        }
    }

    /// The queue that a new object enters.
    pub fn admit(&self, algorithm: Algorithm, fingerprint: u64, size: u64) -> QueueId {
        let pool = Pool::of(size);
        match algorithm {
            Algorithm::S3Fifo if self.ghost(pool).lock().take(fingerprint) => pool.main_queue(),
            Algorithm::S3Fifo | Algorithm::Lru => pool.small_queue(),
        }
    }
}

fn pool_bytes(capacity: u64, shares: Shares, pool: Pool) -> u64 {
    let small = capacity / 100 * u64::from(shares.small_pool_percent.min(100));
    match pool {
        Pool::Small => small,
        Pool::Large => capacity - small,
    }
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// One object left.
    Evicted,
    /// One object was moved, or had to stay.
    Moved,
    /// There is nothing in any queue that may leave.
    Nothing,
}

/// Takes one step towards `capacity` bytes.
pub fn step<Q: Queues>(
    queues: &mut Q,
    memory: &Memory,
    algorithm: Algorithm,
    shares: Shares,
    capacity: u64,
) -> Result<Step, Q::Error> {
    match algorithm {
        Algorithm::S3Fifo => step_s3_fifo(queues, memory, shares, capacity),
        Algorithm::Lru => step_lru(queues),
    }
}

fn step_s3_fifo<Q: Queues>(
    queues: &mut Q,
    memory: &Memory,
    shares: Shares,
    capacity: u64,
) -> Result<Step, Q::Error> {
    let used = |queues: &Q, pool: Pool| queues.bytes(pool.small_queue()) + queues.bytes(pool.main_queue());
    let excess = |queues: &Q, pool: Pool| {
        let share = pool_bytes(capacity, shares, pool);
        used(queues, pool).cast_signed() - share.cast_signed()
    };
    let pools = if excess(queues, Pool::Small) > excess(queues, Pool::Large) {
        [Pool::Small, Pool::Large]
    } else {
        [Pool::Large, Pool::Small]
    };
    for pool in pools {
        let share = used(queues, pool).min(pool_bytes(capacity, shares, pool).max(1));
        let small_target = share / 100 * u64::from(shares.small_queue_percent);
        let small_first = queues.bytes(pool.small_queue()) > small_target;
        let order = if small_first {
            [pool.small_queue(), pool.main_queue()]
        } else {
            [pool.main_queue(), pool.small_queue()]
        };
        for queue in order {
            let is_small = queue == pool.small_queue();
            // What is pinned does not stay in the small queue, which is for what is new: it would take the place of that.
            if let Some(front) = front_of(queues, queue, is_small)? {
                return judge_s3_fifo(queues, memory, pool, is_small, front);
            }
        }
    }
    Ok(Step::Nothing)
}

/// The first in a queue that something can be done with. Unless pinned ones count, they are left where they are: put behind all others,
/// they would only be met again.
fn front_of<Q: Queues>(
    queues: &mut Q,
    queue: QueueId,
    with_pinned: bool,
) -> Result<Option<Front<Q::Item>>, Q::Error> {
    while let Some(front) = queues.front(queue)? {
        if front.evictable || with_pinned {
            return Ok(Some(front));
        }
        queues.leave(&front);
    }
    Ok(None)
}

fn judge_s3_fifo<Q: Queues>(
    queues: &mut Q,
    memory: &Memory,
    pool: Pool,
    is_small_queue: bool,
    front: Front<Q::Item>,
) -> Result<Step, Q::Error> {
    let hits = memory.frequency.get(front.fingerprint);
    let stays = !front.evictable || if is_small_queue { hits >= PROMOTION_HITS } else { hits > 0 };
    let (fingerprint, size) = (front.fingerprint, front.size);
    if stays {
        if is_small_queue {
            memory.frequency.clear(fingerprint);
        } else {
            memory.frequency.cool(fingerprint);
        }
        queues.requeue(front, pool.main_queue(), None)?;
        return Ok(Step::Moved);
    }
    if !queues.evict(front)? {
        return Ok(Step::Moved);
    }
    if is_small_queue {
        memory.ghost(pool).lock().insert(fingerprint, size);
    }
    Ok(Step::Evicted)
}

/// The queues' fronts hold the times of last use that were known when they were queued: whoever was used since
/// is put where it belongs, and the first whose time is true is the least recently used of all.
fn step_lru<Q: Queues>(queues: &mut Q) -> Result<Step, Q::Error> {
    let mut oldest: Option<Front<Q::Item>> = None;
    for queue in (0..QUEUES).map(|number| QueueId(number as u8)) {
        if let Some(front) = front_of(queues, queue, false)?
            && oldest.as_ref().is_none_or(|oldest| front.order < oldest.order)
        {
            oldest = Some(front);
        }
    }
    let Some(front) = oldest else { return Ok(Step::Nothing) };
    let queue = front.queue;
    if front.last_used > front.order {
        let order = front.last_used;
        queues.requeue(front, queue, Some(order))?;
        return Ok(Step::Moved);
    }
    Ok(if queues.evict(front)? { Step::Evicted } else { Step::Moved })
}

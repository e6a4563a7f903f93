//! Deleting what nobody reads any more, and giving its space back in steps.

use parking_lot::MutexGuard;

use super::super::super::Store;
use super::super::super::error::StoreError;
use super::super::super::usage::Usage;
use super::super::goal::{Goal, STEP_BYTES, goal, worth};
use super::super::report::Report;
use super::Policy;
use super::damage::Way;

/// Steps of one pass; eviction has its turn in between.
const STEPS_MAX: usize = 4;

fn worth_now(usage: &Usage, policy: &Policy) -> u64 {
    worth(usage, policy.garbage_floor_bytes, policy.watermarks)
}

/// What a pass is to reach. Garbage that is not collected counts as used: zips go on leaving.
pub(super) fn aim(store: &Store, policy: &Policy) -> Result<Goal, StoreError> {
    let inner = &store.inner;
    let usage = store.usage()?;
    let mut collecting = inner.heat.memory.collecting.lock();
    collecting.look(&usage, worth_now(&usage, policy));
    let expected = if inner.way() == Way::Free { collecting.expected_bytes(&usage) } else { 0 };
    Ok(goal(&usage, expected, policy.capacity_bytes, policy.watermarks))
}

/// Deletes what nobody reads any more, and gives the space back when that is worth the rewriting.
pub(super) fn reclaim(store: &Store, policy: &Policy, report: &mut Report) -> Result<(), StoreError> {
    let inner = &store.inner;
    report.collected = store.collect()?;
    let usage = store.usage()?;
    let mut collecting = inner.heat.memory.collecting.lock();
    collecting.look(&usage, worth_now(&usage, policy));
    let way = inner.way();
    if !collecting.is_on() || way == Way::Waits || inner.rocks.is_ending() {
        return Ok(());
    }
    drop_dead_files(store)?;
    if way == Way::Closed {
        // The next time that there is as much new garbage, files may have lost all that lives in them.
        collecting.end();
        return Ok(());
    }
    let mut rewritten = 0;
    for _ in 0..STEPS_MAX {
        if inner.rocks.is_ending() {
            break;
        }
        let usage = store.usage()?;
        let Some(bytes) = collecting.step(&usage, worth_now(&usage, policy)) else { break };
        if let Err(error) = inner.note(inner.rocks.rewrite_oldest(bytes)) {
            collecting.give_back(bytes);
            return Err(error);
        }
        rewritten += bytes;
    }
    report.garbage_share = Some((rewritten as f64 / usage.chunk_disk_bytes.max(1) as f64).min(1.0));
    report.more |= collecting.is_on();
    Ok(())
}

/// Most of what leaves was stored together: its files go without a byte of them being written again.
fn drop_dead_files(store: &Store) -> Result<(), StoreError> {
    let inner = &store.inner;
    // Deletions still in memory are garbage only after they are written out.
    inner.note(inner.rocks.flush())?;
    inner.note(inner.rocks.drop_dead_files())
}

/// Begins to reclaim everything, until what is given back is dropped; nothing while somebody else does, whose work it would only repeat.
pub fn begin_reclaiming(store: &Store) -> Option<MutexGuard<'_, ()>> {
    store.inner.heat.reclaiming.try_lock()
}

/// Deletes what nobody reads any more, and gives all of its space back, whatever that costs.
pub fn reclaim_all(store: &Store) -> Result<(), StoreError> {
    let inner = &store.inner;
    let may_collect = || match inner.way() {
        Way::Free => Ok(()),
        Way::Waits | Way::Closed => {
            Err(StoreError::corrupt("zip", "garbage is not collected while that would meet it"))
        }
    };
    let mut files = {
        let _pass = inner.heat.pass();
        store.collect()?;
        drop_dead_files(store)?;
        may_collect()?;
        inner.rocks.blob_files()?
    };
    while files > 0 && !inner.rocks.is_ending() {
        let pass = inner.heat.pass();
        may_collect()?;
        files = files.saturating_sub(inner.note(inner.rocks.rewrite_oldest(STEP_BYTES))?);
        // Eviction has its turn.
        MutexGuard::unlock_fair(pass);
    }
    Ok(())
}

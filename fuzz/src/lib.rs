//! The fuzz targets are the invariants that the ordinary tests of `core/gomod` replay the corpus against.

#[path = "../../core/gomod/tests/support/invariants.rs"]
mod invariants;

/// Feeds `data` to the target called `name`; panics if an invariant does not hold.
pub fn check(name: &str, data: &[u8]) {
    let target = invariants::TARGETS.iter().find(|(target, _)| *target == name);
    let (_, check) = target.expect("every fuzz target is in the table of invariants");
    check(data);
}

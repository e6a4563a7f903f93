//! Cheapest ways through a graph of nodes, for whatever is handed on from node to node.
//!
//! Invariant: the way found depends on positions and on the order of the hands alone.

#![expect(clippy::indexing_slicing, reason = "positions of nodes are below the number of nodes")]

use super::slot::Slot;

/// A slot that goes from one node to another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Step {
    pub(super) slot: Slot,
    pub(super) from: usize,
    pub(super) to: usize,
}

/// What a step costs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Cost {
    Free,
    Paid,
}

/// The way from a source to a sink with the fewest paid steps, last step first; `None` if there is no way.
///
/// `hands` is asked for free steps as a node is reached, and for paid ones when nothing more can be reached without. It is given
/// the nodes that are still away, takes out those to which the node can hand a slot, and says which slot that is.
///
/// No slot is handed on twice in a way that counts: whoever handed it on first could have handed it to the last one.
pub(super) fn cheapest(
    nodes: usize,
    source: impl Fn(usize) -> bool,
    sink: impl Fn(usize) -> bool,
    mut hands: impl FnMut(usize, Cost, &mut Vec<usize>) -> Vec<(usize, Slot)>,
) -> Option<Vec<Step>> {
    let mut layer: Vec<usize> = (0..nodes).filter(|&node| source(node)).collect();
    let mut away: Vec<usize> = (0..nodes).filter(|&node| !source(node)).collect();
    let mut came: Vec<Option<Step>> = vec![None; nodes];
    while !layer.is_empty() {
        let mut next = Vec::new();
        for cost in [Cost::Free, Cost::Paid] {
            let mut at = 0;
            while let Some(&from) = layer.get(at) {
                at += 1;
                if away.is_empty() {
                    return None;
                }
                for (to, slot) in hands(from, cost, &mut away) {
                    came[to] = Some(Step { slot, from, to });
                    if sink(to) {
                        return Some(std::iter::successors(came[to], |step| came[step.from]).collect());
                    }
                    // The layer grows while it is walked through.
                    if cost == Cost::Free { layer.push(to) } else { next.push(to) }
                }
            }
        }
        layer = next;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_is_the_cheapest() {
        let edges = [
            (0, 1, Cost::Free),
            (1, 2, Cost::Free),
            (2, 5, Cost::Free),
            (0, 3, Cost::Paid),
            (3, 5, Cost::Free),
        ];
        let way = |from: usize, to: usize, edges: &[(usize, usize, Cost)]| {
            let found = cheapest(
                6,
                |node| node == from,
                |node| node == to,
                |at, cost, away| {
                    let near: Vec<usize> =
                        away.iter().copied().filter(|&next| edges.contains(&(at, next, cost))).collect();
                    away.retain(|node| !near.contains(node));
                    near.into_iter().map(|node| (node, Slot::new(0).unwrap())).collect()
                },
            );
            found.map(|steps| steps.iter().map(|step| (step.from, step.to)).collect::<Vec<_>>())
        };
        assert_eq!(way(0, 5, &edges), Some(vec![(2, 5), (1, 2), (0, 1)]));
        assert_eq!(way(0, 5, &edges[1..]), Some(vec![(3, 5), (0, 3)]));
        assert_eq!(way(0, 3, &edges), Some(vec![(0, 3)]));
        assert_eq!(way(4, 0, &edges), None);
    }
}

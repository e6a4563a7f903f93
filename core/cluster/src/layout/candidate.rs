//! Candidates: the nodes that a plan may place slots on, as the operator wants them to be used.
//!
//! Invariant: [`Candidates`] are at most [`NODES_MAX`], each name once; the order in which they were given is forgotten.

use std::collections::BTreeMap;

use crate::ids::{NodeName, Zone};

/// Bound of the nodes in one layout. Above a few hundred a node has so few of the 4096 slots that one more or less shows.
pub const NODES_MAX: usize = 1024;

/// What a plan may do with a node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Standing {
    /// It may be given slots, and loses some when others can take their share.
    Taking,
    /// It keeps what it has, unless the zone rule takes it away, and gets nothing more (`node cordon`).
    Keeping,
    /// It loses everything (`node drain`, `node remove`).
    Leaving,
}

/// A node as a plan sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// Its name.
    pub name: NodeName,
    /// What it fails together with.
    pub zone: Zone,
    /// Its share in proportion to the weights of the others; a node with weight 0 holds nothing.
    pub weight: u32,
    /// What may be done with it.
    pub standing: Standing,
}

impl Candidate {
    /// Whether it may hold slots after a plan, be it only those that it has.
    pub(super) fn stays(&self) -> bool {
        self.weight > 0 && self.standing != Standing::Leaving
    }
}

/// Why nodes cannot be candidates together.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CandidatesError {
    /// Two with one name.
    #[error("node {0} is there twice")]
    Twice(NodeName),
    /// More than [`NODES_MAX`].
    #[error("{0} nodes are over the limit of {NODES_MAX}")]
    TooMany(usize),
}

/// Nodes with names of their own, in the order of their names.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Candidates(BTreeMap<NodeName, Candidate>);

impl Candidates {
    /// Takes candidates in any order.
    pub fn new(candidates: impl IntoIterator<Item = Candidate>) -> Result<Self, CandidatesError> {
        let mut by_name = BTreeMap::new();
        for candidate in candidates {
            if let Some(other) = by_name.insert(candidate.name.clone(), candidate) {
                return Err(CandidatesError::Twice(other.name));
            }
        }
        if by_name.len() > NODES_MAX {
            return Err(CandidatesError::TooMany(by_name.len()));
        }
        Ok(Self(by_name))
    }

    /// The candidate of this name.
    pub fn get(&self, name: &NodeName) -> Option<&Candidate> {
        self.0.get(name)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Candidate> {
        self.0.values()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(number: usize) -> Candidate {
        let name = NodeName::parse(&format!("n{number}")).unwrap();
        Candidate { name, zone: Zone::parse("z").unwrap(), weight: 1, standing: Standing::Taking }
    }

    #[test]
    fn names_are_there_once_and_not_too_many() {
        assert_eq!(
            Candidates::new([candidate(2), candidate(1)]),
            Candidates::new([candidate(1), candidate(2)])
        );
        let twice = Candidates::new([candidate(1), candidate(2), candidate(1)]);
        assert_eq!(twice, Err(CandidatesError::Twice(candidate(1).name)));
        assert_eq!(Candidates::new((0..NODES_MAX).map(candidate)).unwrap().len(), NODES_MAX);
        let many = Candidates::new((0..=NODES_MAX).map(candidate));
        assert_eq!(many, Err(CandidatesError::TooMany(NODES_MAX + 1)));
    }
}

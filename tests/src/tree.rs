//! The Merkle tree of a checksum database, straight from RFC 6962 section 2.1 by plain recursion.
//!
//! Slow and obvious on purpose: it is what the server's own tree code is checked against.

/// A node or leaf hash.
pub type Hash = [u8; 32];

/// Hash of a leaf: `SHA-256(0x00 || data)`.
pub fn leaf(data: &[u8]) -> Hash {
    let mut input = vec![0];
    input.extend_from_slice(data);
    sha256(&input)
}

/// Hash of an inner node: `SHA-256(0x01 || left || right)`.
pub fn node(left: &Hash, right: &Hash) -> Hash {
    let mut input = vec![1];
    input.extend_from_slice(left);
    input.extend_from_slice(right);
    sha256(&input)
}

/// Head of the tree over these leaf hashes.
pub fn root(leaves: &[Hash]) -> Hash {
    match leaves.len() {
        0 => sha256(&[]),
        1 => leaves[0],
        count => {
            let split = count.next_power_of_two() / 2;
            node(&root(&leaves[..split]), &root(&leaves[split..]))
        }
    }
}

/// The bytes of tile `tile/8/<level>/<index>` of a tree over `leaves`, at most `width` hashes wide.
/// `None` when the tree does not fill that width.
pub fn tile(leaves: &[Hash], level: u32, index: usize, width: usize) -> Option<Vec<u8>> {
    let span = 1_usize.checked_shl(8 * level)?;
    let mut bytes = Vec::with_capacity(width * 32);
    for position in 0..width {
        let first = (index * 256 + position).checked_mul(span)?;
        bytes.extend_from_slice(&root(leaves.get(first..first.checked_add(span)?)?));
    }
    Some(bytes)
}

fn sha256(bytes: &[u8]) -> Hash {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_splits_at_the_largest_power_of_two_below_the_count() {
        let leaves: Vec<Hash> = (0..5_u8).map(|n| leaf(&[n])).collect();
        let left = node(&node(&leaves[0], &leaves[1]), &node(&leaves[2], &leaves[3]));
        assert_eq!(root(&leaves), node(&left, &leaves[4]));
    }

    #[test]
    fn tiles_hold_the_hashes_of_whole_subtrees() {
        let leaves: Vec<Hash> = (0..600_u16).map(|n| leaf(&n.to_be_bytes())).collect();
        assert_eq!(tile(&leaves, 0, 2, 88).unwrap()[..32], leaves[512]);
        assert_eq!(tile(&leaves, 1, 0, 2).unwrap()[32..], root(&leaves[256..512]));
        assert_eq!(tile(&leaves, 0, 2, 89), None);
        assert_eq!(tile(&leaves, 1, 0, 3), None);
    }
}

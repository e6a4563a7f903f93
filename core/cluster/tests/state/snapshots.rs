//! Snapshots: whole or not at all, whatever happens to their bytes.

use cluster::snapshot::{CHUNK_BYTES_MAX, SnapshotError};
use cluster::{Assembler, State};
use proptest::prelude::*;

use crate::support::{Cluster, replicas};

fn state() -> State {
    let mut cluster = Cluster::with(replicas(2));
    for (name, zone) in [("a", "x"), ("b", "y"), ("c", "z")] {
        cluster.join(name, zone);
    }
    cluster.settle();
    cluster.state
}

fn assembled(chunks: &[Vec<u8>]) -> Result<State, SnapshotError> {
    let mut assembler = Assembler::default();
    for (at, chunk) in chunks.iter().enumerate() {
        assert_eq!(assembler.push(chunk)?, at + 1 == chunks.len());
    }
    assembler.finish()
}

#[test]
fn a_state_comes_back_from_chunks_of_any_size() {
    for state in [state(), State::default()] {
        for payload_bytes in [1, 51, 52, 53, 1_000, 1 << 20] {
            let chunks: Vec<_> = state.snapshot_in(payload_bytes).collect();
            assert!(chunks.iter().all(|chunk| chunk.len() <= CHUNK_BYTES_MAX));
            assert_eq!(assembled(&chunks).unwrap(), state, "{payload_bytes}");
        }
    }
}

#[test]
fn chunks_in_another_order_are_refused() {
    let chunks: Vec<_> = state().snapshot_in(1_000).collect();
    assert!(chunks.len() > 5);
    let mut swapped = chunks.clone();
    swapped.swap(1, 2);
    let mut assembler = Assembler::default();
    assembler.push(&swapped[0]).unwrap();
    assert!(matches!(assembler.push(&swapped[1]), Err(SnapshotError::Order { expected: 1, found: 2 })));
    let mut assembler = Assembler::default();
    for chunk in &chunks[..chunks.len() - 1] {
        assert!(!assembler.push(chunk).unwrap());
    }
    assert!(matches!(assembler.finish(), Err(SnapshotError::CutOff)));
    let mut assembler = Assembler::default();
    for chunk in &chunks {
        assembler.push(chunk).unwrap();
    }
    assert!(matches!(assembler.push(&chunks[0]), Err(SnapshotError::Length { .. })));
    assert!(matches!(Assembler::default().finish(), Err(SnapshotError::CutOff)));
}

#[test]
fn a_header_of_another_state_is_refused() {
    let state = state();
    let mut other = state.clone();
    other.commit(state.revision().next(), []);
    // The same records at another revision: the first chunk of the one does not go with those of the other, should
    // anybody make its checksum anew. Here the digest of a third one is put in the header's place.
    let chunk = state.snapshot().next().unwrap();
    let content = chunk[29..].to_vec();
    let reseal = |content: &[u8]| {
        use sha2::Digest as _;
        let mut sealed = chunk[..13].to_vec();
        sealed[9..13].copy_from_slice(&(content.len() as u32).to_be_bytes());
        let hash = sha2::Sha256::new().chain_update(&sealed).chain_update(content).finalize();
        sealed.extend(&hash[..16]);
        sealed.extend(content);
        sealed
    };
    assert_eq!(reseal(&content), chunk);
    let with = |at: usize, byte: u8| {
        let mut content = content.clone();
        content[at] = byte;
        assembled(&[reseal(&content)]).unwrap_err()
    };
    assert!(matches!(with(0, b'X'), SnapshotError::Mark));
    assert!(matches!(with(3, 9), SnapshotError::Version(9)));
    assert!(matches!(with(19, 0), SnapshotError::Count { expected: 0, .. }));
    assert!(matches!(with(51, content[51] ^ 1), SnapshotError::Digest { .. }));
    assert!(matches!(with(52, 1), SnapshotError::TooLong { .. }));
    // Without the last record, and a header that says so: the digest tells.
    let shorter = &content[..content.len() - 1];
    assert!(matches!(assembled(&[reseal(shorter)]), Err(SnapshotError::CutOff)));
}

proptest! {
    #[test]
    fn a_flipped_bit_is_found(chunk in any::<prop::sample::Index>(), byte in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let mut chunks: Vec<_> = state().snapshot_in(4_000).collect();
        let at = chunk.index(chunks.len());
        let byte = byte.index(chunks[at].len());
        chunks[at][byte] ^= 1 << bit;
        let mut assembler = Assembler::default();
        let refused = chunks.iter().try_for_each(|chunk| assembler.push(chunk).map(drop)).is_err();
        prop_assert!(refused);
    }

    #[test]
    fn noise_is_refused(bytes: Vec<u8>) {
        prop_assert!(Assembler::default().push(&bytes).is_err());
    }
}

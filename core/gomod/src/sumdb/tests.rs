//! The client against trees built here: everything true is accepted, everything else refused.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::LazyLock;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::{ModulePath, ModuleVersion, Version};

/// Every node hash of a log, built the slow and obvious way.
struct Log {
    records: Vec<String>,
    levels: Vec<Vec<Hash>>,
}

impl Log {
    /// A log of so many records; `salt` makes another history from the given record on.
    fn new(size: usize, fork_at: usize, salt: &str) -> Self {
        let records: Vec<String> =
            (0..size).map(|id| record(id as u64, if id >= fork_at { salt } else { "" })).collect();
        let mut levels = vec![records.iter().map(|text| record_hash(text.as_bytes())).collect::<Vec<_>>()];
        while levels.last().unwrap().len() > 1 {
            let below = levels.last().unwrap();
            levels.push(below.chunks_exact(2).map(|pair| node_hash(pair[0], pair[1])).collect());
        }
        Self { records, levels }
    }

    fn honest(size: usize) -> Self {
        Self::new(size, 0, "")
    }

    fn head_at(&self, size: u64) -> TreeHead {
        TreeHead { size, hash: tree_hash(size, self).unwrap() }
    }

    fn head(&self) -> TreeHead {
        self.head_at(self.records.len() as u64)
    }

    fn tile_data(&self, tile: &Tile) -> Bytes {
        let TileLevel::Hashes(level) = tile.level() else { panic!("{tile}") };
        let first = tile.index() as usize * 256;
        let hashes = &self.levels[usize::from(level) * 8][first..first + tile.width() as usize];
        hashes.iter().flat_map(|hash| *hash.as_bytes()).collect::<Vec<u8>>().into()
    }
}

impl HashReader for Log {
    type Error = Infallible;

    fn hashes(&self, nodes: &[Node]) -> Result<Vec<Hash>, Infallible> {
        Ok(nodes.iter().map(|node| self.levels[usize::from(node.level)][node.index as usize]).collect())
    }
}

impl TileSource for Log {
    fn tile(&self, tile: &Tile) -> Option<Bytes> {
        Some(self.tile_data(tile))
    }
}

fn module(id: u64) -> ModuleVersion {
    let version = Version::parse(&format!("v1.0.{id}")).unwrap();
    ModuleVersion::new(ModulePath::parse("example.com/m").unwrap(), version).unwrap()
}

fn record(id: u64, salt: &str) -> String {
    let hash = |what: &str| crate::dirhash::go_mod_h1(format!("{what}{id}{salt}").as_bytes());
    format!("example.com/m v1.0.{id} {}\nexample.com/m v1.0.{id}/go.mod {}\n", hash("zip"), hash("mod"))
}

fn signer() -> SignerKey {
    SignerKey::from_seed("db.example", &[3; 32]).unwrap()
}

fn signed(head: TreeHead) -> SignedHead {
    let note = signer().sign(&head.to_string()).unwrap();
    SignedHead::open(note.as_bytes(), signer().verifier()).unwrap()
}

fn no_tiles() -> BTreeMap<Tile, Bytes> {
    BTreeMap::new()
}

/// Runs a check as the shell does: fetching from `server` what is asked for.
fn run<T>(
    server: &dyn TileSource,
    mut check: impl FnMut(&BTreeMap<Tile, Bytes>) -> Result<T, Step>,
) -> (Result<T, Refusal>, BTreeMap<Tile, Bytes>) {
    let mut tiles = no_tiles();
    for _ in 0..2 {
        match check(&tiles) {
            Ok(value) => return (Ok(value), tiles),
            Err(Step::Refused(refusal)) => return (Err(refusal), tiles),
            Err(Step::Need(needed)) => {
                assert!(needed.len() <= 64, "{} tiles at once", needed.len());
                for tile in needed {
                    assert!(!tiles.contains_key(&tile), "asked twice for {tile}");
                    tiles.insert(tile, server.tile(&tile).unwrap());
                }
            }
        }
    }
    panic!("still asking after the first round");
}

#[test]
fn every_record_of_trees_of_many_sizes_verifies() {
    let log = Log::honest(700);
    for size in [1, 2, 3, 7, 255, 256, 257, 511, 512, 513, 699] {
        let head = log.head_at(size);
        for id in 0..size {
            let text = log.records[id as usize].as_bytes();
            let (verified, fetched) = run(&log, |tiles| check_record(&head, id, text, tiles));
            let kept: Vec<Tile> = verified.unwrap().iter().map(|verified| verified.tile).collect();
            assert_eq!(kept, fetched.into_keys().collect::<Vec<_>>());
            let other = log.records[(id as usize + 1) % 700].as_bytes();
            let refusal = run(&log, |tiles| check_record(&head, id, other, tiles)).0;
            assert_eq!(refusal, Err(Refusal::Record { id }));
        }
        let outside = run(&log, |tiles| check_record(&head, size, b"", tiles)).0;
        assert_eq!(outside, Err(Refusal::RecordOutside { id: size, size }));
    }
}

#[test]
fn a_large_tree_verifies() {
    let log = Log::honest(70_000);
    for (size, id) in [(65_536, 0), (65_536, 65_535), (65_537, 65_536), (70_000, 300), (69_632, 69_631)] {
        let (head, text) = (log.head_at(size), log.records[id as usize].as_bytes());
        assert!(run(&log, |tiles| check_record(&head, id, text, tiles)).0.is_ok(), "{id} of {size}");
        assert!(run(&log, |tiles| check_consistency(&log.head_at(id + 1), &head, tiles)).0.is_ok());
    }
}

#[test]
fn the_complete_tile_stands_in_for_a_partial_one() {
    let log = Log::honest(300);
    let head = log.head_at(200);
    let complete = Tile::new(TileLevel::Hashes(0), 0, 256).unwrap();
    let mut tiles = no_tiles();
    tiles.insert(complete, log.tile_data(&complete));
    let verified = check_record(&head, 5, log.records[5].as_bytes(), &tiles).unwrap();
    // Only the part that the head covers is proven.
    let partial = Tile::new(TileLevel::Hashes(0), 0, 200).unwrap();
    assert_eq!(verified, [VerifiedTile { tile: partial, hashes: log.tile_data(&partial) }]);
}

#[test]
fn tiles_of_wrong_length_are_refused() {
    let log = Log::honest(300);
    let (head, text) = (log.head(), log.records[0].as_bytes());
    let (_, fetched) = run(&log, |tiles| check_record(&head, 0, text, tiles));
    for tile in fetched.keys() {
        for change in [-1_isize, 1, 32, -32] {
            let mut bytes = fetched[tile].to_vec();
            bytes.resize(bytes.len().strict_add_signed(change), 0);
            let mut tiles = fetched.clone();
            let length = bytes.len();
            tiles.insert(*tile, bytes.into());
            let error = Step::Refused(Refusal::TileLength { tile: *tile, bytes: length });
            assert_eq!(check_record(&head, 0, text, &tiles), Err(error));
        }
    }
}

#[test]
fn a_fork_is_told_from_a_bad_tile() {
    let (honest, forked) = (Log::honest(600), Log::new(600, 100, "other"));
    let older = honest.head_at(300);
    let newer = forked.head();
    let found = forked.head_at(300).hash;
    let refusal = run(&forked, |tiles| check_consistency(&older, &newer, tiles)).0;
    assert_eq!(refusal, Err(Refusal::Fork { older, newer, found }));
    // What was found is evidence: the newer tree provably begins with it and not with what was signed.
    let proof = prove_tree(600, 300, &forked).unwrap().unwrap();
    assert_eq!(check_tree_proof(&proof, newer, TreeHead { hash: found, ..older }), Ok(()));
    assert_eq!(check_tree_proof(&proof, newer, older), Err(ProofError::Invalid));
    // Before the fork both are one history.
    let common = honest.head_at(100);
    assert!(run(&forked, |tiles| check_consistency(&common, &newer, tiles)).0.is_ok());
    // Same size, other hash: no tiles are needed.
    let (ours, theirs) = (honest.head(), forked.head());
    let fork = Refusal::Fork { older: ours, newer: theirs, found: theirs.hash };
    assert_eq!(check_consistency(&ours, &theirs, &no_tiles()), Err(Step::Refused(fork)));
    // The honest tiles do not belong to the forked head.
    let refusal = run(&honest, |tiles| check_consistency(&older, &newer, tiles)).0;
    assert!(matches!(refusal, Err(Refusal::EdgeTiles { .. })), "{refusal:?}");
    let order = Refusal::Order { older: 600, newer: 300 };
    assert_eq!(check_consistency(&newer, &older, &no_tiles()), Err(Step::Refused(order)));
}

#[test]
fn every_tree_begins_with_the_empty_one() {
    let empty = TreeHead { size: 0, hash: Hash::of_empty_tree() };
    let head = Log::honest(5).head();
    assert_eq!(check_consistency(&empty, &head, &no_tiles()), Ok(vec![]));
    assert_eq!(check_consistency(&empty, &empty, &no_tiles()), Ok(vec![]));
    let odd = TreeHead { size: 0, ..head };
    assert!(matches!(check_consistency(&odd, &head, &no_tiles()), Err(Step::Refused(Refusal::Fork { .. }))));
}

fn lookup(log: &Log, id: u64, head: TreeHead) -> Bytes {
    Lookup::render(id, &log.records[id as usize], signed(head).note())
}

#[test]
fn a_lookup_moves_the_known_head_forward_and_never_back() {
    let log = Log::honest(600);
    let key = signer().verifier().clone();
    let first = lookup(&log, 7, log.head_at(300));
    let accepted = run(&log, |tiles| check_lookup(&first, &module(7), &key, None, tiles)).0.unwrap();
    assert_eq!(accepted.newest, signed(log.head_at(300)));
    assert_eq!(accepted.hashes, accepted.lookup.hashes(&module(7)).unwrap());
    let second = lookup(&log, 8, log.head());
    let known = accepted.newest;
    let accepted = run(&log, |tiles| check_lookup(&second, &module(8), &key, Some(&known), tiles)).0.unwrap();
    assert_eq!(accepted.newest, signed(log.head()));
    // An answer with an old head verifies under the newer one that is known.
    let known = accepted.newest;
    let accepted = run(&log, |tiles| check_lookup(&first, &module(7), &key, Some(&known), tiles)).0.unwrap();
    assert_eq!(accepted.newest, known);
    // Served again with the newest head it verifies as well.
    let again = Lookup::render(accepted.lookup.id, &accepted.lookup.record, known.note());
    assert!(run(&log, |tiles| check_lookup(&again, &module(7), &key, None, tiles)).0.is_ok());
    // A record newer than its own head is fine when the known head has it, as with any other record.
    let late = Lookup::render(500, &log.records[500], signed(log.head_at(300)).note());
    assert!(run(&log, |tiles| check_lookup(&late, &module(500), &key, Some(&known), tiles)).0.is_ok());
    let early = run(&log, |tiles| check_lookup(&late, &module(500), &key, None, tiles)).0;
    assert_eq!(early, Err(Refusal::RecordOutside { id: 500, size: 300 }));
}

#[test]
fn each_lie_of_a_lookup_has_its_refusal() {
    let (log, forked) = (Log::honest(600), Log::new(600, 100, "other"));
    let key = signer().verifier().clone();
    let known = signed(log.head_at(300));
    let check = |server: &Log, answer: &[u8]| {
        run(server, |tiles| check_lookup(answer, &module(200), &key, Some(&known), tiles)).0
    };
    let answer = lookup(&log, 200, log.head());
    assert!(check(&log, &answer).is_ok());
    assert_eq!(check(&log, b""), Err(Refusal::Lookup(LookupError::Empty)));
    let unrelated = lookup(&log, 201, log.head());
    assert_eq!(check(&log, &unrelated), Err(Refusal::Lookup(LookupError::Unrelated(module(200)))));
    let forged = Lookup::render(200, &record(200, "forged"), signed(log.head()).note());
    assert_eq!(check(&log, &forged), Err(Refusal::Record { id: 200 }));
    let fork = check(&forked, &lookup(&forked, 200, forked.head()));
    assert!(matches!(fork, Err(Refusal::Fork { .. })), "{fork:?}");
    let stranger = SignerKey::from_seed("db.example", &[4; 32]).unwrap();
    let note = stranger.sign(&log.head().to_string()).unwrap();
    let strange = check(&log, &Lookup::render(200, &log.records[200], &note));
    assert!(matches!(strange, Err(Refusal::Note(NoteError::Unsigned { .. }))), "{strange:?}");
    let note = signer().sign("no tree head\n").unwrap();
    let headless = check(&log, &Lookup::render(200, &log.records[200], &note));
    assert_eq!(headless, Err(Refusal::Head(TreeHeadError::Syntax)));
}

#[test]
fn heads_alone_are_checked_too() {
    let log = Log::honest(600);
    let key = signer().verifier().clone();
    let (old, new) = (signed(log.head_at(3)), signed(log.head()));
    let check = |note: &str, known: Option<&SignedHead>| {
        run(&log, |tiles| check_head(note.as_bytes(), &key, known, tiles)).0.unwrap().newest
    };
    assert_eq!(check(new.note(), None), new);
    assert_eq!(check(new.note(), Some(&old)), new);
    assert_eq!(check(old.note(), Some(&new)), new);
    assert_eq!(check(new.note(), Some(&new)), new);
}

#[test]
fn proofs_of_small_trees_hold_and_others_do_not() {
    let log = Log::honest(40);
    for size in 1..=40 {
        let head = log.head_at(size);
        for id in 0..size {
            let hash = record_hash(log.records[id as usize].as_bytes());
            let mut proof = prove_record(size, id, &log).unwrap().unwrap();
            assert_eq!(check_record_proof(&proof, head, id, hash), Ok(()));
            assert_eq!(check_record_proof(&proof, head, size, hash), Err(ProofError::Range));
            let other = record_hash(b"");
            assert_eq!(check_record_proof(&proof, head, id, other), Err(ProofError::Invalid));
            proof.push(hash);
            assert_eq!(check_record_proof(&proof, head, id, hash), Err(ProofError::Invalid));
        }
        for older in 1..=size {
            let older = log.head_at(older);
            let mut proof = prove_tree(size, older.size, &log).unwrap().unwrap();
            assert_eq!(check_tree_proof(&proof, head, older), Ok(()));
            for at in 0..proof.len() {
                let mut bad = proof.clone();
                bad[at] = node_hash(bad[at], bad[at]);
                assert_eq!(check_tree_proof(&bad, head, older), Err(ProofError::Invalid));
            }
            proof.push(head.hash);
            assert_eq!(check_tree_proof(&proof, head, older), Err(ProofError::Invalid));
        }
        assert_eq!(prove_record(size, size, &log), Ok(None));
        assert_eq!(prove_tree(size, size + 1, &log), Ok(None));
        assert_eq!(prove_tree(size, 0, &log), Ok(None));
    }
}

/// The trees of the property tests are its beginnings.
static LONG: LazyLock<Log> = LazyLock::new(|| Log::honest(2000));

proptest! {

    #[test]
    fn random_trees_verify_and_every_flipped_bit_is_noticed(
        size in 1_u64..2000,
        id: prop::sample::Index,
        older: prop::sample::Index,
        bit: prop::sample::Index,
    ) {
        let log = &*LONG;
        let id = id.index(size as usize) as u64;
        let (head, text) = (log.head_at(size), log.records[id as usize].as_bytes());
        let (verified, tiles) = run(log, |tiles| check_record(&head, id, text, tiles));
        prop_assert!(verified.is_ok());
        for (tile, bytes) in &tiles {
            let mut bad = bytes.to_vec();
            let bit = bit.index(bad.len() * 8);
            bad[bit / 8] ^= 1 << (bit % 8);
            let mut tiles = tiles.clone();
            tiles.insert(*tile, bad.into());
            let refusal = check_record(&head, id, text, &tiles);
            prop_assert!(matches!(
                refusal,
                Err(Step::Refused(Refusal::Tile { .. } | Refusal::EdgeTiles { .. }))
            ), "{:?}", refusal);
        }
        let mut bad_text = text.to_vec();
        let at = bit.index(bad_text.len() * 8);
        bad_text[at / 8] ^= 1 << (at % 8);
        prop_assert_eq!(check_record(&head, id, &bad_text, &tiles), Err(Step::Refused(Refusal::Record { id })));
        let mut hash = *head.hash.as_bytes();
        let at = bit.index(256);
        hash[at / 8] ^= 1 << (at % 8);
        let bad_head = TreeHead { hash: Hash::from_bytes(hash), ..head };
        let refusal = check_record(&bad_head, id, text, &tiles);
        prop_assert!(matches!(refusal, Err(Step::Refused(Refusal::EdgeTiles { .. }))), "{:?}", refusal);
        let older = log.head_at(older.index(size as usize) as u64 + 1);
        prop_assert!(run(log, |tiles| check_consistency(&older, &head, tiles)).0.is_ok());
    }

    #[test]
    fn no_answer_panics_and_no_flipped_byte_is_accepted(at: prop::sample::Index, flip in 1_u8..=255) {
        let log = &*LONG;
        let key = signer().verifier().clone();
        let answer = lookup(log, 299, log.head_at(300));
        let mut bad = answer.to_vec();
        let at = at.index(bad.len());
        bad[at] ^= flip;
        let result = run(log, |tiles| check_lookup(&bad, &module(299), &key, None, tiles)).0;
        prop_assert!(result.is_err(), "{:?}", result);
    }
}

//! The checksum database core against golang.org/x/mod/sumdb, from `tests/sumdb-vectors`.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "test code: a broken vector ends the test")]

use std::collections::BTreeMap;
use std::io::Read;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use flate2::read::GzDecoder;
use gomod::sumdb::{
    Hash, Refusal, SignedHead, Step, Tile, TreeHead, VerifierKey, check_lookup, check_record_proof,
    check_tree_proof, open_note,
};
use gomod::{ModulePath, ModuleVersion, Version};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum Case {
    Lookup(LookupCase),
    RecordProof(ProofCase),
    TreeProof(ProofCase),
    Path { path: String, ok: bool },
    Note(NoteCase),
}

#[derive(Deserialize)]
struct LookupCase {
    class: String,
    key: String,
    module: String,
    version: String,
    #[serde(default)]
    known: String,
    answer: Option<String>,
    tiles: BTreeMap<String, String>,
    #[serde(default)]
    lines: Vec<String>,
    #[serde(default)]
    fork: bool,
    ok: bool,
}

#[derive(Deserialize)]
struct ProofCase {
    size: u64,
    hash: String,
    n: u64,
    n_hash: String,
    hashes: Vec<String>,
}

#[derive(Deserialize)]
struct NoteCase {
    key: String,
    note: String,
    ok: bool,
    #[serde(default)]
    text: String,
}

fn cases() -> Vec<Case> {
    let path = format!("{}/tests/vectors/sumdb.jsonl.gz", env!("CARGO_MANIFEST_DIR"));
    let mut text = String::new();
    GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn hash(text: &str) -> Hash {
    Hash::parse(text).unwrap()
}

impl LookupCase {
    fn check(&self) -> Result<String, Step> {
        let key = VerifierKey::parse(&self.key).unwrap();
        let known = (!self.known.is_empty()).then(|| SignedHead::open(self.known.as_bytes(), &key).unwrap());
        let module = ModulePath::parse(&self.module).unwrap();
        let mv = ModuleVersion::new(module, Version::parse(&self.version).unwrap()).unwrap();
        let answer = BASE64.decode(self.answer.as_deref().unwrap_or("")).unwrap();
        let mut tiles: BTreeMap<Tile, Bytes> = BTreeMap::new();
        for (path, data) in &self.tiles {
            tiles.insert(Tile::parse(path).unwrap(), BASE64.decode(data).unwrap().into());
        }
        let accepted = check_lookup(&answer, &mv, &key, known.as_ref(), &tiles)?;
        for verified in &accepted.tiles {
            assert!(tiles[&verified.tile].starts_with(&verified.hashes));
        }
        let (module, version) = (&self.module, &self.version);
        let sums = accepted.hashes;
        Ok(format!("{module} {version} {}\n{module} {version}/go.mod {}", sums.zip, sums.go_mod))
    }
}

#[test]
fn lookups_end_as_with_the_real_client() {
    let (mut accepted, mut refused, mut forks) = (0, 0, 0);
    for case in cases() {
        let Case::Lookup(case) = case else { continue };
        let outcome = case.check();
        let what = format!("{} {}@{}: {outcome:?}", case.class, case.module, case.version);
        match outcome {
            Ok(lines) => {
                assert!(case.ok, "{what}");
                assert_eq!(lines, case.lines.join("\n"), "{what}");
                accepted += 1;
            }
            // What Go had fetched is all that is needed, unless it stopped before the end.
            Err(Step::Need(_)) => assert!(!case.ok && !case.fork, "{what}"),
            Err(Step::Refused(refusal)) => {
                assert!(!case.ok, "{what}");
                let fork = matches!(refusal, Refusal::Fork { .. });
                assert_eq!(fork, case.fork, "{what}");
                forks += u32::from(fork);
                refused += 1;
            }
        }
    }
    assert!(accepted >= 80 && refused >= 150 && forks >= 15, "{accepted} {refused} {forks}");
}

#[test]
fn proofs_hold() {
    let mut checked = 0;
    for case in cases() {
        let (proof, is_tree) = match case {
            Case::RecordProof(proof) => (proof, false),
            Case::TreeProof(proof) => (proof, true),
            Case::Lookup(_) | Case::Path { .. } | Case::Note(_) => continue,
        };
        let hashes: Vec<Hash> = proof.hashes.iter().map(|text| hash(text)).collect();
        let head = TreeHead { size: proof.size, hash: hash(&proof.hash) };
        let check = |hashes: &[Hash]| {
            if is_tree {
                check_tree_proof(hashes, head, TreeHead { size: proof.n, hash: hash(&proof.n_hash) })
            } else {
                check_record_proof(hashes, head, proof.n, hash(&proof.n_hash))
            }
        };
        assert_eq!(check(&hashes), Ok(()));
        for at in 0..hashes.len() {
            let mut less = hashes.clone();
            less.remove(at);
            assert!(check(&less).is_err());
        }
        checked += 1;
    }
    assert_eq!(checked, 400);
}

#[test]
fn tile_paths_are_gos() {
    let mut outcomes = [0, 0];
    for case in cases() {
        let Case::Path { path, ok } = case else { continue };
        // Go documents 63 as the highest level, but its parser does not look.
        let level: u64 = path.split('/').nth(2).and_then(|level| level.parse().ok()).unwrap_or(0);
        let ok = ok && level <= 63;
        assert_eq!(Tile::parse(&path).is_ok(), ok, "{path}");
        outcomes[usize::from(ok)] += 1;
    }
    assert!(outcomes.iter().all(|&count| count > 200), "{outcomes:?}");
}

#[test]
fn notes_open_as_in_go() {
    let mut outcomes = [0, 0];
    for case in cases() {
        let Case::Note(case) = case else { continue };
        let note = BASE64.decode(&case.note).unwrap();
        let ours = open_note(&note, &VerifierKey::parse(&case.key).unwrap());
        let what = format!("{ours:?}: {}", String::from_utf8_lossy(&note));
        assert_eq!(ours.is_ok(), case.ok, "{what}");
        assert_eq!(ours.unwrap_or(""), case.text, "{what}");
        outcomes[usize::from(case.ok)] += 1;
    }
    assert!(outcomes.iter().all(|&count| count > 100), "{outcomes:?}");
}

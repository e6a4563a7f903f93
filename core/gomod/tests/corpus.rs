//! Replays the committed fuzz corpus: every input that was ever interesting stays tested.

#[path = "support/invariants.rs"]
mod invariants;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use invariants::TARGETS;

/// Fewer inputs than this are a folder that got lost.
const INPUTS_MIN: usize = 20;

fn corpus() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus")
}

#[test]
fn every_input_keeps_the_invariants() {
    for (name, check) in TARGETS {
        let mut inputs = 0;
        for entry in fs::read_dir(corpus().join(name)).unwrap() {
            let file = entry.unwrap().path();
            // Shown if the check panics.
            println!("{}", file.display());
            check(&fs::read(&file).unwrap());
            inputs += 1;
        }
        assert!(inputs >= INPUTS_MIN, "{name}: only {inputs} inputs");
    }
}

#[test]
fn every_folder_has_its_target() {
    let folders: BTreeSet<String> = fs::read_dir(corpus())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(folders, targets);
}

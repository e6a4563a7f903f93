//! What a shell gets: the script, words, and names that the cluster has.

use crate::bed::Bed;
use crate::data;

/// What the program offers for the last of these words.
fn candidates(bed: &Bed, words: &[&str]) -> Vec<String> {
    let mut command = bed.command(&[]);
    let last = (words.len() - 1).to_string();
    command.args(["--"]).args(words);
    command.env("COMPLETE", "bash").env("_CLAP_COMPLETE_INDEX", last).env("_CLAP_COMPLETE_COMP_TYPE", "9");
    command.env("_CLAP_IFS", "\n");
    bed.finish(&mut command).stdout.lines().map(str::to_owned).collect()
}

#[test]
fn every_shell_gets_a_script_that_asks_the_program() {
    let bed = Bed::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let run = bed.bare(&["completion", shell]).output().unwrap();
        let script = String::from_utf8(run.stdout).unwrap();
        assert!(
            run.status.success() && script.contains("COMPLETE") && script.contains("goproxyctl"),
            "{shell}: {script}"
        );
    }
}

#[test]
fn words_and_names_are_completed() {
    let bed = Bed::new();
    data::well(&bed);
    assert_eq!(candidates(&bed, &["goproxyctl", "nod"]), ["node"]);
    assert_eq!(candidates(&bed, &["goproxyctl", "node", "dr"]), ["drain"]);
    assert_eq!(candidates(&bed, &["goproxyctl", "node", "drain", "data-"]), ["data-1", "data-2", "data-3"]);
    assert_eq!(candidates(&bed, &["goproxyctl", "node", "list", "--zone", ""]), ["a", "b", "c"]);
    assert_eq!(candidates(&bed, &["goproxyctl", "member", "remove", "control-"]).len(), 3);
    assert_eq!(candidates(&bed, &["goproxyctl", "policy", "history", "t"]), ["teams"]);
    assert_eq!(candidates(&bed, &["goproxyctl", "token", "revoke", "c"]), ["ci"]);
    assert_eq!(candidates(&bed, &["goproxyctl", "cluster", "jobs", "show", "j"]), ["j-17"]);
}

#[test]
fn no_cluster_is_no_error() {
    let bed = Bed::new();
    let mut command = bed.bare(&["--", "goproxyctl", "node", "drain", "d"]);
    command.env("COMPLETE", "bash").env("_CLAP_COMPLETE_INDEX", "3").env("_CLAP_IFS", "\n");
    command.env("_CLAP_COMPLETE_COMP_TYPE", "9");
    let run = bed.finish(&mut command);
    assert_eq!((run.code, run.stdout.as_str(), run.stderr.as_str()), (0, "", ""));
}

#[test]
fn manual_pages_are_written_for_every_command() {
    let bed = Bed::new();
    assert_eq!(bed.run(&["man", "man1"]).code, 0);
    let page = std::fs::read_to_string(bed.path("man1/goproxyctl-node-drain.1")).unwrap();
    assert!(page.contains("Example") && page.contains("\\-\\-wait"), "{page}");
    assert!(bed.path("man1/goproxyctl.1").exists());
}

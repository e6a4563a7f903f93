//! Rules for the documents: those that must be there, decision records numbered and listed, links that lead somewhere.

use std::collections::BTreeSet;

use super::Finding;
use super::tree::{File, Tree};

/// Documents that a reader is sent to.
const REQUIRED: [&str; 8] = [
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "README.md",
    "docs/adr/README.md",
    "docs/glossary.md",
    "docs/metrics.md",
];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let missing = REQUIRED.iter().filter(|path| tree.get(path).is_none());
    let mut found: Vec<_> = missing
        .map(|path| Finding { path: (*path).to_owned(), line: None, rule: "is missing".to_owned() })
        .collect();
    found.extend(records(tree));
    let documents = tree.files.iter().filter(|file| has_extension(&file.path, "md"));
    found.extend(documents.flat_map(|file| dead_links(tree, file)));
    found
}

/// Decision records have a number of their own, and the list in their folder names each.
fn records(tree: &Tree) -> Vec<Finding> {
    let list = tree.get("docs/adr/README.md").map_or("", |file| file.text.as_str());
    let mut numbers = BTreeSet::new();
    let mut found = Vec::new();
    for file in &tree.files {
        let Some(name) = file.path.strip_prefix("docs/adr/") else { continue };
        let Some((number, _)) = name.split_once('-').filter(|(number, _)| number.parse::<u16>().is_ok())
        else {
            continue;
        };
        if !numbers.insert(number) {
            found.push(Finding::new(file, None, format!("number {number} is taken")));
        }
        if !list.contains(&format!("({name})")) {
            found.push(Finding::new(file, None, "is not in docs/adr/README.md"));
        }
    }
    found
}

/// Relative links to files that are not there.
fn dead_links(tree: &Tree, file: &File) -> Vec<Finding> {
    let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut found = Vec::new();
    for (at, line) in file.text.lines().enumerate() {
        for target in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = target.split('#').next().unwrap_or_default();
            if path.is_empty() || path.contains(':') || path.starts_with('/') {
                continue;
            }
            let path = resolve(folder, path);
            let there = tree
                .files
                .iter()
                .any(|other| other.path == path || other.path.starts_with(&format!("{path}/")));
            if !there {
                found.push(Finding::new(
                    file,
                    Some(at + 1),
                    format!("link to `{target}`, which is not there"),
                ));
            }
        }
    }
    found
}

/// `folder/path` without `.` and `..`.
fn resolve(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    parts.join("/")
}

fn has_extension(path: &str, extension: &str) -> bool {
    path.rsplit_once('.').is_some_and(|(_, found)| found == extension)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> Tree {
        let files =
            files.iter().map(|(path, text)| File { path: (*path).to_owned(), text: (*text).to_owned() });
        Tree { files: files.collect() }
    }

    #[test]
    fn what_a_reader_is_sent_to_must_be_there() {
        assert_eq!(check(&tree(&[])).len(), REQUIRED.len());
        let found = check(&tree(&[("LICENSE", "")]));
        assert!(found.iter().all(|finding| finding.path != "LICENSE"));
    }

    #[test]
    fn records_are_numbered_once_and_listed() {
        let found = records(&tree(&[
            ("docs/adr/README.md", "- [a](0001-a.md)\n- [b](0001-b.md)\n"),
            ("docs/adr/0001-a.md", ""),
            ("docs/adr/0001-b.md", ""),
            ("docs/adr/0002-c.md", ""),
            ("docs/adr/template.md", ""),
        ]));
        let found: Vec<_> = found.iter().map(Finding::to_string).collect();
        assert_eq!(
            found,
            ["docs/adr/0001-b.md: number 0001 is taken", "docs/adr/0002-c.md: is not in docs/adr/README.md"]
        );
    }

    #[test]
    fn links_lead_somewhere() {
        let text =
            "[a](b.md) [c](../README.md#part) [d](https://x.example) [e](#here) [f](gone.md) [g](sub)\n";
        let tree = tree(&[("docs/a.md", text), ("docs/b.md", ""), ("README.md", ""), ("docs/sub/x.md", "")]);
        let found: Vec<_> =
            check(&tree).into_iter().filter_map(|finding| finding.line.map(|_| finding.rule)).collect();
        assert_eq!(found, ["link to `gone.md`, which is not there"]);
    }
}

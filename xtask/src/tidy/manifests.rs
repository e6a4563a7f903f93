//! Which crate may depend on which, and on what from outside. The arrows are those of ARCHITECTURE.md.

use toml::Table;

use super::Finding;
use super::tree::File;

/// Our crates, and what of ours each may use. A new crate needs a row.
const ARROWS: [(&str, &[&str]); 14] = [
    ("core/cluster", &["gomod"]),
    ("core/gomod", &[]),
    ("common", &[]),
    ("ctl", &["common", "identity", "proto"]),
    ("identity", &["cluster", "common", "proto"]),
    ("pages", &[]),
    ("controlplane", &["cluster", "common", "gomod", "identity", "proto"]),
    ("proto", &["cluster"]),
    ("dataplane", &["cluster", "common", "gomod", "identity", "pages", "proto"]),
    ("goproxyd", &["cluster", "common", "controlplane", "dataplane", "gomod", "identity"]),
    ("tests", &["cluster", "proto"]),
    ("benches", &["cluster", "common", "dataplane", "gomod"]),
    ("fuzz", &["gomod"]),
    ("xtask", &[]),
];

/// Our crates by name.
const OURS: [&str; 12] = [
    "cluster",
    "common",
    "controlplane",
    "ctl",
    "dataplane",
    "gomod",
    "goproxyd",
    "identity",
    "pages",
    "proto",
    "tests",
    "xtask",
];

/// What a crate under `core/` may use from outside: arithmetic and formats, nothing that reaches out.
const PURE: [&str; 11] = [
    "base64",
    "bytes",
    "crc32fast",
    "flate2",
    "memchr",
    "ring",
    "serde",
    "serde_json",
    "sha2",
    "thiserror",
    "time",
];

pub(super) fn check(file: &File) -> Vec<Finding> {
    let Some(folder) = file.path.strip_suffix("/Cargo.toml") else { return Vec::new() };
    if folder.starts_with("third_party/") {
        return Vec::new();
    }
    let Ok(manifest) = file.text.parse::<Table>() else {
        return vec![Finding::new(file, None, "is no TOML")];
    };
    let Some((_, allowed)) = ARROWS.iter().find(|(path, _)| *path == folder) else {
        return vec![Finding::new(
            file,
            None,
            "a new crate: say in xtask/src/tidy/manifests.rs what it may use",
        )];
    };
    let mut found = Vec::new();
    let dependencies = manifest.get("dependencies").and_then(|table| table.as_table());
    for name in dependencies.into_iter().flat_map(Table::keys) {
        let ours = OURS.contains(&name.as_str());
        if ours && !allowed.contains(&name.as_str()) {
            found.push(Finding::new(file, None, format!("must not depend on `{name}`")));
        }
        if folder.starts_with("core/") && !ours && !PURE.contains(&name.as_str()) {
            found.push(Finding::new(file, None, format!("`{name}` is not on the list for pure crates")));
        }
    }
    let lints = manifest.get("lints").and_then(|lints| lints.get("workspace")).and_then(toml::Value::as_bool);
    if lints != Some(true) && folder != "fuzz" {
        found.push(Finding::new(file, None, "lacks `[lints] workspace = true`"));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, dependencies: &str) -> Vec<String> {
        let text = format!("[lints]\nworkspace = true\n[dependencies]\n{dependencies}");
        check(&File { path: path.to_owned(), text }).into_iter().map(|finding| finding.rule).collect()
    }

    #[test]
    fn arrows_point_one_way() {
        assert!(found("dataplane/Cargo.toml", "gomod.workspace = true\ntokio = \"1\"\n").is_empty());
        assert_eq!(found("common/Cargo.toml", "gomod.workspace = true\n"), ["must not depend on `gomod`"]);
        assert_eq!(
            found("core/gomod/Cargo.toml", "common.workspace = true\n"),
            ["must not depend on `common`"]
        );
        assert_eq!(
            found("core/gomod/Cargo.toml", "cluster.workspace = true\n"),
            ["must not depend on `cluster`"]
        );
        assert_eq!(
            found("core/gomod/Cargo.toml", "tokio = \"1\"\n"),
            ["`tokio` is not on the list for pure crates"]
        );
        assert_eq!(found("third_party/x/Cargo.toml", "gomod = \"1\"\n"), Vec::<String>::new());
        assert_eq!(found("new/Cargo.toml", "").len(), 1);
    }

    #[test]
    fn every_crate_has_the_lints() {
        let file = File { path: "common/Cargo.toml".to_owned(), text: "[dependencies]\n".to_owned() };
        assert_eq!(check(&file).len(), 1);
    }
}

//! go.sum files: which versions a program needs, and what they must hash to. Pure.

use std::collections::BTreeMap;

use proto::control::v1::WarmItem;

/// What a line ends with that is of a go.mod alone.
const GO_MOD: &str = "/go.mod";

/// Why a text is no go.sum file.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("line {line} is none of a go.sum file: a module path, a version and a hash that begins with `h1:`")]
pub(crate) struct GoSumError {
    /// The number of the line, from 1.
    pub(crate) line: usize,
}

/// The versions of a go.sum file (go.dev/ref/mod#go-sum-files), by module path and version. Hashes of kinds that are not known are
/// passed over, as the go command does.
pub(crate) fn items(text: &str) -> Result<Vec<WarmItem>, GoSumError> {
    let mut items: BTreeMap<(&str, &str), WarmItem> = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let [module, version, hash] = match words[..] {
            [] => continue,
            [module, version, hash] => [module, version, hash],
            _ => return Err(GoSumError { line: number + 1 }),
        };
        if !hash.contains(':') {
            return Err(GoSumError { line: number + 1 });
        }
        if !hash.starts_with("h1:") {
            continue;
        }
        let (version, is_go_mod) = match version.strip_suffix(GO_MOD) {
            Some(version) => (version, true),
            None => (version, false),
        };
        let item = items.entry((module, version)).or_insert_with(|| WarmItem {
            module_path: module.to_owned(),
            version: version.to_owned(),
            go_mod_only: true,
            ..WarmItem::default()
        });
        if is_go_mod {
            hash.clone_into(&mut item.go_mod_h1);
        } else {
            item.go_mod_only = false;
            hash.clone_into(&mut item.zip_h1);
        }
    }
    Ok(items.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_wanted_as_far_as_the_file_has_it() {
        let text = "a.example/m v1.0.0 h1:zip=\na.example/m v1.0.0/go.mod h1:mod=\n\nb.example/n v0.1.0/go.mod h1:only=\n";
        let items = items(text).unwrap();
        let told: Vec<_> = items
            .iter()
            .map(|item| {
                (item.module_path.as_str(), item.go_mod_only, item.zip_h1.as_str(), item.go_mod_h1.as_str())
            })
            .collect();
        assert_eq!(
            told,
            [("a.example/m", false, "h1:zip=", "h1:mod="), ("b.example/n", true, "", "h1:only=")]
        );
    }

    #[test]
    fn what_is_no_such_file_is_refused_with_its_line() {
        assert_eq!(items("a.example/m v1.0.0 h1:x\nmodule a\n"), Err(GoSumError { line: 2 }));
        assert_eq!(items("a.example/m v1.0.0 sum\n"), Err(GoSumError { line: 1 }));
        assert_eq!(items("a.example/m v1.0.0 h9:x\n").unwrap(), []);
    }
}

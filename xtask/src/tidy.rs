//! All the rules over all the files. A rule is a function from a file's text to findings and does no IO.

mod docs;
mod manifests;
pub(crate) mod protos;
mod source;
mod tree;

use std::fmt;

use tree::File;
pub(crate) use tree::Tree;

/// Something that is against a rule.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    path: String,
    line: Option<usize>,
    rule: String,
}

impl Finding {
    fn new(file: &File, line: Option<usize>, rule: impl Into<String>) -> Self {
        Self { path: file.path.clone(), line, rule: rule.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.path, self.rule),
            None => write!(f, "{}: {}", self.path, self.rule),
        }
    }
}

/// Everything that is against a rule, in the order of the files.
pub(crate) fn findings(tree: &Tree) -> Vec<Finding> {
    let mut found: Vec<_> = tree.files.iter().flat_map(source::check).collect();
    found.extend(tree.files.iter().flat_map(manifests::check));
    found.extend(docs::check(tree));
    found.extend(protos::check(tree));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_repository_is_tidy() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let found: Vec<_> = findings(&Tree::read(root).unwrap()).iter().map(Finding::to_string).collect();
        assert_eq!(found, Vec::<String>::new());
    }
}

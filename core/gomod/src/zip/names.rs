//! Names inside a module: which paths are allowed, and which two cannot live in one tree.
//!
//! Owns golang.org/x/mod/module's `CheckFilePath` and golang.org/x/mod/zip's collision rule. Knows nothing
//! of zips. Invariant of [`Tree`]: no two of its paths are equal under case folding.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map;

use super::error::NameProblem;
use super::unicode::{fold, is_letter};
use crate::element::{check_file_element, is_ascii_file_char};

/// Checks a slash-separated path relative to the module's root. Source: x/mod/module, `CheckFilePath`.
///
/// What it accepts is clean as well: empty, `.` and `..` elements are refused.
pub fn check_file_path(path: &str) -> Result<(), NameProblem> {
    if path.is_empty() {
        return Err(NameProblem::Empty);
    }
    path.split('/').try_for_each(check_element)
}

fn check_element(element: &str) -> Result<(), NameProblem> {
    check_file_element(element, is_file_char).map_err(NameProblem::Element)
}

/// ASCII as every system has it, and Unicode letters.
fn is_file_char(c: char) -> bool {
    if c.is_ascii() { is_ascii_file_char(c) } else { is_letter(c) }
}

/// Go's `strings.EqualFold`.
pub(super) fn equal_fold(a: &str, b: &str) -> bool {
    a.chars().map(fold).eq(b.chars().map(fold))
}

/// Folds a whole element; most are lower-case ASCII already and are not copied.
fn folded(element: &str) -> Cow<'_, str> {
    if element.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase()) {
        Cow::Borrowed(element)
    } else {
        Cow::Owned(element.chars().map(fold).collect())
    }
}

/// Why a path does not fit beside those already in the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Misfit<'a> {
    /// Not allowed anywhere.
    Name(NameProblem),
    /// A path that is there in other case: `existing` and `element` below `above`, which ends in a slash or is empty.
    Case { above: &'a str, existing: &'a str, element: &'a str },
    /// The same file again.
    Duplicate,
    /// A file where a directory is, or the other way round.
    FileAndDirectory,
    /// More paths than the tree holds.
    Full,
}

struct Node<'a> {
    id: u32,
    element: &'a str,
    directory: bool,
}

/// The paths seen so far, as a tree of elements, so that memory grows with the elements named and not with
/// the length of all their parents.
pub(super) struct Tree<'a> {
    nodes: HashMap<(u32, Cow<'a, str>), Node<'a>>,
    paths_max: usize,
    last: &'a str,
    /// The directories above `last`: bytes of their path with the slash, and their ids.
    parents: Vec<(usize, u32)>,
}

impl<'a> Tree<'a> {
    /// An empty tree of at most so many files and directories.
    pub(super) fn new(paths_max: usize) -> Self {
        Self { nodes: HashMap::new(), paths_max, last: "", parents: Vec::new() }
    }

    /// Checks and adds a file or directory and the directories above it. A directory may come more than
    /// once. Nothing may be added after a misfit.
    pub(super) fn insert(&mut self, path: &'a str, directory: bool) -> Result<(), Misfit<'a>> {
        if path.is_empty() {
            return Err(Misfit::Name(NameProblem::Empty));
        }
        // Files of one directory mostly follow each other: what they share is checked and in the tree.
        let shared = self.last.bytes().zip(path.bytes()).take_while(|(a, b)| a == b).count();
        while self.parents.pop_if(|(end, _)| *end > shared).is_some() {}
        let (mut start, mut parent) = self.parents.last().copied().unwrap_or((0, 0));
        self.last = path;
        while let Some(rest) = path.get(start..) {
            let element = rest.split_once('/').map_or(rest, |(element, _)| element);
            check_element(element).map_err(Misfit::Name)?;
            let is_leaf = element.len() == rest.len();
            let above = path.get(..start).unwrap_or_default();
            parent = self.step(parent, above, element, directory || !is_leaf)?;
            if is_leaf {
                break;
            }
            start += element.len() + 1;
            self.parents.push((start, parent));
        }
        Ok(())
    }

    fn step(
        &mut self,
        parent: u32,
        above: &'a str,
        element: &'a str,
        directory: bool,
    ) -> Result<u32, Misfit<'a>> {
        let next_id = self.nodes.len() + 1;
        match self.nodes.entry((parent, folded(element))) {
            hash_map::Entry::Vacant(_) if next_id > self.paths_max => Err(Misfit::Full),
            hash_map::Entry::Vacant(vacant) => {
                let id = next_id as u32;
                vacant.insert(Node { id, element, directory });
                Ok(id)
            }
            hash_map::Entry::Occupied(occupied) => {
                let node = occupied.get();
                if node.element != element {
                    Err(Misfit::Case { above, existing: node.element, element })
                } else if node.directory != directory {
                    Err(Misfit::FileAndDirectory)
                } else if !directory {
                    Err(Misfit::Duplicate)
                } else {
                    Ok(node.id)
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_paths() {
        use crate::ElementError::{Character, DotsOnly, Empty, TrailingDot, WindowsName};
        let cases = [
            ("a", Ok(())),
            (".gitignore", Ok(())),
            ("a b/c!#$%&()+,-.=@[]^_{}~", Ok(())),
            ("größe/日本語.go", Ok(())),
            ("a~1", Ok(())),
            ("-x", Ok(())),
            ("console.go", Ok(())),
            ("a.con", Ok(())),
            ("", Err(NameProblem::Empty)),
            ("/a", Err(NameProblem::Element(Empty))),
            ("a/", Err(NameProblem::Element(Empty))),
            ("a//b", Err(NameProblem::Element(Empty))),
            ("a/../b", Err(NameProblem::Element(DotsOnly))),
            ("...", Err(NameProblem::Element(DotsOnly))),
            ("a.", Err(NameProblem::Element(TrailingDot))),
            ("a\\b", Err(NameProblem::Element(Character('\\')))),
            ("a:b", Err(NameProblem::Element(Character(':')))),
            ("a\nb", Err(NameProblem::Element(Character('\n')))),
            ("a\u{0}b", Err(NameProblem::Element(Character('\u{0}')))),
            ("a'b", Err(NameProblem::Element(Character('\'')))),
            ("☃", Err(NameProblem::Element(Character('☃')))),
            ("e\u{301}", Err(NameProblem::Element(Character('\u{301}')))),
            ("x/CoN", Err(NameProblem::Element(WindowsName))),
            ("aux.tar.gz", Err(NameProblem::Element(WindowsName))),
            ("com1/x", Err(NameProblem::Element(WindowsName))),
        ];
        for (path, expected) in cases {
            assert_eq!(check_file_path(path), expected, "{path:?}");
        }
    }

    fn misfit(paths: &[&'static str]) -> Option<Misfit<'static>> {
        let mut tree = Tree::new(100);
        paths.iter().find_map(|path| match path.strip_suffix('/') {
            Some(directory) => tree.insert(directory, true).err(),
            None => tree.insert(path, false).err(),
        })
    }

    #[test]
    fn collisions() {
        use Misfit::{Case, Duplicate, FileAndDirectory};
        assert_eq!(misfit(&["a", "b", "c/a", "c/b", "c/", "c/", "d/"]), None);
        let case = |above, existing, element| Some(Case { above, existing, element });
        assert_eq!(misfit(&["a", "A"]), case("", "a", "A"));
        assert_eq!(misfit(&["a/B/c", "a/b/d"]), case("a/", "B", "b"));
        assert_eq!(misfit(&["a/b/c", "a/b/C"]), case("a/b/", "c", "C"));
        assert_eq!(misfit(&["k", "\u{212a}"]), case("", "k", "\u{212a}"));
        assert_eq!(misfit(&["a", "a"]), Some(Duplicate));
        assert_eq!(misfit(&["a", "a/b"]), Some(FileAndDirectory));
        assert_eq!(misfit(&["a/b", "a"]), Some(FileAndDirectory));
        assert_eq!(misfit(&["a/b/c", "a/b"]), Some(FileAndDirectory));
        assert_eq!(misfit(&["a/bc/d", "a/b", "a/bc"]), Some(FileAndDirectory));
        assert_eq!(misfit(&["a/b/", "a/b/c", "a/b/"]), None);
        assert_eq!(misfit(&["a/x/1", "b/x/1", "a/x/1"]), Some(Duplicate));
        assert_eq!(misfit(&["a/", "a"]), Some(FileAndDirectory));
    }

    #[test]
    fn names_are_checked_whatever_came_before() {
        let dots = Misfit::Name(NameProblem::Element(crate::ElementError::DotsOnly));
        assert_eq!(misfit(&["a/b", "a/.."]), Some(dots));
        assert_eq!(misfit(&["a/b", "a/../b"]), Some(dots));
        assert_eq!(misfit(&[""]), Some(Misfit::Name(NameProblem::Empty)));
        let empty = Misfit::Name(NameProblem::Element(crate::ElementError::Empty));
        assert_eq!(misfit(&["a/b", "a//b"]), Some(empty));
        assert_eq!(misfit(&["a/b/", "a/b//"]), Some(empty));
    }

    #[test]
    fn a_full_tree_takes_no_new_path() {
        let mut tree = Tree::new(3);
        assert_eq!(tree.insert("a/b/c", false), Ok(()));
        assert_eq!(tree.insert("a/b", true), Ok(()));
        assert_eq!(tree.insert("d", false), Err(Misfit::Full));
    }
}

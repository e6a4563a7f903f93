//! Rules for `.proto` files: those of buf's STANDARD and COMMENTS sets that apply here, some of our own, and that nothing that
//! was ever agreed on changes its meaning (`lock.rs`). The files are compiled in memory; nothing is read or fetched.

mod lock;
mod names;
mod rules;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, bail};
use protox::Compiler;
use protox::file::{ChainFileResolver, File as Source, FileResolver, GoogleFileResolver};
use protox::prost_reflect::{DescriptorPool, FileDescriptor};

use super::Finding;
use super::tree::Tree;

/// Where the files are, as they import each other from there.
const FOLDER: &str = "proto/";

/// What is agreed on.
pub(crate) const LOCK: &str = "proto/lock.json";

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let sources = sources(tree);
    if sources.is_empty() {
        return Vec::new();
    }
    let pool = match compile(&sources) {
        Ok(pool) => pool,
        Err(error) => return vec![finding("proto", None, format!("does not compile: {error}"))],
    };
    let mut found: Vec<_> = ours(&pool, &sources).flat_map(|file| rules::check(&file)).collect();
    found.extend(rules::check_together(&pool));
    let locked = tree.get(LOCK).map(|file| file.text.as_str());
    let differences = match locked.map(lock::Lock::parse) {
        None => vec!["is missing: cargo xtask lock-protos writes it".to_owned()],
        Some(Err(error)) => vec![format!("is no lock: {error}")],
        Some(Ok(locked)) => lock::differences(&locked, &lock::Lock::of(&pool)),
    };
    found.extend(differences.into_iter().map(|rule| finding(LOCK, None, rule)));
    found
}

/// The lock's new text, with what was added since. What was changed or removed is refused unless `break_it`.
pub(crate) fn locked(tree: &Tree, break_it: bool) -> anyhow::Result<String> {
    let pool = compile(&sources(tree)).context("compile the .proto files")?;
    let present = lock::Lock::of(&pool);
    let Some(file) = tree.get(LOCK) else { return present.text() };
    let old = lock::Lock::parse(&file.text).context("read the lock")?;
    let broken = lock::broken(&old, &present);
    if !broken.is_empty() && !break_it {
        bail!("{}\nwho does not care for older programs adds --break", broken.join("\n"));
    }
    present.with_reservations_of(&old).text()
}

fn finding(path: &str, line: Option<usize>, rule: impl Into<String>) -> Finding {
    Finding { path: path.to_owned(), line, rule: rule.into() }
}

/// Names as imports have them, and texts.
fn sources(tree: &Tree) -> BTreeMap<String, String> {
    let is_proto = |path: &str| Path::new(path).extension().is_some_and(|extension| extension == "proto");
    let files = tree.files.iter().filter(|file| is_proto(&file.path));
    files.filter_map(|file| Some((file.path.strip_prefix(FOLDER)?.to_owned(), file.text.clone()))).collect()
}

struct InMemory(BTreeMap<String, String>);

impl FileResolver for InMemory {
    fn open_file(&self, name: &str) -> Result<Source, protox::Error> {
        let text = self.0.get(name).ok_or_else(|| protox::Error::file_not_found(name))?;
        Source::from_source(name, text)
    }
}

fn compile(sources: &BTreeMap<String, String>) -> anyhow::Result<DescriptorPool> {
    let mut resolver = ChainFileResolver::new();
    resolver.add(InMemory(sources.clone()));
    resolver.add(GoogleFileResolver::new());
    let mut compiler = Compiler::with_file_resolver(resolver);
    compiler.include_source_info(true).include_imports(true).open_files(sources.keys())?;
    Ok(DescriptorPool::from_file_descriptor_set(compiler.file_descriptor_set())?)
}

fn ours(pool: &DescriptorPool, sources: &BTreeMap<String, String>) -> impl Iterator<Item = FileDescriptor> {
    pool.files().filter(|file| sources.contains_key(file.name()))
}

//! A small checksum database for tests: a log that grows, signs, forks and lies on request, behind a scripted origin.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use gomod::sumdb::{
    Accepted, Hash, Lookup, SignedHead, SignerKey, Step, TILE_WIDTH, Tile, TileLevel, TreeHead, check_lookup,
    node_hash, record_hash,
};
use gomod::{ModulePath, ModuleVersion, Version};
use parking_lot::Mutex;

use crate::upstream_fake::{Fake, Reply};

pub(crate) const NAME: &str = "sum.example/db";

pub(crate) fn version(number: u64) -> ModuleVersion {
    let module = ModulePath::parse(&format!("m.example/Mod{number}")).unwrap();
    ModuleVersion::new(module, Version::parse("v1.0.0").unwrap()).unwrap()
}

pub(crate) fn lookup_path(number: u64) -> String {
    let version = version(number);
    format!("lookup/{}@{}", version.module.escaped(), version.version.escaped())
}

pub(crate) fn signer() -> SignerKey {
    SignerKey::from_seed(NAME, &[7; 32]).unwrap()
}

/// An append-only log. Record `n` is about [`version`]`(n)`.
pub(crate) struct Log {
    salt: u8,
    records: Vec<String>,
    levels: Vec<Vec<Hash>>,
}

impl Log {
    /// Logs with different salts fork from each other at record `salt_from`.
    pub(crate) fn new(size: u64, salt: u8, salt_from: u64) -> Self {
        let mut log = Self { salt: 0, records: Vec::new(), levels: vec![Vec::new()] };
        log.grow(size.min(salt_from));
        log.salt = salt;
        log.grow(size);
        log
    }

    pub(crate) fn grow(&mut self, size: u64) {
        for number in self.records.len() as u64..size {
            let version = version(number);
            let hash = |kind: u8| {
                let mut bytes = [kind ^ self.salt; 32];
                bytes[..8].copy_from_slice(&number.to_be_bytes());
                format!("h1:{}", Hash::from_bytes(bytes))
            };
            let (module, v) = (&version.module, &version.version);
            let record = format!("{module} {v} {}\n{module} {v}/go.mod {}\n", hash(1), hash(2));
            self.levels[0].push(record_hash(record.as_bytes()));
            self.records.push(record);
            for level in 0.. {
                let count = self.levels[level].len();
                if count % 2 == 1 {
                    break;
                }
                let node = node_hash(self.levels[level][count - 2], self.levels[level][count - 1]);
                if self.levels.len() == level + 1 {
                    self.levels.push(Vec::new());
                }
                self.levels[level + 1].push(node);
            }
        }
    }

    pub(crate) fn size(&self) -> u64 {
        self.records.len() as u64
    }

    pub(crate) fn head(&self, size: u64) -> TreeHead {
        // The complete subtrees from the largest down, folded from the right.
        let mut parts = Vec::new();
        let mut first = 0_u64;
        for level in (0..self.levels.len()).rev() {
            if size >> level & 1 == 1 {
                parts.push(self.levels[level][(first >> level) as usize]);
                first += 1 << level;
            }
        }
        let hash = parts.into_iter().rev().reduce(|right, left| node_hash(left, right));
        TreeHead { size, hash: hash.unwrap_or_else(Hash::of_empty_tree) }
    }

    pub(crate) fn note(&self, size: u64) -> String {
        signer().sign(&self.head(size).to_string()).unwrap()
    }

    pub(crate) fn lookup(&self, number: u64, size: u64) -> Bytes {
        Lookup::render(number, &self.records[number as usize], &self.note(size))
    }

    pub(crate) fn record(&self, number: u64) -> &str {
        &self.records[number as usize]
    }

    /// A tile as a server with a tree of `size` has it.
    pub(crate) fn tile(&self, tile: &Tile, size: u64) -> Option<Bytes> {
        let first = tile.index() * u64::from(TILE_WIDTH);
        let end = first + u64::from(tile.width());
        match tile.level() {
            TileLevel::Hashes(level) => {
                let depth = usize::from(level) * 8;
                if end > size.checked_shr(depth as u32)? {
                    return None;
                }
                let hashes = self.levels.get(depth)?.get(first as usize..end as usize)?;
                Some(hashes.iter().flat_map(|hash| *hash.as_bytes()).collect::<Vec<u8>>().into())
            }
            TileLevel::Data => {
                let records = self.records.get(first as usize..end.min(size) as usize)?;
                if end > size {
                    return None;
                }
                Some(records.iter().flat_map(|record| [record.as_str(), "\n"]).collect::<String>().into())
            }
        }
    }
}

/// What the fake database does now.
pub(crate) struct State {
    pub(crate) log: Log,
    /// The size it serves.
    pub(crate) size: u64,
    /// Lookups carry heads of this size, if the record is in it, as behind a cache.
    pub(crate) stale: Option<u64>,
    /// Answers partial tiles only while they are partial.
    pub(crate) drops_partial: bool,
    /// Answers that are not the log's own, by path below the database.
    pub(crate) lies: HashMap<String, Reply>,
}

pub(crate) struct FakeSumDb {
    pub(crate) state: Arc<Mutex<State>>,
    pub(crate) origin: Fake,
}

impl FakeSumDb {
    /// A module proxy that offers the database below `/sumdb/`.
    pub(crate) async fn start(size: u64) -> Self {
        Self::start_with(Log::new(size, 0, 0), "/sumdb/sum.example/db/").await
    }

    pub(crate) async fn start_with(log: Log, prefix: &'static str) -> Self {
        let size = log.size();
        let state = State { log, size, stale: None, drops_partial: true, lies: HashMap::new() };
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        let origin = Fake::start(move |seen, _| match seen.path.strip_prefix(prefix) {
            Some(path) => answer(&shared.lock(), path),
            None => Reply::text(404, "no such path"),
        })
        .await;
        Self { state, origin }
    }

    pub(crate) fn grow(&self, size: u64) {
        let mut state = self.state.lock();
        state.log.grow(size);
        state.size = size;
    }

    pub(crate) fn lie(&self, path: &str, reply: Reply) {
        self.state.lock().lies.insert(path.to_owned(), reply);
    }

    pub(crate) fn tell_truth(&self) {
        self.state.lock().lies.clear();
    }

    pub(crate) fn asked(&self, part: &str) -> usize {
        self.origin.paths().iter().filter(|path| path.contains(part)).count()
    }
}

fn answer(state: &State, path: &str) -> Reply {
    if let Some(lie) = state.lies.get(path) {
        return lie.clone();
    }
    if path == "supported" {
        return Reply::ok("");
    }
    if path == "latest" {
        return Reply::ok(state.log.note(state.size));
    }
    if path.starts_with("lookup/") {
        let number = path.strip_prefix("lookup/m.example/!mod").and_then(|rest| rest.strip_suffix("@v1.0.0"));
        let number: Option<u64> = number.and_then(|number| number.parse().ok());
        return match number.filter(|&number| number < state.size) {
            Some(number) => {
                let size = state.stale.filter(|&stale| stale > number).unwrap_or(state.size);
                Reply::ok(state.log.lookup(number, size).to_vec())
            }
            None => Reply::text(404, "not found: no such module version"),
        };
    }
    let Ok(tile) = Tile::parse(path) else { return Reply::new(400, "") };
    let complete = state.log.tile(&tile.completed(), state.size).is_some();
    if !tile.is_complete() && complete && state.drops_partial {
        return Reply::new(404, "");
    }
    match state.log.tile(&tile, state.size) {
        Some(bytes) => Reply::ok(bytes.to_vec()),
        None => Reply::new(404, ""),
    }
}

/// What the go command does with a lookup, given a way to ask for paths below the database: the newest head afterwards.
pub(crate) async fn strict_client<F: Future<Output = Option<Bytes>>>(
    number: u64,
    known: Option<&SignedHead>,
    ask: impl Fn(String) -> F,
) -> Result<Accepted, String> {
    let path = lookup_path(number);
    let answer = ask(path.clone()).await.ok_or_else(|| format!("no answer to {path}"))?;
    let mut tiles: HashMap<Tile, Bytes> = HashMap::new();
    loop {
        match check_lookup(&answer, &version(number), signer().verifier(), known, &tiles) {
            Ok(accepted) => return Ok(accepted),
            Err(Step::Refused(refusal)) => return Err(format!("{refusal:?}")),
            Err(Step::Need(needed)) => {
                for tile in needed {
                    if let Some(bytes) = ask(tile.to_string()).await {
                        tiles.insert(tile, bytes);
                    } else {
                        let complete = tile.completed();
                        let bytes = ask(complete.to_string()).await.ok_or_else(|| format!("no {tile}"))?;
                        tiles.insert(complete, bytes);
                    }
                }
            }
        }
    }
}

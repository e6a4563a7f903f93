//! A fake checksum database: a signed log over module records, served as `lookup`, `latest` and `tile`.
//!
//! Written from go.dev/ref/mod#checksum-database, independent of the server's own code. [`Tamper`] makes
//! it lie in each way that a client must notice.

use crate::module::{Module, escape, hex};
use crate::tree::{self, Hash};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How the database lies. One at a time; [`SumDb::tamper`] replaces the former.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tamper {
    /// It tells the truth.
    #[default]
    Honest,
    /// The lookup shows another h1 than the log holds.
    ForgedRecord,
    /// One bit of every tile is flipped.
    FlippedTile,
    /// A second tree of the same size with another history, signed with the right key.
    Fork,
    /// Tree heads are signed with another key of the same name.
    WrongKey,
    /// Heads and tiles stay at the size they had when this was set.
    OldHead,
    /// Every answer is 500.
    Down,
    /// Lookups are 200 with an empty body.
    Empty,
    /// Lookups answer with the record of another module.
    Unrelated,
    /// `supported` is 404: the origin does not proxy the database.
    Unsupported,
}

struct Record {
    text: String,
    hash: Hash,
}

struct State {
    records: Vec<Record>,
    index: HashMap<String, usize>,
    tamper: Tamper,
    frozen_size: usize,
}

/// The database. Clones are the same database.
#[derive(Clone)]
pub struct SumDb {
    name: String,
    keys: Arc<Keys>,
    state: Arc<Mutex<State>>,
}

struct Keys {
    right: Ed25519KeyPair,
    wrong: Ed25519KeyPair,
}

impl SumDb {
    /// An empty database of this name, which may hold a path (`host/path`).
    pub fn new(name: &str) -> Self {
        let pair = |first: u8| {
            let mut seed = [0x42; 32];
            seed[0] = first;
            Ed25519KeyPair::from_seed_unchecked(&seed).expect("a seed of 32 bytes")
        };
        let state =
            State { records: Vec::new(), index: HashMap::new(), tamper: Tamper::Honest, frozen_size: 0 };
        Self {
            name: name.to_owned(),
            keys: Arc::new(Keys { right: pair(1), wrong: pair(2) }),
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// The database's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The verifier key `name+hash+key`, as GOSUMDB and `--sumdb` take it.
    pub fn key(&self) -> String {
        let key = public(&self.keys.right);
        format!("{}+{}+{}", self.name, hex(&self.key_hash(&self.keys.right)), STANDARD.encode(key))
    }

    /// Appends the module's record, unless it has one.
    pub fn add(&self, module: &Module) {
        self.add_text(&module.spec(), module.sum_lines());
    }

    /// Appends a record with another zip hash than the module has.
    pub fn add_with_wrong_h1(&self, module: &Module) {
        let other = Module::new(&module.path, &module.version).file("other.go", "package other\n");
        let lines = format!(
            "{0} {1} {2}\n{0} {1}/go.mod {3}\n",
            module.path,
            module.version,
            other.h1(),
            module.go_mod_h1()
        );
        self.add_text(&module.spec(), lines);
    }

    /// Appends so many records of modules that nobody serves, so that the tree has full tiles.
    pub fn pad(&self, count: usize) {
        let size = self.size();
        for number in size..size + count {
            let module = format!("example.net/pad{number}");
            let sum = STANDARD.encode(tree::leaf(module.as_bytes()));
            let text = format!("{module} v1.0.0 h1:{sum}\n{module} v1.0.0/go.mod h1:{sum}\n");
            self.add_text(&format!("{module}@v1.0.0"), text);
        }
    }

    /// Sets how it lies from now on.
    pub fn tamper(&self, how: Tamper) {
        let mut state = self.lock();
        state.tamper = how;
        state.frozen_size = state.records.len();
    }

    /// Number of records.
    pub fn size(&self) -> usize {
        self.lock().records.len()
    }

    /// Answers a path below `/sumdb/<name>/`, such as `lookup/example.com/a@v1.0.0`.
    pub fn answer(&self, path: &str) -> (u16, Vec<u8>) {
        let tamper = self.lock().tamper;
        match tamper {
            Tamper::Down => return (500, b"the database is down\n".to_vec()),
            Tamper::Unsupported => return (404, b"not found: no such database here\n".to_vec()),
            Tamper::Honest
            | Tamper::ForgedRecord
            | Tamper::FlippedTile
            | Tamper::Fork
            | Tamper::WrongKey
            | Tamper::OldHead
            | Tamper::Empty
            | Tamper::Unrelated => {}
        }
        if path == "supported" {
            return (200, Vec::new());
        }
        if path == "latest" {
            return (200, self.head());
        }
        if let Some(rest) = path.strip_prefix("lookup/") {
            return self.lookup(rest);
        }
        path.strip_prefix("tile/")
            .and_then(|rest| self.tile(rest))
            .map_or_else(|| (404, b"not found\n".to_vec()), |bytes| (200, bytes))
    }

    fn lookup(&self, escaped: &str) -> (u16, Vec<u8>) {
        let tamper = self.lock().tamper;
        if tamper == Tamper::Empty {
            return (200, Vec::new());
        }
        let state = self.lock();
        let Some(mut id) = state.index.get(escaped).copied() else {
            return (404, format!("not found: {escaped}: no such record\n").into_bytes());
        };
        if tamper == Tamper::Unrelated {
            id = (id + 1) % state.records.len();
        }
        let mut text = state.records[id].text.clone();
        drop(state);
        if tamper == Tamper::ForgedRecord {
            text = forge(&text);
        }
        let mut body = format!("{id}\n{text}\n").into_bytes();
        body.extend_from_slice(&self.head());
        (200, body)
    }

    fn head(&self) -> Vec<u8> {
        let (leaves, tamper) = self.leaves();
        let pair = if tamper == Tamper::WrongKey { &self.keys.wrong } else { &self.keys.right };
        let text =
            format!("go.sum database tree\n{}\n{}\n", leaves.len(), STANDARD.encode(tree::root(&leaves)));
        // A signature line names the key by the hash of the right key even when a wrong one signed.
        let mut signature = self.key_hash(&self.keys.right).to_vec();
        signature.extend_from_slice(pair.sign(text.as_bytes()).as_ref());
        format!("{text}\n\u{2014} {} {}\n", self.name, STANDARD.encode(signature)).into_bytes()
    }

    fn tile(&self, rest: &str) -> Option<Vec<u8>> {
        let (height, rest) = rest.split_once('/')?;
        let (level, rest) = rest.split_once('/')?;
        if height != "8" {
            return None;
        }
        let (number, width) = match rest.split_once(".p/") {
            Some((number, width)) => (number, width.parse().ok().filter(|w| (1..256).contains(w))?),
            None => (rest, 256),
        };
        let index = tile_number(number)?;
        let (leaves, tamper) = self.leaves();
        if level == "data" {
            let state = self.lock();
            let records = state.records.get(index * 256..index * 256 + width)?;
            return Some(
                records.iter().fold(String::new(), |text, record| text + &record.text + "\n").into_bytes(),
            );
        }
        let mut bytes = tree::tile(&leaves, level.parse().ok().filter(|level| *level < 7)?, index, width)?;
        if tamper == Tamper::FlippedTile {
            bytes[0] ^= 1;
        }
        Some(bytes)
    }

    /// Leaf hashes of the tree as it is shown.
    fn leaves(&self) -> (Vec<Hash>, Tamper) {
        let state = self.lock();
        let mut leaves: Vec<Hash> = state.records.iter().map(|record| record.hash).collect();
        if state.tamper == Tamper::OldHead {
            leaves.truncate(state.frozen_size);
        }
        if state.tamper == Tamper::Fork
            && let Some(first) = leaves.first_mut()
        {
            *first = tree::leaf(b"another history");
        }
        (leaves, state.tamper)
    }

    fn add_text(&self, spec: &str, text: String) {
        let mut state = self.lock();
        let id = state.records.len();
        if let Entry::Vacant(entry) = state.index.entry(escape(spec)) {
            entry.insert(id);
            let hash = tree::leaf(text.as_bytes());
            state.records.push(Record { text, hash });
        }
    }

    /// First four bytes of `SHA-256(name || "\n" || 0x01 || public key)`.
    fn key_hash(&self, pair: &Ed25519KeyPair) -> [u8; 4] {
        let mut input = format!("{}\n", self.name).into_bytes();
        input.extend_from_slice(&public(pair));
        let digest = ring::digest::digest(&ring::digest::SHA256, &input);
        digest.as_ref()[..4].try_into().expect("four bytes")
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Algorithm byte 1 (Ed25519) and the public key.
fn public(pair: &Ed25519KeyPair) -> Vec<u8> {
    let mut key = vec![1];
    key.extend_from_slice(pair.public_key().as_ref());
    key
}

/// Changes the first h1 of a record.
fn forge(text: &str) -> String {
    let other = STANDARD.encode(tree::leaf(b"forged"));
    let start = text.find("h1:").expect("a record has an h1") + 3;
    format!("{}{other}{}", &text[..start], &text[start + other.len()..])
}

/// `x001/234` is 1234.
fn tile_number(text: &str) -> Option<usize> {
    let mut number = 0;
    for group in text.split('/') {
        number = number * 1000 + group.trim_start_matches('x').parse::<usize>().ok()?;
    }
    Some(number)
}

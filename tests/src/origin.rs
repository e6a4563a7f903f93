//! A fake upstream GOPROXY server in this process.
//!
//! Owns what is published, the fault scripts, and the account of every request seen. Talks HTTP/1.1 from
//! plain threads, because only a hand-written answer can be truncated, reset or mislabelled at will.
//! Faults and accounts go by the percent-decoded path, with literal `!`.

mod answer;
mod server;

use crate::fault::Fault;
use crate::module::{Module, escape};
use crate::sumdb::SumDb;
use answer::Answer;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One request as the origin saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Method of the request line.
    pub method: String,
    /// Target of the request line, undecoded.
    pub target: String,
    /// Percent-decoded path without its query.
    pub path: String,
    /// Header names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// Number of the connection it came on.
    pub connection: u64,
}

impl Seen {
    /// Value of the first header of this name (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_str())
    }
}

/// A script and how many more requests it is for.
struct Script {
    left: usize,
    faults: Vec<Fault>,
}

#[derive(Default)]
struct State {
    files: HashMap<String, Arc<[u8]>>,
    versions: BTreeMap<String, Vec<String>>,
    latest: HashMap<String, Vec<u8>>,
    sumdbs: Vec<SumDb>,
    scripts: HashMap<String, VecDeque<Script>>,
    seen: Vec<Seen>,
    ranges: bool,
}

#[derive(Clone, Default)]
pub(crate) struct Shared {
    state: Arc<Mutex<State>>,
}

/// The origin. Dropping it closes its port and every connection.
pub struct Origin {
    shared: Shared,
    server: server::Server,
}

impl Origin {
    /// An origin on plain HTTP with nothing published.
    pub fn start() -> Self {
        Self::with(None, Ipv4Addr::LOCALHOST)
    }

    /// The same at another address of this machine than the loopback's.
    pub fn start_at(address: Ipv4Addr) -> Self {
        Self::with(None, address)
    }

    /// An origin on HTTPS (HTTP/1.1).
    pub fn start_tls(config: Arc<rustls::ServerConfig>) -> Self {
        Self::with(Some(config), Ipv4Addr::LOCALHOST)
    }

    /// An origin whose checksum database is served below `/sumdb/`; what is published gets its record.
    pub fn with_sumdb(sumdb: &SumDb) -> Self {
        let origin = Self::start();
        origin.serve_sumdb(sumdb);
        origin
    }

    fn with(tls: Option<Arc<rustls::ServerConfig>>, at: Ipv4Addr) -> Self {
        let shared = Shared::default();
        shared.lock().ranges = true;
        let server = server::Server::start(shared.clone(), tls, at);
        Self { shared, server }
    }

    /// `http://127.0.0.1:PORT`, or at the other address (`https://localhost:PORT` with TLS).
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// The same without the scheme.
    pub fn address(&self) -> std::net::SocketAddr {
        self.server.address()
    }

    /// Closes the port and every connection, as if the machine were gone.
    pub fn down(&self) {
        self.server.down();
    }

    /// Opens the same port again.
    pub fn up(&self) {
        self.server.up();
    }

    /// Serves this database too.
    pub fn serve_sumdb(&self, sumdb: &SumDb) {
        self.shared.lock().sumdbs.push(sumdb.clone());
    }

    /// Publishes a version, listed, with its record in the databases served here.
    pub fn publish(&self, module: &Module) {
        for sumdb in self.shared.lock().sumdbs.clone() {
            sumdb.add(module);
        }
        self.publish_without_record(module);
    }

    /// Publishes a version, listed, without a checksum record.
    pub fn publish_without_record(&self, module: &Module) {
        self.publish_unlisted(module);
        let mut state = self.shared.lock();
        let versions = state.versions.entry(module.path.clone()).or_default();
        if !versions.contains(&module.version) {
            versions.push(module.version.clone());
        }
    }

    /// Serves the three files of a version without listing it.
    pub fn publish_unlisted(&self, module: &Module) {
        self.set_file(&module.url_path(".info"), module.info());
        self.set_file(&module.url_path(".mod"), module.go_mod());
        self.set_file(&module.url_path(".zip"), module.zip());
    }

    /// Serves raw bytes at a path.
    pub fn set_file(&self, path: &str, bytes: impl Into<Vec<u8>>) {
        self.shared.lock().files.insert(path.to_owned(), Arc::from(bytes.into()));
    }

    /// Takes a path away again.
    pub fn remove_file(&self, path: &str) {
        self.shared.lock().files.remove(path);
    }

    /// Serves `.info` of a branch, hash or other query with the info of this version.
    pub fn publish_query(&self, query: &str, module: &Module) {
        self.set_file(&format!("/{}/@v/{}.info", escape(&module.path), escape(query)), module.info());
    }

    /// Lists a module that has no tagged version (an empty 200).
    pub fn know(&self, path: &str) {
        self.shared.lock().versions.entry(path.to_owned()).or_default();
    }

    /// Answers `@latest` of a module with the info of this version.
    pub fn set_latest(&self, module: &Module) {
        self.shared.lock().latest.insert(module.path.clone(), module.info());
    }

    /// Whether `Range` is understood (it is, unless told).
    pub fn know_ranges(&self, known: bool) {
        self.shared.lock().ranges = known;
    }

    /// Applies these faults to every request of a path (`*` for all paths) until [`Origin::heal`].
    pub fn fault(&self, path: &str, faults: impl Into<Vec<Fault>>) {
        self.fault_times(path, usize::MAX, faults);
    }

    /// Applies these faults to the next `times` requests of a path, after scripts set before.
    pub fn fault_times(&self, path: &str, times: usize, faults: impl Into<Vec<Fault>>) {
        let script = Script { left: times, faults: faults.into() };
        self.shared.lock().scripts.entry(path.to_owned()).or_default().push_back(script);
    }

    /// Takes every fault away.
    pub fn heal(&self) {
        self.shared.lock().scripts.clear();
    }

    /// Every request seen, in order of arrival.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.lock().seen.clone()
    }

    /// Forgets the requests seen.
    pub fn forget_seen(&self) {
        self.shared.lock().seen.clear();
    }

    /// Number of requests seen for a path.
    pub fn count(&self, path: &str) -> usize {
        self.shared.lock().seen.iter().filter(|seen| seen.path == path).count()
    }

    /// Number of requests seen for paths that end so.
    pub fn count_suffix(&self, suffix: &str) -> usize {
        self.shared.lock().seen.iter().filter(|seen| seen.path.ends_with(suffix)).count()
    }

    /// Number of requests seen.
    pub fn total(&self) -> usize {
        self.shared.lock().seen.len()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Accounts for a request and takes the script that is due for it.
    fn note(&self, seen: Seen) -> Vec<Fault> {
        let mut state = self.lock();
        let mut faults = state.take_script("*");
        faults.extend(state.take_script(&seen.path));
        state.seen.push(seen);
        faults
    }

    /// The good answer to a path.
    fn answer(&self, path: &str, range: Option<&str>) -> Answer {
        let (found, ranges) = {
            let state = self.lock();
            (state.find(path), state.ranges)
        };
        let answer = match found {
            Found::Bytes(bytes) => Answer::ok(content_type(path), bytes),
            Found::SumDb(sumdb, rest) => {
                let (status, body) = sumdb.answer(&rest);
                Answer::new(status, "text/plain; charset=utf-8", body.into())
            }
            Found::Nothing => Answer::text(404, &format!("not found: {path}\n")),
        };
        match range {
            Some(range) if ranges => answer.ranged(range),
            _ => answer,
        }
    }
}

enum Found {
    Bytes(Arc<[u8]>),
    SumDb(SumDb, String),
    Nothing,
}

impl State {
    fn take_script(&mut self, path: &str) -> Vec<Fault> {
        let Some(queue) = self.scripts.get_mut(path) else { return Vec::new() };
        let Some(script) = queue.front_mut() else { return Vec::new() };
        let faults = script.faults.clone();
        script.left = script.left.saturating_sub(1);
        if script.left == 0 {
            queue.pop_front();
        }
        faults
    }

    fn find(&self, path: &str) -> Found {
        if let Some(bytes) = self.files.get(path) {
            return Found::Bytes(bytes.clone());
        }
        if let Some(rest) = path.strip_prefix("/sumdb/") {
            let hit = self.sumdbs.iter().find_map(|sumdb| {
                let below = rest.strip_prefix(sumdb.name())?.strip_prefix('/')?;
                Some(Found::SumDb(sumdb.clone(), below.to_owned()))
            });
            return hit.unwrap_or(Found::Nothing);
        }
        if let Some(module) = path.strip_suffix("/@v/list").and_then(|path| path.strip_prefix('/'))
            && let Some((_, versions)) = self.versions.iter().find(|(known, _)| escape(known) == module)
        {
            let text = versions.iter().fold(String::new(), |text, version| text + version + "\n");
            return Found::Bytes(Arc::from(text.into_bytes()));
        }
        if let Some(module) = path.strip_suffix("/@latest").and_then(|path| path.strip_prefix('/'))
            && let Some((_, info)) = self.latest.iter().find(|(known, _)| escape(known) == module)
        {
            return Found::Bytes(Arc::from(info.clone()));
        }
        Found::Nothing
    }
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.') {
        Some((_, "info")) => "application/json",
        Some((_, "zip")) => "application/zip",
        _ if path.ends_with("@latest") => "application/json",
        _ => "text/plain; charset=utf-8",
    }
}

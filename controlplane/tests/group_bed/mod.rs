//! A group of real members in one process: threads, `RocksDB`, a network of calls, and a state machine that counts.

#![allow(dead_code, reason = "each test file uses its own part of this module")]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cluster::{ClusterId, MemberId};
use controlplane::raft::local::LocalNetwork;
use controlplane::raft::{
    Answered, Applied, Change, Config, Digest, Identity, Incarnation, Limits, LogStore, Machine,
    MachineError, Members, OpenError, Peer, ProposeError, Publication, RaftHandle, RaftNode, Record,
    RequestId, Role, Stopped,
};
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

pub(crate) const CLUSTER: ClusterId = ClusterId::from_bytes([0xab; 16]);

/// How long anything may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn member(number: u64) -> MemberId {
    MemberId::new(number).unwrap()
}

pub(crate) fn deadline() -> Instant {
    Instant::now() + PATIENCE
}

/// What readers of a member see.
#[derive(Clone, Default)]
pub(crate) struct View(Arc<Mutex<(u64, Records)>>);

type Records = BTreeMap<Vec<u8>, Vec<u8>>;

impl View {
    pub(crate) fn index(&self) -> u64 {
        self.0.lock().0
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.0.lock().1.get(key).cloned()
    }

    pub(crate) fn all(&self) -> Records {
        self.0.lock().1.clone()
    }
}

/// Sets a record for each command `key=value`; the answer is how many there are.
pub(crate) struct Ledger {
    records: Records,
    view: View,
    /// Comes to another state than everybody else from here on.
    pub(crate) wrong_from: u64,
}

impl Ledger {
    pub(crate) fn new(view: View) -> Self {
        Self { records: BTreeMap::new(), view, wrong_from: u64::MAX }
    }
}

impl Machine for Ledger {
    type Answer = u64;

    fn restore(&self, _index: u64, records: &mut dyn Iterator<Item = Record>) -> Result<Self, MachineError> {
        Ok(Self { records: records.collect(), view: self.view.clone(), wrong_from: self.wrong_from })
    }

    fn apply(
        &mut self,
        index: u64,
        _request: RequestId,
        command: &[u8],
    ) -> Result<Applied<u64>, MachineError> {
        let at = command.iter().position(|byte| *byte == b'=');
        let at = at.ok_or_else(|| MachineError::Command { detail: "no equals sign".to_owned() })?;
        let (key, mut value) = (command[..at].to_vec(), command[at + 1..].to_vec());
        if index >= self.wrong_from {
            value.push(b'!');
        }
        self.records.insert(key.clone(), value.clone());
        Ok(Applied { answer: self.records.len() as u64, changes: vec![Change::Put { key, value }] })
    }

    fn digest(&self) -> Digest {
        let mut hasher = Sha256::new();
        for (key, value) in &self.records {
            hasher.update((key.len() as u64).to_be_bytes());
            hasher.update(key);
            hasher.update(value);
        }
        Digest(hasher.finalize().into())
    }

    fn record_count(&self) -> u64 {
        self.records.len() as u64
    }

    fn published(&mut self, publication: Publication<'_>) {
        let mut view = self.view.0.lock();
        match publication {
            Publication::Whole { index } => *view = (index, self.records.clone()),
            Publication::Changes { index, entries } => {
                view.0 = index;
                for change in entries.iter().flat_map(|(_, changes)| changes) {
                    match change.clone() {
                        Change::Put { key, value } => drop(view.1.insert(key, value)),
                        Change::Delete { key } => drop(view.1.remove(&key)),
                    }
                }
            }
        }
    }
}

pub(crate) struct Running {
    pub(crate) node: RaftNode<u64>,
    pub(crate) view: View,
}

pub(crate) struct Bed {
    dir: tempfile::TempDir,
    pub(crate) network: LocalNetwork<u64>,
    pub(crate) running: BTreeMap<MemberId, Running>,
    pub(crate) limits: Limits,
    requests: u128,
}

/// Whoever opens a database clears its old logs away before it sees that it is in use, and so does whoever has it still: one of them
/// does not find what the other one was quicker to remove.
fn is_in_use(error: &OpenError) -> bool {
    matches!(error, OpenError::InUse { .. }) || format!("{error:?}").contains("LOG.old")
}

/// Opens a member's store. A state that it was sending when it ended may hold the directory for a moment: here that does not end
/// with the member, as it would with its process.
fn open_store(dir: &Path, id: MemberId) -> Result<LogStore, controlplane::raft::StartError> {
    let give_up = deadline();
    loop {
        match LogStore::open(dir, CLUSTER, id) {
            Err(error) if is_in_use(&error) && Instant::now() < give_up => {
                // waits for: the thread that reads the state
                std::thread::sleep(Duration::from_millis(2));
            }
            opened => return opened.map_err(OpenError::into_start),
        }
    }
}

impl Bed {
    /// A group of the members 1 to `size`, all running. To be made within a runtime.
    pub(crate) fn new(size: u64, limits: Limits) -> Self {
        let mut bed = Self {
            dir: tempfile::tempdir().unwrap(),
            network: LocalNetwork::new(tokio::runtime::Handle::current()),
            running: BTreeMap::new(),
            limits,
            requests: 0,
        };
        let members = Members::of_voters((1..=size).map(|id| (member(id), log_of(id))));
        for id in 1..=size {
            bed.create(member(id), log_of(id), Some(&members));
            bed.start(member(id));
        }
        bed
    }

    pub(crate) fn dir_of(&self, id: MemberId) -> PathBuf {
        self.dir.path().join(id.to_string())
    }

    pub(crate) fn create(&self, id: MemberId, incarnation: Incarnation, members: Option<&Members>) {
        let dir = self.dir_of(id);
        std::fs::create_dir_all(&dir).unwrap();
        let identity = Identity { cluster: CLUSTER, member: id, incarnation };
        drop(LogStore::create(&dir, identity, members).unwrap());
    }

    pub(crate) fn start(&mut self, id: MemberId) {
        self.start_with(id, |_| {});
    }

    /// Starts a member whose machine was tampered with.
    pub(crate) fn start_with(&mut self, id: MemberId, tamper: impl Fn(&mut Ledger) + Send + 'static) {
        let (dir, limits) = (self.dir_of(id), self.limits);
        let view = View::default();
        let machines_view = view.clone();
        let open = move || {
            let store = open_store(&dir, id)?;
            let mut config = Config::new(rand::random());
            config.limits = limits;
            let mut machine = Ledger::new(machines_view.clone());
            tamper(&mut machine);
            Peer::start(store, &machine, config)
        };
        let network = self.network.clone();
        let node = RaftNode::spawn(open, |handle| network.join(id, handle)).unwrap();
        self.running.insert(id, Running { node, view });
    }

    /// Stops a member, as a process ends.
    pub(crate) fn stop(&mut self, id: MemberId) -> Stopped {
        self.network.leave(id);
        self.running.remove(&id).unwrap().node.stop()
    }

    pub(crate) fn handle(&self, id: MemberId) -> RaftHandle<u64> {
        self.running[&id].node.handle().clone()
    }

    pub(crate) fn view(&self, id: MemberId) -> View {
        self.running[&id].view.clone()
    }

    /// Who leads among those that run: waits until one does that its followers know.
    pub(crate) async fn leader(&self) -> MemberId {
        let give_up = deadline();
        loop {
            for (id, running) in &self.running {
                let now = *running.node.handle().leadership().borrow();
                if now.role == Role::Leader {
                    return *id;
                }
            }
            assert!(Instant::now() < give_up, "nobody leads");
            // waits for: an election, which may be won by any of them
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    pub(crate) fn request(&mut self) -> RequestId {
        self.requests += 1;
        RequestId::new(self.requests)
    }

    /// Writes through whoever leads, asking again where that is certain to be safe: the answer, and how often the
    /// outcome stayed unknown.
    pub(crate) async fn write(&mut self, key: &str, value: &str) -> Answered<u64> {
        let give_up = deadline();
        loop {
            let leader = self.leader().await;
            let request = self.request();
            let command = Bytes::from(format!("{key}={value}"));
            match self.handle(leader).propose(command, request, deadline()).await {
                Ok(answered) => return answered,
                Err(
                    ProposeError::NotLeader { .. } | ProposeError::OutcomeUnknown | ProposeError::Stopped,
                ) => {}
                Err(other) if other.is_certain() => {}
                Err(other) => panic!("{other:?}"),
            }
            assert!(Instant::now() < give_up, "no write in time");
            // waits for: whoever leads next
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Waits until a member has applied up to an index.
    pub(crate) async fn reaches(&self, id: MemberId, index: u64) {
        let give_up = deadline();
        while self.view(id).index() < index {
            assert!(
                Instant::now() < give_up,
                "member {id} stays at {} before {index}",
                self.view(id).index()
            );
            // waits for: the member to apply
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

pub(crate) fn log_of(id: u64) -> Incarnation {
    Incarnation(u128::from(id) + 1000)
}

//! What clients of a cluster under faults are told is what a cluster without faults could have told them: no stale read, no write
//! lost or done twice, one winner of each generation. `SEED=n` does the same faults again.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tests::chance::{Chance, is_soak};
use tests::linear::{self, Call, Operation, State};
use tests::nemesis;
use tests::process::eventually;
use tests::register::{Register, Told};
use tests::{Cluster, Network, Operator};
use tokio::runtime::Runtime;

use crate::{allow_trouble, alone};

/// Clients, each with one operation under way, and policy documents, few enough that clients get in each other's way: of a long run,
/// and of an ordinary one.
const CLIENTS: usize = 128;
const FEW_CLIENTS: usize = 32;
const DOCUMENTS: usize = 32;
const FEW_DOCUMENTS: usize = 12;
/// One of so many operations is on the layout, which is planned anew for each change.
const LAYOUT_SHARE: usize = 24;
/// Longest that an operation may take. Shorter than many faults, so that clients lose track of some.
const TIMEOUT: Duration = Duration::from_millis(800);
/// After an operation that came to nothing, so that a node that refuses at once is not asked in a loop.
const PAUSE: Duration = Duration::from_millis(10);
/// The ordinary run ends after so long; a long one after so many operations.
const ORDINARY: Duration = Duration::from_secs(10);
const OPERATIONS: usize = 100_000;

type History = Vec<(Register, Operation)>;

#[test]
fn histories_of_clients_under_faults_are_linearizable() {
    let _turn = alone();
    let seed = Chance::seed();
    println!("SEED={seed}");
    let mut chance = Chance::new(seed);
    let mut cluster = Network::of(3).map_or_else(|| Cluster::of(3), |network| Cluster::on(network, 3));
    allow_trouble(&mut cluster);
    for name in ["data-1", "data-2"] {
        cluster.add_node(name, name, "off");
        cluster.wait_state(name, "active");
    }
    eventually("the layout is stable", || (cluster.status()?["layout"]["state"] == "stable").then_some(()));
    let runtime = Runtime::new().unwrap();
    let operator = {
        let _inside = runtime.enter();
        cluster.operator(TIMEOUT)
    };
    let (clients, documents) = if is_soak() { (CLIENTS, DOCUMENTS) } else { (FEW_CLIENTS, FEW_DOCUMENTS) };
    let first = runtime.block_on(firsts(&operator, documents));
    let (begun, counted) = (Instant::now(), Arc::new(AtomicUsize::new(0)));
    let stop = Arc::new(AtomicBool::new(false));
    let seen = Arc::new(Mutex::new(first.clone()));
    let clients: Vec<_> = (0..clients)
        .map(|number| {
            let chance = Chance::new(chance.draw());
            let registers = first.keys().cloned().collect();
            let client =
                Client { operator: operator.clone(), number, chance, registers, seen: seen.clone(), begun };
            runtime.spawn(client.run(stop.clone(), counted.clone()))
        })
        .collect();
    let is_over = || {
        if is_soak() { counted.load(Ordering::Relaxed) >= OPERATIONS } else { begun.elapsed() >= ORDINARY }
    };
    let faults = nemesis::torment(&mut cluster, &mut chance, is_over);
    stop.store(true, Ordering::Relaxed);
    let mut histories: BTreeMap<Register, Vec<Operation>> = BTreeMap::new();
    for client in clients {
        for (register, operation) in runtime.block_on(client).unwrap() {
            histories.entry(register).or_default().push(operation);
        }
    }
    report(&histories, &faults, begun.elapsed());
    for (register, history) in &histories {
        if let Err(violation) = linear::check(first[register], history) {
            panic!("SEED={seed}: {register:?} {violation}");
        }
    }
}

/// What each register holds before anybody writes.
async fn firsts(operator: &Operator, documents: usize) -> BTreeMap<Register, State> {
    let documents = (0..documents).map(|number| Register::Policy(format!("register-{number}")));
    let mut first: BTreeMap<_, _> = documents.map(|register| (register, State::default())).collect();
    first.insert(Register::Layout, Register::Layout.read(operator, 0).await.unwrap());
    first
}

struct Client {
    operator: Operator,
    number: usize,
    chance: Chance,
    registers: Vec<Register>,
    /// What some client was told last of each register, so that not all but the first to write are refused.
    seen: Arc<Mutex<BTreeMap<Register, State>>>,
    begun: Instant,
}

impl Client {
    async fn run(mut self, stop: Arc<AtomicBool>, counted: Arc<AtomicUsize>) -> History {
        let mut history = Vec::new();
        for turn in 0.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let register = self.pick();
            let operation = self.act(&register, turn).await;
            counted.fetch_add(usize::from(operation.is_some()), Ordering::Relaxed);
            let is_answered = operation.is_some_and(|operation| operation.end.is_some());
            history.extend(operation.map(|operation| (register, operation)));
            if is_answered {
                continue;
            }
            // waits for: nothing that could tell; see PAUSE
            tokio::time::sleep(PAUSE).await;
        }
        history
    }

    fn pick(&mut self) -> Register {
        if self.chance.below(LAYOUT_SHARE) == 0 {
            return Register::Layout;
        }
        let documents: Vec<_> =
            self.registers.iter().filter(|register| **register != Register::Layout).collect();
        documents[self.chance.below(documents.len())].clone()
    }

    /// One operation; none where a read was not answered, which tells nothing.
    async fn act(&mut self, register: &Register, turn: usize) -> Option<Operation> {
        let at = self.chance.below(self.operator.servers());
        let begin = self.now();
        if self.chance.below(2) == 0 {
            let state = register.read(&self.operator, at).await?;
            self.saw(register, state);
            return Some(Operation { begin, end: Some(self.now()), call: Call::Read(state) });
        }
        let expected = self.seen.lock().unwrap()[register].generation;
        let value = (self.number * 1_000_000 + turn + 1) as u64;
        let key = format!("client-{value}");
        let told = self.swap(register, at, expected, value, &key).await;
        let swap = Call::Swap { expected, value };
        Some(match told {
            Told::Made => {
                self.saw(register, State { generation: expected + 1, value });
                Operation { begin, end: Some(self.now()), call: swap }
            }
            Told::Refused => Operation { begin, end: Some(self.now()), call: Call::Refused { expected } },
            Told::Nothing => Operation { begin, end: None, call: swap },
        })
    }

    /// Half of the time asks again, elsewhere and under the same key, where it was not told what came of it.
    async fn swap(&mut self, register: &Register, at: usize, expected: u64, value: u64, key: &str) -> Told {
        let told = register.swap(&self.operator, at, expected, value, key).await;
        if told != Told::Nothing || self.chance.below(2) == 0 {
            return told;
        }
        register.swap(&self.operator, at + 1, expected, value, key).await
    }

    fn saw(&self, register: &Register, state: State) {
        self.seen.lock().unwrap().insert(register.clone(), state);
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_nanos()).unwrap()
    }
}

fn report(histories: &BTreeMap<Register, Vec<Operation>>, faults: &[nemesis::Fault], took: Duration) {
    let all = || histories.values().flatten();
    let count = |is: fn(&Operation) -> bool| all().filter(|operation| is(operation)).count();
    let reads = count(|operation| matches!(operation.call, Call::Read(_)));
    let swaps = count(|operation| matches!(operation.call, Call::Swap { .. }) && operation.end.is_some());
    let refused = count(|operation| matches!(operation.call, Call::Refused { .. }));
    let unheard = count(|operation| operation.end.is_none());
    let layouts = histories.get(&Register::Layout).map_or(0, Vec::len);
    let mut kinds: BTreeMap<_, usize> = BTreeMap::new();
    for fault in faults {
        *kinds.entry(fault).or_default() += 1;
    }
    println!(
        "{} operations in {:.1} s: {reads} reads, {swaps} swaps, {refused} refused, {unheard} unheard of, {layouts} on the layout; {kinds:?}",
        all().count(),
        took.as_secs_f64(),
    );
    // A history in which nothing happens proves nothing.
    assert!(reads > 0 && swaps > 0 && refused > 0 && layouts > 0 && !faults.is_empty());
}

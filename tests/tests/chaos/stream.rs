//! A steady stream of writes by some writers, each with a document of its own, and when each write began and was acknowledged.
//!
//! A writer asks again, under the same key and elsewhere, until a write is acknowledged. It is the only one who writes its document,
//! so that the document's generation counts its writes: one too few was lost, one too many was done twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tests::Operator;
use tests::linear::State;
use tests::process::eventually;
use tests::register::{Register, Told};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

/// Writers; each has one write under way.
const WRITERS: usize = 4;
/// Longest that a write may take before it is asked for again.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(1);
/// Between two attempts, so that a node that refuses at once is not asked in a loop.
const PAUSE: Duration = Duration::from_millis(5);

/// A write that was acknowledged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Write {
    pub(crate) begin: Instant,
    pub(crate) end: Instant,
}

/// Writers at work.
pub(crate) struct Stream {
    runtime: Runtime,
    operator: Operator,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
    writers: Vec<JoinHandle<Vec<Write>>>,
}

impl Stream {
    /// Begins to write.
    pub(crate) fn begin(runtime: Runtime, operator: Operator) -> Self {
        let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let begin = |writer| write(operator.clone(), writer, stop.clone(), acknowledged.clone());
        let writers = (0..WRITERS).map(|writer| runtime.spawn(begin(writer))).collect();
        Self { runtime, operator, stop, acknowledged, writers }
    }

    /// Waits until a write was acknowledged that has begun since.
    pub(crate) fn wait_on(&self) {
        // Each writer had one under way at most.
        let wanted = self.acknowledged.load(Ordering::Relaxed) + WRITERS + 1;
        eventually("the stream flows", || {
            (self.acknowledged.load(Ordering::Relaxed) >= wanted).then_some(())
        });
    }

    /// Ends, checks that each acknowledged write is there once, and gives all of them in the order of their ends.
    pub(crate) fn end(self) -> Vec<Write> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for (number, writer) in self.writers.into_iter().enumerate() {
            let written = self.runtime.block_on(writer).unwrap();
            let count = written.len() as u64;
            let there = self.runtime.block_on(read(&self.operator, number));
            assert_eq!(there, State { generation: count, value: count }, "document of writer {number}");
            all.extend(written);
        }
        all.sort_by_key(|write| write.end);
        all
    }
}

fn document(writer: usize) -> Register {
    Register::Policy(format!("stream-{writer}"))
}

async fn read(operator: &Operator, writer: usize) -> State {
    for at in 0.. {
        if let Some(state) = document(writer).read(operator, at).await {
            return state;
        }
        // waits for: a control node that is sure of the state
        tokio::time::sleep(PAUSE).await;
    }
    State::default()
}

async fn write(
    operator: Operator,
    writer: usize,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
) -> Vec<Write> {
    let document = document(writer);
    let mut written = Vec::new();
    let mut at = writer;
    while !stop.load(Ordering::Relaxed) {
        let generation = written.len() as u64;
        let key = format!("stream-{writer}-{generation}");
        let begin = Instant::now();
        loop {
            match document.swap(&operator, at, generation, generation + 1, &key).await {
                Told::Made => break,
                Told::Refused => panic!(
                    "writer {writer}: generation {generation} is not there: a write was lost or done twice"
                ),
                Told::Nothing => at += 1,
            }
            // waits for: nothing that could tell; see PAUSE
            tokio::time::sleep(PAUSE).await;
        }
        written.push(Write { begin, end: Instant::now() });
        acknowledged.fetch_add(1, Ordering::Relaxed);
    }
    written
}

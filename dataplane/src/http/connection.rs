//! One client connection as the [`Reaper`](super::reaper::Reaper) sees it: a few words that its task, its bodies and its
//! [`WatchedIo`](super::watched::WatchedIo) keep current, with relaxed stores and no timers.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::task::Poll;

/// Bytes of a body that are handed to an HTTP/2 stream at once.
const H2_PIECE_BYTES_MAX: usize = 32 * 1024;
/// Bytes that an HTTP/2 stream takes in before they leave, however large the client's window is. Another piece waits before them, so that
/// at most 128 KiB are to leave once the last piece is handed over: 64 s at the rate that a client is held to.
pub(super) const H2_SEND_BYTES_MAX: usize = 64 * 1024;
/// Ticks that share a slot of [`ConnectionState::leaving`].
const LEAVING_TICKS: u32 = 16;
/// See [`LEAVING_TICKS`]; both are powers of two, so that slots go on where ticks wrap around.
const LEAVING_SLOTS: usize = 8;
/// What is still in the slot of so many ticks ago has waited for more than 64 of them.
const LEAVING_TICKS_MAX: u32 = 80;

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Between requests.
    Idle,
    /// The handshake or a request head has begun and is not complete.
    Head,
    /// Requests are being answered.
    Answer,
}

/// All that a phase is, in one word: the tick since which there is no answer under way, whether a head has begun,
/// and how many answers are under way (over HTTP/1.1 rarely more than one). One word, since over HTTP/2 answers begin and
/// end on several threads, and the reaper must not see the phase of one moment with the time of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Word(u64);

impl Word {
    const HEAD: u64 = 1 << 32;
    const ANSWER: u64 = 1 << 33;

    fn head(since: u32) -> Self {
        Self(Self::HEAD | u64::from(since))
    }

    fn answers(self) -> u64 {
        self.0 / Self::ANSWER
    }

    fn phase(self) -> (Phase, u32) {
        let phase = match (self.answers(), self.0 & Self::HEAD) {
            (0, 0) => Phase::Idle,
            (0, _) => Phase::Head,
            _ => Phase::Answer,
        };
        (phase, self.0 as u32)
    }

    fn answer_begun(self) -> Self {
        Self((self.0 & !Self::HEAD) + Self::ANSWER)
    }

    fn answer_over(self, now: u32) -> Self {
        Self((self.answers().saturating_sub(1) * Self::ANSWER) | u64::from(now))
    }
}

/// Shared between a connection's task, its requests' bodies and the reaper. Times are the reaper's ticks.
#[derive(Debug)]
pub struct ConnectionState {
    tick: Arc<AtomicU32>,
    word: AtomicU64,
    written: AtomicU64,
    write_blocked: AtomicBool,
    /// Bytes that were taken from the answer wait in the TLS session.
    flush_blocked: AtomicBool,
    /// Over HTTP/2: last pieces that were handed over and have not left yet, by the time they were handed over.
    leaving: [AtomicU32; LEAVING_SLOTS],
}

impl ConnectionState {
    /// A new connection, its first head under way.
    pub fn new(tick: Arc<AtomicU32>) -> Self {
        let word = Word::head(tick.load(Relaxed));
        Self {
            tick,
            word: AtomicU64::new(word.0),
            written: AtomicU64::new(0),
            write_blocked: AtomicBool::new(false),
            flush_blocked: AtomicBool::new(false),
            leaving: Default::default(),
        }
    }

    /// A complete request head has arrived; dropping what is returned says that its answer is over.
    pub(crate) fn answering(self: &Arc<Self>, framing: Framing) -> Answering {
        self.change(Word::answer_begun);
        Answering { connection: Arc::clone(self), framing, leaving: None }
    }

    /// The phase and the tick it began at; no tick that means anything while answers are under way.
    pub fn phase(&self) -> (Phase, u32) {
        Word(self.word.load(Relaxed)).phase()
    }

    /// Bytes written so far, and whether the client is not taking more just now.
    pub fn progress(&self) -> (u64, bool) {
        (self.written.load(Relaxed), self.write_blocked.load(Relaxed))
    }

    /// Whether something that was answered has not left yet.
    pub(super) fn is_sending(&self) -> bool {
        self.write_blocked.load(Relaxed) || self.flush_blocked.load(Relaxed)
    }

    /// Whether the end of an answer was handed over long before tick `now`, and the client has not taken it.
    pub fn is_stuck(&self, now: u32) -> bool {
        let slot = leaving_slot(now.wrapping_sub(LEAVING_TICKS_MAX));
        self.leaving.get(slot).is_some_and(|leaving| leaving.load(Relaxed) > 0)
    }

    /// Whether nothing is being answered or asked, and what was sent has left.
    pub(super) fn is_at_rest(&self) -> bool {
        self.phase().0 == Phase::Idle && !self.write_blocked.load(Relaxed)
    }

    /// What was asked was answered without a body of its own.
    pub(super) fn rest(&self) {
        let now = self.tick.load(Relaxed);
        self.change(|word| if word.answers() == 0 { Word(u64::from(now)) } else { word });
    }

    fn change(&self, to: impl Fn(Word) -> Word) {
        let mut seen = self.word.load(Relaxed);
        while let Err(now) = self.word.compare_exchange_weak(seen, to(Word(seen)).0, Relaxed, Relaxed) {
            seen = now;
        }
    }

    pub(super) fn read_some(&self) {
        let seen = Word(self.word.load(Relaxed));
        if seen.phase().0 == Phase::Idle {
            // An answer that begins in between is of a head that is complete, so that its word stands.
            let head = Word::head(self.tick.load(Relaxed));
            let _ = self.word.compare_exchange(seen.0, head.0, Relaxed, Relaxed);
        }
    }

    pub(super) fn wrote(&self, result: &Poll<io::Result<usize>>) {
        match result {
            Poll::Ready(Ok(bytes)) => {
                self.written.fetch_add(*bytes as u64, Relaxed);
                if self.write_blocked.load(Relaxed) {
                    self.write_blocked.store(false, Relaxed);
                }
            }
            Poll::Pending => self.write_blocked.store(true, Relaxed),
            Poll::Ready(Err(_)) => {}
        }
    }

    pub(super) fn flushed(&self, result: &Poll<io::Result<()>>) {
        let is_blocked = result.is_pending();
        if self.flush_blocked.load(Relaxed) != is_blocked {
            self.flush_blocked.store(is_blocked, Relaxed);
        }
    }
}

/// A request that is being answered, until its body is gone, or its stream before there was one.
#[derive(Debug)]
pub struct Answering {
    connection: Arc<ConnectionState>,
    framing: Framing,
    leaving: Option<u8>,
}

impl Answering {
    /// Bytes of a body that may be handed over at once. Over HTTP/2 few, since being asked for more is what tells that
    /// the client takes them.
    pub(super) fn piece_bytes_max(&self) -> usize {
        match self.framing {
            Framing::Lines => usize::MAX,
            Framing::Frames => H2_PIECE_BYTES_MAX,
        }
    }

    /// The end of the answer has been handed over. Over HTTP/1.1 a socket that is blocked tells the rest.
    pub(super) fn leave(&mut self) {
        if self.framing == Framing::Frames && self.leaving.is_none() {
            let slot = leaving_slot(self.connection.tick.load(Relaxed));
            if let Some(leaving) = self.connection.leaving.get(slot) {
                leaving.fetch_add(1, Relaxed);
                self.leaving = Some(slot as u8);
            }
        }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        if let Some(leaving) = self.leaving.and_then(|slot| self.connection.leaving.get(usize::from(slot))) {
            leaving.fetch_sub(1, Relaxed);
        }
        let now = self.connection.tick.load(Relaxed);
        self.connection.change(|word| word.answer_over(now));
    }
}

fn leaving_slot(tick: u32) -> usize {
    (tick / LEAVING_TICKS) as usize % LEAVING_SLOTS
}

/// Which rules the inbound bytes are held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// HTTP/1.1 heads: CRLF only.
    Lines,
    /// HTTP/2 frames.
    Frames,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_is_what_the_answers_under_way_say_whichever_thread_ends_them() {
        let state = Arc::new(ConnectionState::new(Arc::new(AtomicU32::new(3))));
        assert_eq!(state.phase(), (Phase::Head, 3));
        // Streams of one HTTP/2 connection begin and end on several threads.
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..1_000_000 {
                        let answering = state.answering(Framing::Frames);
                        assert_eq!(state.phase().0, Phase::Answer);
                        drop(answering);
                    }
                });
            }
        });
        assert_eq!(state.phase(), (Phase::Idle, 3));
    }
}

//! Which way the bytes of a zip leave at less cost: copied from the heap, or sent from the file in memory.
//!
//! Machines differ by more than a factor of two, either way (`docs/adr/0038-sending-is-measured.md`), so it is measured, in processor time of one
//! thread, which says the same on a busy machine.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pages::Pages;
use rustix::time::{ClockId, clock_gettime};

use crate::store::CHUNK_BYTES;

/// Chunks that are sent each way in a turn, more than a processor has at hand, and turns: some fifty milliseconds in all.
const CHUNKS: u8 = 32;
const TURNS: usize = 4;
/// By so many hundredths sending from the file has to be cheaper, since it is slower from the first byte to the last.
const MARGIN_PERCENT: u32 = 10;
/// A connection to this process that takes nothing for so long is none.
const STALL_MAX: Duration = Duration::from_secs(1);

/// Whether it costs less to send from the file. Blocks for some fifty milliseconds.
pub(crate) fn costs_less_from_file(pages: &Arc<Pages>) -> bool {
    match measure(pages) {
        Ok(cost) => {
            tracing::debug!(copied = ?cost.copied, from_file = ?cost.from_file, "what sending costs");
            cost.is_less_from_file()
        }
        Err(error) => {
            tracing::debug!(%error, "what sending costs could not be measured");
            false
        }
    }
}

/// Processor time of sending the same chunks.
#[derive(Debug, Clone, Copy)]
struct Cost {
    copied: Duration,
    from_file: Duration,
}

impl Cost {
    fn is_less_from_file(self) -> bool {
        self.from_file * 100 < self.copied * (100 - MARGIN_PERCENT)
    }
}

fn measure(pages: &Arc<Pages>) -> io::Result<Cost> {
    let mut filling = vec![0; CHUNK_BYTES];
    let kept = (1..=CHUNKS).map(|fill| {
        filling.fill(fill);
        pages.keep(&filling)
    });
    // Copied from there too: a heap of as many bytes would stay with the process for a while.
    let chunks: Vec<Bytes> = kept.collect::<Option<_>>().ok_or(io::ErrorKind::OutOfMemory)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let taker = TcpStream::connect(listener.local_addr()?)?;
    let (sender, from) = listener.accept()?;
    if from != taker.local_addr()? {
        return Err(io::Error::other("somebody else connected"));
    }
    sender.set_write_timeout(Some(STALL_MAX))?;
    let taking = std::thread::spawn(move || take_all(taker));
    let mut cost = Cost { copied: Duration::ZERO, from_file: Duration::ZERO };
    for _ in 0..TURNS {
        cost.copied += processor_time(|| chunks.iter().try_for_each(|chunk| (&sender).write_all(chunk)))?;
        cost.from_file +=
            processor_time(|| chunks.iter().try_for_each(|chunk| send_from_file(&sender, pages, chunk)))?;
    }
    drop(sender);
    let _ = taking.join();
    Ok(cost)
}

fn take_all(mut from: TcpStream) {
    let mut piece = vec![0; CHUNK_BYTES];
    while from.read(&mut piece).is_ok_and(|bytes| bytes > 0) {}
}

fn send_from_file(socket: &TcpStream, pages: &Pages, mut chunk: &[u8]) -> io::Result<()> {
    while !chunk.is_empty() {
        let mut offset = pages.offset_of(chunk).ok_or(io::ErrorKind::NotFound)?;
        let sent = rustix::fs::sendfile(socket, pages.file(), Some(&mut offset), chunk.len())?;
        chunk = chunk.get(sent..).filter(|_| sent > 0).ok_or(io::ErrorKind::WriteZero)?;
    }
    Ok(())
}

/// What `work` takes of this thread's processor time.
fn processor_time(work: impl FnOnce() -> io::Result<()>) -> io::Result<Duration> {
    let now = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).map_err(io::Error::other);
    let begun = now()?;
    work()?;
    Ok(now()?.saturating_sub(begun))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_are_measured_and_leave_no_place_taken() {
        let pages = Pages::new(CHUNK_BYTES, usize::from(CHUNKS)).unwrap();
        for _ in 0..2 {
            let cost = measure(&pages).unwrap();
            assert!(cost.copied > Duration::ZERO && cost.from_file > Duration::ZERO, "{cost:?}");
            assert!(cost.copied < STALL_MAX && cost.from_file < STALL_MAX, "{cost:?}");
        }
    }

    #[test]
    fn what_is_hardly_cheaper_is_not_chosen() {
        let cost = |from_file| Cost {
            copied: Duration::from_millis(1),
            from_file: Duration::from_micros(from_file),
        };
        assert!(cost(899).is_less_from_file());
        assert!(!cost(900).is_less_from_file() && !cost(2000).is_less_from_file());
    }
}

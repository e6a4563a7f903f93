//! HTTP/2 clients that ask and do not take: closed windows, windows that open by a byte, and pings to look alive.
//! Each is cut off, and only it, and its places among the requests in flight come free.

use std::io::{ErrorKind, Result};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tests::process::eventually;
use tests::raw_h2::{Frame, RawH2, frame};
use tests::{Bed, Proxy};

/// `SETTINGS_INITIAL_WINDOW_SIZE` (4) of zero.
const CLOSED_WINDOW: [u8; 6] = [0, 4, 0, 0, 0, 0];
/// Streams of each hostile connection.
const STREAMS: u32 = 8;
/// The server bears a client that takes nothing for 30 s, and the end of an answer that nobody takes for 80 at most; then the client may be
/// told.
const CUT_OFF_MAX: Duration = Duration::from_secs(100);

/// What became of a connection.
#[derive(Debug, Default, PartialEq, Eq)]
struct Fate {
    reset: u32,
    finished: u32,
    closed: bool,
}

/// Asks for `path` on some streams with closed windows, then does `each_second` and pings, until all streams are over
/// or the connection is.
fn hold(address: SocketAddr, path: &str, mut each_second: impl FnMut(&mut RawH2) -> Result<()>) -> Fate {
    let mut raw = RawH2::open_with(address, &CLOSED_WINDOW).unwrap();
    raw.socket().set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    for number in 0..STREAMS {
        raw.get(number * 2 + 1, path).unwrap();
    }
    let (begun, mut fate) = (Instant::now(), Fate::default());
    let mut next = begun;
    while fate.reset + fate.finished < STREAMS && begun.elapsed() < CUT_OFF_MAX {
        if Instant::now() >= next {
            next += Duration::from_secs(1);
            let sent = each_second(&mut raw).and_then(|()| raw.send(frame::PING, 0, 0, &[1; 8]));
            fate.closed |= sent.is_err();
        }
        match raw.read() {
            Ok(frame) => take(&mut raw, &frame, &mut fate),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => fate.closed = true,
        }
        if fate.closed {
            break;
        }
    }
    fate
}

fn take(raw: &mut RawH2, frame: &Frame, fate: &mut Fate) {
    match frame.kind {
        frame::RST_STREAM => fate.reset += 1,
        frame::DATA if frame.flags & tests::raw_h2::END_STREAM != 0 => fate.finished += 1,
        frame::PING if frame.flags & tests::raw_h2::END_STREAM == 0 => {
            fate.closed |= raw.send(frame::PING, 1, 0, &frame.payload).is_err();
        }
        _ => {}
    }
}

fn open_all(raw: &mut RawH2, bytes: u32) -> Result<()> {
    (0..STREAMS).try_for_each(|number| raw.open_window(number * 2 + 1, bytes))
}

#[test]
fn streams_whose_client_takes_nothing_give_their_places_back() {
    let bed = Bed::new();
    let (small, large) = (bed.module("example.com/windows", "v1.0.0"), bed.large_module("example.com/large"));
    let (text, zip) = (small.url_path(".mod"), large.url_path(".zip"));
    // One client has three quarters of them.
    let places = (4 * STREAMS * 4 / 3).to_string();
    let proxy = Proxy::start(&bed.settings().flag("--max-requests-in-flight", &places));
    proxy.get(&text).expect(200);
    proxy.get(&zip).expect(200);
    let address = proxy.address();
    let in_flight = || proxy.metric("goproxy_http_in_flight", "").unwrap();

    std::thread::scope(|scope| {
        let closed = scope.spawn(|| hold(address, &text, |_| Ok(())));
        let trickled = scope.spawn(|| hold(address, &zip, |raw| open_all(raw, 1)));
        // A byte of the window, and the whole of a small answer is queued: no stream is left that could be reset.
        let queued = scope.spawn(|| {
            let mut bytes = 1..=4;
            hold(address, &text, |raw| bytes.next().map_or(Ok(()), |_| open_all(raw, 1)))
        });
        // Takes 64 KiB in 8 s from each stream: slow, but not too slow; and all of it before the test's patience ends.
        let honest = scope.spawn(|| {
            let (mut second, mut window) = (0, 8 * 1024);
            hold(address, &zip, |raw| {
                second += 1;
                window = if second < 40 { window } else { 1 << 20 };
                raw.open_window(0, STREAMS * window)?;
                open_all(raw, window)
            })
        });
        eventually("all places are taken", || (in_flight() >= f64::from(4 * STREAMS)).then_some(()));
        assert_eq!(proxy.get(&zip).status, 503);
        // What is small and in memory takes no place.
        assert_eq!(proxy.get(&text).status, 200);

        let all_reset = Fate { reset: STREAMS, ..Fate::default() };
        assert_eq!(closed.join().unwrap(), all_reset);
        assert_eq!(trickled.join().unwrap(), all_reset);
        let queued = queued.join().unwrap();
        assert!(queued.closed, "{queued:?}");
        assert_eq!(honest.join().unwrap(), Fate { finished: STREAMS, ..Fate::default() });
    });
    eventually("all places are free", || (in_flight() < 1.0).then_some(()));
    proxy.get(&text).expect(200);
    assert!(proxy.metric("goproxy_http_streams_reset_total", "") >= Some(f64::from(2 * STREAMS)));
}

//! A TCP proxy that spoils what passes through it, for faults below HTTP.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

/// Largest piece passed on at once.
const PIECE_BYTES: usize = 16 * 1024;

/// What a narrow link takes at once, and pieces that are on their way on it: some seconds' worth of a megabit.
const PACKET_BYTES: usize = 1400;
const PACKETS_MAX: usize = 256;
/// What waits before a narrow link: less than loopback's packets have makes TCP falter.
const LINK_BUFFER_BYTES: usize = 64 * 1024;

/// How often a frozen connection looks whether it still is.
const FROZEN_POLL: Duration = Duration::from_millis(5);

/// What happens to the bytes on their way from the target to the client.
#[derive(Clone, Copy, Debug)]
pub enum Spoil {
    /// They pass.
    Nothing,
    /// They pass, each piece after a pause.
    Delay(Duration),
    /// They pass in small pieces with pauses.
    Drip(usize, Duration),
    /// They pass at this many bytes a second, shared with the other connections, each so much later.
    Narrow(u32, Duration),
    /// The connection closes in good order after so many bytes.
    Truncate(u64),
    /// The connection is reset after so many bytes.
    Reset(u64),
    /// Nothing passes any more after so many bytes, and the connection stays open.
    Stall(u64),
}

struct Shared {
    target: SocketAddr,
    spoil: Mutex<Spoil>,
    stopped: AtomicBool,
    frozen: AtomicBool,
    /// How much later each piece comes, ms.
    late: AtomicU64,
    connections: AtomicU64,
    passed: AtomicU64,
    /// Both sides of each connection, by its number.
    streams: Mutex<HashMap<u64, [TcpStream; 2]>>,
    /// When a narrow link has room again.
    free: Mutex<Instant>,
}

/// The proxy. Connections opened after [`FaultProxy::spoil`] behave so.
pub struct FaultProxy {
    shared: Arc<Shared>,
    address: SocketAddr,
}

impl FaultProxy {
    /// A proxy to `target` that spoils nothing yet.
    pub fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("bind loopback");
        let address = listener.local_addr().expect("local address");
        let shared = Arc::new(Shared {
            target,
            spoil: Mutex::new(Spoil::Nothing),
            stopped: AtomicBool::new(false),
            frozen: AtomicBool::new(false),
            late: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            passed: AtomicU64::new(0),
            streams: Mutex::default(),
            free: Mutex::new(Instant::now()),
        });
        let inner = shared.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if inner.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let number = inner.connections.fetch_add(1, Ordering::Relaxed);
                let spoil = *inner.spoil.lock().unwrap_or_else(PoisonError::into_inner);
                let shared = inner.clone();
                std::thread::spawn(move || relay(&client, &shared, spoil, number));
            }
        });
        Self { shared, address }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Sets what happens to connections from now on.
    pub fn spoil(&self, how: Spoil) {
        *self.shared.spoil.lock().unwrap_or_else(PoisonError::into_inner) = how;
    }

    /// From now on nothing passes in either direction, and nobody hears that it does not: connections that there are stay open, and new ones are
    /// taken (half-open TCP, as behind a firewall that has forgotten them). Or everything passes again.
    pub fn freeze(&self, frozen: bool) {
        self.shared.frozen.store(frozen, Ordering::SeqCst);
    }

    /// From now on what the target sends comes so much later, also on connections that there are.
    pub fn delay(&self, by: Duration) {
        self.shared.late.store(u64::try_from(by.as_millis()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    /// Ends all connections that there are.
    pub fn cut(&self) {
        for stream in self.shared.streams().values().flatten() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Bytes that came from the target and were passed on, whether anybody wanted them or not.
    pub fn passed(&self) -> u64 {
        self.shared.passed.load(Ordering::Relaxed)
    }

    /// Number of connections accepted.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Relaxed)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
    }
}

impl Shared {
    fn streams(&self) -> MutexGuard<'_, HashMap<u64, [TcpStream; 2]>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while nothing passes; false when nothing will any more.
    fn passes(&self) -> bool {
        while self.frozen.load(Ordering::SeqCst) {
            if self.stopped.load(Ordering::SeqCst) {
                return false;
            }
            std::thread::sleep(FROZEN_POLL);
        }
        true
    }

    /// Waits until a narrow link has taken so many bytes.
    fn takes(&self, bytes: usize, bytes_per_second: u32) {
        let taking = Duration::from_secs_f64(bytes as f64 / f64::from(bytes_per_second));
        let done = {
            let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
            *free = (*free).max(Instant::now()) + taking;
            *free
        };
        sleep_until(done);
    }
}

fn sleep_until(when: Instant) {
    // waits for: nothing but time, which is what the fault is
    std::thread::sleep(when.saturating_duration_since(Instant::now()));
}

fn relay(client: &TcpStream, shared: &Arc<Shared>, spoil: Spoil, number: u64) {
    let Ok(server) = TcpStream::connect(shared.target) else { return };
    // A link holds nothing back to fill packets: with that a node behind it would be tens of milliseconds away.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (Ok(mut client_in), Ok(mut server_out)) = (client.try_clone(), server.try_clone()) else { return };
    let (Ok(one), Ok(other)) = (client.try_clone(), server.try_clone()) else { return };
    shared.streams().insert(number, [one, other]);
    let passing = shared.clone();
    let upward = std::thread::spawn(move || {
        let mut piece = vec![0; PIECE_BYTES];
        while let Ok(count @ 1..) = client_in.read(&mut piece) {
            if !passing.passes() || server_out.write_all(&piece[..count]).is_err() {
                break;
            }
        }
        // Also the end of a connection is not heard of.
        passing.passes();
        let _ = server_out.shutdown(Shutdown::Write);
    });
    let reset = match spoil {
        Spoil::Narrow(bytes_per_second, delay) => {
            narrowly(server, client, bytes_per_second, delay, shared);
            false
        }
        Spoil::Nothing
        | Spoil::Delay(_)
        | Spoil::Drip(..)
        | Spoil::Truncate(_)
        | Spoil::Reset(_)
        | Spoil::Stall(_) => downward(server, client, spoil, shared),
    };
    // Another copy of a socket would keep it from being reset.
    shared.streams().remove(&number);
    if reset {
        let _ = socket2::SockRef::from(client).set_linger(Some(Duration::ZERO));
        // Wakes the upward thread, whose copy of the socket would keep the connection open.
        let _ = client.shutdown(Shutdown::Read);
    } else {
        let _ = client.shutdown(Shutdown::Both);
    }
    let _ = upward.join();
}

/// Passes bytes to the client over a narrow link, which holds back whoever sends more.
fn narrowly(
    mut server: TcpStream,
    client: &TcpStream,
    bytes_per_second: u32,
    delay: Duration,
    shared: &Shared,
) {
    // What the link does not take stays with who sends it.
    let _ = socket2::SockRef::from(&server).set_recv_buffer_size(LINK_BUFFER_BYTES);
    let (sender, packets) = mpsc::sync_channel::<(Instant, Vec<u8>)>(PACKETS_MAX);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut client = client;
            for (due, packet) in packets {
                sleep_until(due);
                if client.write_all(&packet).is_err() {
                    return;
                }
            }
        });
        let mut packet = vec![0; PACKET_BYTES];
        while let Ok(count @ 1..) = server.read(&mut packet) {
            shared.takes(count, bytes_per_second);
            shared.passed.fetch_add(count as u64, Ordering::Relaxed);
            if !shared.passes() || sender.send((Instant::now() + delay, packet[..count].to_vec())).is_err() {
                break;
            }
        }
        drop(sender);
    });
}

/// Passes bytes to the client; true when the connection is to be reset.
fn downward(mut server: TcpStream, mut client: &TcpStream, spoil: Spoil, shared: &Shared) -> bool {
    let mut piece = vec![0; PIECE_BYTES];
    let mut passed = 0_u64;
    loop {
        let room = match spoil {
            Spoil::Truncate(limit) | Spoil::Reset(limit) | Spoil::Stall(limit) => limit - passed,
            Spoil::Drip(bytes, _) => bytes as u64,
            Spoil::Nothing | Spoil::Delay(_) | Spoil::Narrow(..) => u64::MAX,
        };
        if room == 0 {
            match spoil {
                Spoil::Reset(_) => return true,
                // Ends when either side gives up.
                Spoil::Stall(_) => while client.read(&mut piece).is_ok_and(|count| count > 0) {},
                Spoil::Nothing
                | Spoil::Delay(_)
                | Spoil::Drip(..)
                | Spoil::Narrow(..)
                | Spoil::Truncate(_) => {}
            }
            return false;
        }
        let want = piece.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        let Ok(count @ 1..) = server.read(&mut piece[..want]) else {
            shared.passes();
            return false;
        };
        if !shared.passes() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(shared.late.load(Ordering::SeqCst)));
        if let Spoil::Delay(pause) | Spoil::Drip(_, pause) = spoil {
            std::thread::sleep(pause);
        }
        if client.write_all(&piece[..count]).is_err() {
            return false;
        }
        shared.passed.fetch_add(count as u64, Ordering::Relaxed);
        passed += count as u64;
    }
}

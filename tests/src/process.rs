//! The life of a real `goproxyd`: start on free ports, wait until ready, look into /proc, kill, restart.

use crate::log_scan;
use crate::program::command;
use crate::raw_http::{Call, Response};
use crate::settings::Settings;
use crate::usage;
use rustix::process::{Pid, Signal, kill_process};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// Longest start of a server.
const START_TIME_MAX: Duration = Duration::from_secs(30);

/// Longest wait for a condition of [`eventually`].
const EVENTUALLY: Duration = Duration::from_mins(1);

/// How often a condition is looked at, at first and at last.
const POLL: Duration = Duration::from_millis(5);
const POLL_MAX: Duration = Duration::from_millis(200);

/// Marks a line of the access log.
const ACCESS: &str = r#""target":"access""#;

/// A running server and its data directory. Dropping it kills the process and judges its log.
pub struct Proxy {
    root: Arc<tempfile::TempDir>,
    settings: Settings,
    child: Child,
    address: SocketAddr,
    admin: SocketAddr,
}

impl Proxy {
    /// Starts a server on an empty data directory and waits until it is ready.
    #[track_caller]
    pub fn start(settings: &Settings) -> Self {
        Self::start_in(&Arc::new(tempfile::tempdir().expect("temporary directory")), settings)
    }

    /// Starts the server again on the same data directory with other settings, after it has ended.
    #[track_caller]
    pub fn restart_with(mut self, settings: Settings) -> Self {
        self.kill9();
        self.settings = settings;
        let (root, settings) = (self.root.clone(), self.settings.clone());
        drop(self);
        Self::start_in(&root, &settings)
    }

    /// Kills the server and starts it again with the same settings.
    #[track_caller]
    pub fn restart(self) -> Self {
        let settings = self.settings.clone();
        self.restart_with(settings)
    }

    /// Starts a server that has ended again, on a directory that the test has damaged. `None` when the server refuses
    /// the directory, which it must do with exit code 3.
    #[track_caller]
    pub fn restart_unless_damaged(mut self) -> Option<Self> {
        self.kill9();
        let (root, settings) = (self.root.clone(), self.settings.clone());
        drop(self);
        match Self::try_start_in(&root, &settings) {
            Ok(proxy) => Some(proxy),
            Err(failure) => {
                assert_eq!(failure.code, Some(3), "{}\n{}", failure.why, failure.log);
                None
            }
        }
    }

    #[track_caller]
    fn start_in(root: &Arc<tempfile::TempDir>, settings: &Settings) -> Self {
        match Self::try_start_in(root, settings) {
            Ok(proxy) => proxy,
            Err(failure) => panic!("goproxyd did not get ready: {}\n{}", failure.why, failure.log),
        }
    }

    fn try_start_in(root: &Arc<tempfile::TempDir>, settings: &Settings) -> Result<Self, Failure> {
        loop {
            let (address, admin) = (free_address(), free_address());
            let mut proxy = Self::spawn(root, settings, address, admin);
            let Err(failure) = proxy.wait_ready() else { return Ok(proxy) };
            // A process that did not get ready has its say in the failure, not in the scan of its log.
            proxy.settings.allowed.push(String::new());
            let taken = failure.log.to_lowercase().contains("address already in use")
                || failure.log.to_lowercase().contains("address in use");
            if !taken {
                return Err(failure);
            }
            // Else the log would tell of a taken port for ever.
            let _ = std::fs::remove_file(log_path(root));
        }
    }

    fn spawn(
        root: &Arc<tempfile::TempDir>,
        settings: &Settings,
        address: SocketAddr,
        admin: SocketAddr,
    ) -> Self {
        let log =
            std::fs::OpenOptions::new().create(true).append(true).open(log_path(root)).expect("open log");
        let copy = log.try_clone().expect("copy the log handle");
        let child = command(root, settings, address, admin)
            .stdout(Stdio::from(copy))
            .stderr(Stdio::from(log))
            .spawn()
            .expect("start goproxyd");
        Self { root: root.clone(), settings: settings.clone(), child, address, admin }
    }

    fn wait_ready(&mut self) -> Result<(), Failure> {
        let deadline = Instant::now() + START_TIME_MAX;
        while Instant::now() < deadline {
            if let Ok(Some(status)) = self.child.try_wait() {
                let why = format!("it ended: {status}");
                return Err(Failure { why, code: status.code(), log: self.log() });
            }
            if Call::new(self.admin, "GET", "/readyz").try_send().is_ok_and(|answer| answer.status == 200) {
                return Ok(());
            }
            std::thread::sleep(POLL);
        }
        Err(Failure {
            why: format!("no 200 from /readyz within {START_TIME_MAX:?}"),
            code: None,
            log: self.log(),
        })
    }

    /// The GOPROXY address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The admin address.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// The value for GOPROXY.
    pub fn url(&self) -> String {
        let scheme = if self.settings.tls { "https://localhost" } else { "http://127.0.0.1" };
        format!("{scheme}:{}", self.address.port())
    }

    /// The data directory.
    pub fn data_dir(&self) -> PathBuf {
        data_dir(&self.root)
    }

    /// GET on the GOPROXY address.
    #[track_caller]
    pub fn get(&self, target: &str) -> Response {
        self.call("GET", target).send()
    }

    /// A request to the GOPROXY address, to be completed and sent.
    pub fn call(&self, method: &str, target: &str) -> Call {
        Call::new(self.address, method, target)
    }

    /// GET on the admin address.
    #[track_caller]
    pub fn admin_get(&self, target: &str) -> Response {
        Call::new(self.admin, "GET", target).send()
    }

    /// Sum over all label sets of a metric whose sample lines start with `name` and contain `labels`.
    /// `None` when there is no such sample.
    #[track_caller]
    pub fn metric(&self, name: &str, labels: &str) -> Option<f64> {
        let text = self.admin_get("/metrics").expect(200).text();
        let values: Vec<f64> = text
            .lines()
            .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{'])))
            .filter(|line| line.contains(labels))
            .filter_map(|line| line.rsplit_once(' ')?.1.parse().ok())
            .collect();
        (!values.is_empty()).then(|| values.iter().sum())
    }

    /// Everything logged so far, former runs on the same data directory included.
    pub fn log(&self) -> String {
        std::fs::read_to_string(log_path(&self.root)).unwrap_or_default()
    }

    /// Empties the log of a server that has ended.
    pub fn forget_log(&self) {
        std::fs::write(log_path(&self.root), "").expect("empty the log");
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Processor time spent so far, to a hundredth of a second.
    pub fn processor_time(&self) -> Duration {
        usage::processor_time(self.pid())
    }

    /// Resident bytes now.
    pub fn resident_bytes(&self) -> u64 {
        usage::resident_bytes(self.pid())
    }

    /// Highest number of resident bytes so far, or since [`Proxy::reset_peak`].
    pub fn peak_resident_bytes(&self) -> u64 {
        usage::status_kib(self.pid(), "VmHWM:") * 1024
    }

    /// Starts the count of the peak anew.
    pub fn reset_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.pid()), "5").expect("reset the peak");
    }

    /// Number of open file descriptors.
    pub fn open_descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).map_or(0, Iterator::count)
    }

    /// SIGKILL, and waits for the end.
    pub fn kill9(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM, without waiting.
    pub fn signal_terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// SIGTERM, and waits for the exit status.
    #[track_caller]
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal_terminate();
        self.wait()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.pid().cast_signed()).expect("a process id");
        kill_process(pid, signal).expect("send a signal");
    }

    /// Waits for the end of the process.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        eventually("goproxyd ends", || self.child.try_wait().expect("wait for goproxyd"))
    }

    /// Whether the process still runs.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.kill9();
        let log = self.log();
        if std::thread::panicking() {
            let tail: Vec<&str> = log.lines().rev().filter(|line| !line.contains(ACCESS)).take(60).collect();
            let tail: Vec<&str> = tail.into_iter().rev().collect();
            show(&format!("--- last lines of goproxyd's log ---\n{}", tail.join("\n")));
            return;
        }
        if self.settings.panics_allowed {
            return;
        }
        let unlisted = log_scan::unlisted(&log, &self.settings.allowed);
        assert!(unlisted.is_empty(), "unlisted lines in goproxyd's log:\n{}", unlisted.join("\n"));
    }
}

/// Prints what explains a failure.
#[expect(clippy::print_stderr, reason = "the test harness shows it with the failure, and only then")]
pub(crate) fn show(text: &str) {
    eprintln!("{text}");
}

/// Why a server did not get ready.
struct Failure {
    why: String,
    code: Option<i32>,
    log: String,
}

/// Waits until `condition` gives a value. For effects that no gate can announce.
#[track_caller]
pub fn eventually<T>(what: &str, condition: impl FnMut() -> Option<T>) -> T {
    within(EVENTUALLY, what, condition)
}

/// The same, for at most `time`.
#[track_caller]
pub fn within<T>(time: Duration, what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + time;
    let mut pause = POLL;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "not within {time:?}: {what}");
        std::thread::sleep(pause);
        pause = (pause * 2).min(POLL_MAX);
    }
}

/// An address that nobody listens on now, below the range that the kernel gives to clients.
pub fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let seed = (std::process::id() % 200) as u16 * 100;
    loop {
        let port = 10_000 + (seed + NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

pub(crate) fn data_dir(root: &tempfile::TempDir) -> PathBuf {
    root.path().join("data")
}

fn log_path(root: &tempfile::TempDir) -> PathBuf {
    root.path().join("log")
}

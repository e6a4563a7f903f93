//! A server in front of a directory of one module, and the few requests that the tests make.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// The `.mod` of the one version in the directory.
pub(crate) const MOD: &str = "/example.com/m/@v/v1.0.0.mod";

/// A running server; killed when dropped.
pub(crate) struct Server {
    child: Child,
    lines: Receiver<String>,
    serving: SocketAddr,
    admin: SocketAddr,
    /// Every log line so far.
    pub(crate) log: Vec<String>,
    _dir: TempDir,
}

impl Server {
    /// Starts a server with further `flags`, and waits until it serves.
    pub(crate) fn start(flags: &[&str]) -> Self {
        Self::start_before("", flags)
    }

    /// As [`Self::start`]; what the directory does not have is asked of `others`, the rest of an upstream list.
    pub(crate) fn start_before(others: &str, flags: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let versions = dir.path().join("origin/example.com/m/@v");
        fs::create_dir_all(&versions).unwrap();
        fs::write(versions.join("v1.0.0.mod"), "module example.com/m\n").unwrap();
        fs::write(versions.join("list"), "v1.0.0\n").unwrap();
        let upstream = format!("--upstream=file://{}{others}", dir.path().join("origin").display());
        let mut server = Self::spawn(dir, &["--listen=127.0.0.1:0", &upstream], flags);
        server.serving = server.address("serving GOPROXY at http://");
        server.admin = server.address("serving metrics and health at http://");
        server
    }

    /// Starts a control node, which makes a cluster, with further `flags`, and waits until it has begun.
    pub(crate) fn start_control(flags: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut server = Self::spawn(dir, &["control", "--bootstrap", "--rpc-listen=127.0.0.1:0"], flags);
        server.admin = server.address("serving metrics and health at http://");
        server
    }

    fn spawn(dir: TempDir, role: &[&str], flags: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_goproxyd"))
            .env_clear()
            .args(role)
            .args(["--admin-listen=127.0.0.1:0", "--log-format=json", "--name=n1"])
            .arg(format!("--data-dir={}", dir.path().join("data").display()))
            .args(flags)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        Self { child, lines, serving: nowhere, admin: nowhere, log: Vec::new(), _dir: dir }
    }

    /// The address in the next log line that says `what`.
    fn address(&mut self, what: &str) -> SocketAddr {
        loop {
            let line = self.lines.recv().expect("the server goes on logging until it serves");
            let found = line.split_once(what).map(|(_, rest)| rest.split('"').next().unwrap().to_owned());
            self.log.push(line);
            if let Some(found) = found {
                return found.parse().unwrap();
            }
        }
    }

    /// The status of an answer to a client that sends `headers`, lines with their ends.
    pub(crate) fn get(&self, path: &str, headers: &str) -> u16 {
        get(self.serving, path, headers).0
    }

    /// What `/metrics` shows.
    pub(crate) fn scrape(&self) -> String {
        let (status, body) = get(self.admin, "/metrics", "");
        assert_eq!(status, 200, "{body}");
        body
    }

    /// Drains the server and returns all that it logged.
    pub(crate) fn stop(mut self) -> Vec<String> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        let mut log = std::mem::take(&mut self.log);
        log.extend(self.lines.iter());
        log
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Status and body of an answer.
fn get(address: SocketAddr, path: &str, headers: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    (status, body.to_owned())
}

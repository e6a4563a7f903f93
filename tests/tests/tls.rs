//! HTTPS: protocols by ALPN, certificates that change under load, and clients that speak no TLS.

use std::path::PathBuf;
use tests::process::eventually;
use tests::raw_h2::H2Client;
use tests::raw_http::Connection;
use tests::tls::Authority;
use tests::{Bed, Module, Proxy};

/// A server on HTTPS, its authority, and the directory of its PEM files.
struct Secure {
    bed: Bed,
    proxy: Proxy,
    authority: Authority,
    directory: tempfile::TempDir,
}

impl Secure {
    fn start() -> Self {
        let (bed, authority) = (Bed::new(), Authority::new());
        let directory = tempfile::tempdir().unwrap();
        let (certificate, key) = authority.issue().write(directory.path());
        let proxy = Proxy::start(&bed.settings().tls(&certificate, &key).allow_all());
        Self { bed, proxy, authority, directory }
    }

    fn ca(&self) -> PathBuf {
        self.authority.write(self.directory.path())
    }
}

#[test]
fn go_builds_over_https() {
    let secure = Secure::start();
    let module = secure.bed.module("example.com/secure", "v1.0.0");
    let ca = secure.ca();
    let client = secure.bed.client(&secure.proxy).with("SSL_CERT_FILE", &ca.to_string_lossy());
    client.program(&[(&module.path, &module.version)], &[&module.path]);
    client.build().success();
    assert_eq!(client.run_program(), "v1.0.0\n");
    // Over HTTPS the go command asks twice for what is not there; the origin hears of it once.
    client.download(&["example.com/absent@v1.0.0"]).failure("not found");
    assert_eq!(secure.bed.origin.count("/example.com/absent/@v/v1.0.0.info"), 1);
}

#[test]
fn both_protocols_are_agreed_on_by_alpn() {
    let secure = Secure::start();
    let module = secure.bed.module("example.com/alpn", "v1.0.0");
    let path = module.url_path(".mod");
    let one = secure.proxy.call("GET", &path).tls(&secure.authority.client(&["http/1.1"])).send().expect(200);
    let hsts = one.expect_header("strict-transport-security");
    assert!(hsts.contains("max-age="), "{hsts}");
    // A client that offers nothing speaks HTTP/1.1.
    let none = secure.proxy.call("GET", &path).tls(&secure.authority.client(&[])).send().expect(200);
    assert_eq!(none.body, module.go_mod());

    let offer = secure.authority.client(&["h2", "http/1.1"]);
    let mut connection = Connection::open(secure.proxy.address(), Some(&offer)).unwrap();
    assert_eq!(connection.stream().alpn().as_deref(), Some(&b"h2"[..]));
    let client = H2Client::open(secure.proxy.address(), Some(offer));
    let two = client.get(&path).unwrap();
    assert_eq!((two.head.status.as_u16(), two.body.to_vec()), (200, module.go_mod()));
    assert!(two.head.headers.contains_key("strict-transport-security"));
}

#[test]
fn a_new_certificate_is_taken_up_without_dropping_a_connection() {
    let secure = Secure::start();
    let module = secure.bed.module("example.com/renewed", "v1.0.0");
    let path = module.url_path(".mod");
    let client = secure.authority.client(&["http/1.1"]);
    let shown = |connection: &mut Connection| connection.stream().peer_certificate().unwrap();
    let mut old = Connection::open(secure.proxy.address(), Some(&client)).unwrap();
    let first = shown(&mut old);

    let renewed = secure.authority.issue();
    renewed.write(secure.directory.path());
    eventually("the new certificate is shown", || {
        let mut connection = Connection::open(secure.proxy.address(), Some(&client)).unwrap();
        (shown(&mut connection) == renewed.der()).then_some(())
    });
    assert_ne!(first, renewed.der());
    old.send(&secure.proxy.call("GET", &path).bytes()).unwrap();
    assert_eq!(old.read_response("GET").unwrap().expect(200).body, module.go_mod());

    // Files that are no certificate change nothing, and somebody is told.
    std::fs::write(secure.directory.path().join("cert.pem"), "not a certificate").unwrap();
    eventually("a warning", || secure.proxy.log().contains("WARN").then_some(()));
    let mut connection = Connection::open(secure.proxy.address(), Some(&client)).unwrap();
    assert_eq!(shown(&mut connection), renewed.der());
}

#[test]
fn a_handshake_that_does_not_end_is_cut_off() {
    use std::io::Write as _;
    let secure = Secure::start();
    // A ClientHello of 16 KiB is announced, and little of it comes.
    for begun in [&b""[..], &b"\x16\x03\x01\x40\x00\x01"[..]] {
        let mut connection = Connection::open(secure.proxy.address(), None).unwrap();
        connection.stream().write_all(begun).unwrap();
        connection.stream().socket().set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
        assert!(connection.closed(), "still open after {begun:?}");
    }
}

#[test]
fn plain_http_on_the_tls_port_is_refused_cleanly() {
    let secure = Secure::start();
    let answer = secure.proxy.call("GET", "/healthz").try_send();
    assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status == 400));
    let mut connection = Connection::open(secure.proxy.address(), None).unwrap();
    connection.send(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert!(connection.closed());
    let client = secure.authority.client(&[]);
    secure.proxy.call("GET", "/healthz").tls(&client).send().expect(200);
}

#[test]
fn a_stranger_to_the_authority_does_not_trust_the_server() {
    let secure = Secure::start();
    let stranger = Authority::new().client(&[]);
    secure.proxy.call("GET", "/healthz").tls(&stranger).try_send().unwrap_err();
}

#[test]
fn settings_of_tls_that_cannot_work_are_refused_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let (one, other) = (Authority::new().issue(), Authority::new().issue());
    let (certificate, key) = one.write(directory.path());
    std::fs::write(&key, &other.key).unwrap();
    let data = directory.path().join("data");
    let run = |certificate: &std::path::Path, key: &std::path::Path| {
        let address = tests::process::free_address();
        let admin = tests::process::free_address();
        let output = tests::program::run_goproxyd(&[
            &format!("--listen={address}"),
            &format!("--admin-listen={admin}"),
            &format!("--data-dir={}", data.display()),
            &format!("--tls-cert={}", certificate.display()),
            &format!("--tls-key={}", key.display()),
        ]);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = run(&certificate, &key);
    assert_eq!(code, Some(2), "a key of another certificate: {said}");
    let (code, said) = run(&directory.path().join("absent.pem"), &key);
    assert!(code == Some(2) && said.contains("absent.pem"), "{code:?} {said}");
}

#[test]
fn http1_and_head_and_ranges_are_the_same_over_tls() {
    let secure = Secure::start();
    let module = Module::new("example.com/ranges", "v1.0.0").filler(700_000);
    secure.bed.origin.publish(&module);
    let client = secure.authority.client(&["http/1.1"]);
    let path = module.url_path(".zip");
    let whole = secure.proxy.call("GET", &path).tls(&client).send().expect(200);
    assert!(whole.body == module.zip());
    let part = secure.proxy.call("GET", &path).tls(&client).header("Range", "bytes=262140-262150").send();
    assert_eq!(part.expect(206).body, whole.body[262_140..=262_150]);
    let head = secure.proxy.call("HEAD", &path).tls(&client).send();
    assert_eq!(head.expect_header("content-length"), whole.body.len().to_string());
}

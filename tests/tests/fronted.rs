//! nginx as a cache in front: what our headers say makes it right, without any rule of its own.

use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tests::process::{eventually, free_address};
use tests::{Bed, Call, Module, Proxy, Response};

/// A caching nginx that goes by the headers alone.
struct Cache {
    address: std::net::SocketAddr,
    child: Child,
    _root: tempfile::TempDir,
}

impl Cache {
    fn start(proxy: &Proxy) -> Self {
        let (address, root) = (free_address(), tempfile::tempdir().unwrap());
        let folder = root.path().display();
        let text = format!(
            "pid {folder}/pid; error_log {folder}/errors; daemon off; events {{}}
             http {{
                access_log off;
                client_body_temp_path {folder}/body; proxy_temp_path {folder}/temp;
                fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
                proxy_cache_path {folder}/cache keys_zone=go:1m;
                server {{
                    listen {address};
                    location / {{
                        proxy_pass http://{};
                        proxy_cache go;
                        proxy_cache_lock on;
                        add_header X-Front $upstream_cache_status always;
                    }}
                }}
             }}",
            proxy.address()
        );
        let file = root.path().join("nginx.conf");
        std::fs::write(&file, text).unwrap();
        let path = std::env::var("PATH").unwrap_or_default();
        let child = Command::new("nginx")
            .args(["-c", &file.display().to_string()])
            .env("PATH", format!("{path}:/usr/sbin"))
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("start nginx: is it installed?");
        let cache = Self { address, child, _root: root };
        eventually("nginx answers", || Call::new(address, "GET", "/healthz").try_send().ok());
        cache
    }

    /// The answer, and whether it came from the cache.
    fn get(&self, path: &str) -> (Response, bool) {
        let answer = Call::new(self.address, "GET", path).send();
        let hit = answer.header("x-front") == Some("HIT");
        (answer, hit)
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        if let Some(pid) = Pid::from_raw(self.child.id().cast_signed()) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.child.wait();
    }
}

#[test]
fn a_cache_in_front_keeps_what_may_be_kept_and_nothing_else() {
    let bed = Bed::new();
    let module = Module::new("example.com/fronted", "v1.0.0").filler(300_000);
    bed.origin.publish(&module);
    bed.origin.set_latest(&module);
    let proxy = Proxy::start(&bed.settings().allow("circuit breaker changed"));
    let cache = Cache::start(&proxy);
    for suffix in [".info", ".mod", ".zip"] {
        let path = module.url_path(suffix);
        let (first, hit) = cache.get(&path);
        assert!(first.status == 200 && !hit, "{path}");
        let (again, hit) = cache.get(&path);
        assert!(hit && again.body == first.body, "{path}: {:?}", again.headers);
    }
    // What changes is kept for as long as it is said, and no longer: it says so itself.
    let (list, _) = cache.get("/example.com/fronted/@v/list");
    let says = list.expect_header("cache-control").to_owned();
    assert!(says.contains("max-age=60"), "{says}");
    assert!(cache.get("/example.com/fronted/@v/list").1);
    // So does that there is no such thing.
    let (missing, _) = cache.get("/example.com/fronted/@v/v9.9.9.info");
    assert!(missing.status == 404 && missing.expect_header("cache-control").contains("max-age=30"));
    // That an origin fails may be otherwise in a moment.
    bed.origin.down();
    for _ in 0..2 {
        let (failed, hit) = cache.get("/example.com/other/@v/v1.0.0.info");
        assert!(failed.status >= 500 && !hit, "{} {:?}", failed.status, failed.headers);
    }
    // Whoever asks for a part gets that or the whole, and no other part.
    let part = Call::new(cache.address, "GET", &module.url_path(".zip")).header("Range", "bytes=0-9").send();
    let right = match part.status {
        206 => part.body == module.zip()[..10],
        status => status == 200 && part.body == module.zip(),
    };
    assert!(right, "{} {:?}", part.status, part.headers);
}

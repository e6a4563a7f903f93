//! Developers behind a load balancer while nodes come and go: no go command fails, and no byte is wrong. And the script that starts such a
//! cluster on one machine.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tests::balancer::{Balancer, Program};
use tests::process::eventually;
use tests::tls::Authority;
use tests::{Call, Cluster, GoClient, Module, Origin, twice};

use super::nodes::{cluster, cluster_with, settled};

/// Developers at work.
const DEVELOPERS: usize = 4;
/// Modules that they use, some of them larger than a chunk.
const MODULES: usize = 24;

fn modules(origin: &Origin) -> Vec<Module> {
    (0..MODULES)
        .map(|number| {
            let bytes = [10, 20_000, 300_000, 1_200_000][number % 4];
            let module = Module::new(&format!("example.com/used{number}"), "v1.0.0").filler(bytes);
            origin.publish(&module);
            module
        })
        .collect()
}

/// Three nodes, and what is to be had through them.
fn three_nodes() -> (Origin, Vec<Module>, Cluster) {
    let origin = Origin::start();
    let modules = modules(&origin);
    let cluster = cluster(&origin, 3);
    (origin, modules, cluster)
}

/// What developers did.
#[derive(Default)]
struct Work {
    done: AtomicBool,
    commands: AtomicUsize,
    failures: Mutex<Vec<String>>,
}

/// How often nodes come and go: once, or with `SOAK=1` for half an hour or so.
fn rounds() -> usize {
    if std::env::var_os("SOAK").is_some() { 60 } else { 1 }
}

impl Work {
    fn failed(&self, why: String) {
        self.failures.lock().unwrap().push(why);
    }

    /// Downloads modules with empty caches, again and again.
    fn develop(&self, number: usize, proxy: &str, modules: &[Module]) {
        for turn in 0.. {
            if self.done.load(Ordering::SeqCst) {
                return;
            }
            let client = GoClient::new(proxy, "off");
            let chosen: Vec<_> =
                (0..6).map(|n| &modules[(number * 7 + turn * 5 + n * 3) % modules.len()]).collect();
            let specs: Vec<String> = chosen.iter().map(|module| module.spec()).collect();
            let told = client.download(&specs.iter().map(String::as_str).collect::<Vec<_>>());
            self.commands.fetch_add(1, Ordering::SeqCst);
            if !told.ok {
                self.failed(format!("{}\n{}", told.stdout, told.stderr));
                continue;
            }
            for module in chosen {
                let file = format!("cache/download/{}/@v/{}.zip", module.path, module.version);
                let bytes = std::fs::read(client.module_cache().join(file)).unwrap_or_default();
                if bytes != module.zip() {
                    self.failed(format!("{} has other bytes", module.spec()));
                }
            }
        }
    }
}

struct EndOfWork<'a>(&'a AtomicBool);

impl Drop for EndOfWork<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Lets `scene` happen while developers work through a balancer, whose address they set as `goproxy` makes it.
fn while_developers_work(
    program: Program,
    goproxy: fn(&str) -> String,
    cluster: &mut Cluster,
    modules: &[Module],
    scene: impl FnOnce(&mut Cluster, &Balancer, &Work),
) {
    for node in &mut cluster.data {
        node.allow("cannot be reached");
    }
    let balancer = Balancer::start(program, cluster, &[]);
    let proxy = goproxy(&balancer.url());
    let work = Work::default();
    std::thread::scope(|scope| {
        for number in 0..DEVELOPERS {
            let (work, proxy) = (&work, &proxy);
            scope.spawn(move || work.develop(number, proxy, modules));
        }
        // Also when the scene fails, or nobody would hear of it.
        let _end = EndOfWork(&work.done);
        scene(cluster, &balancer, &work);
    });
    let failures = work.failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{} go commands failed: {}", failures.len(), failures.join("\n---\n"));
    assert!(work.commands.load(Ordering::SeqCst) >= DEVELOPERS, "nobody did anything");
}

/// Waits until developers have run so many more commands.
fn some_work(work: &Work, commands: usize) {
    let until = work.commands.load(Ordering::SeqCst) + commands;
    eventually("developers get on", || (work.commands.load(Ordering::SeqCst) >= until).then_some(()));
}

/// Answers to clients since a node was started; `None` while it says nothing.
fn requests(admin: SocketAddr) -> Option<u64> {
    let text = Call::new(admin, "GET", "/metrics").try_send().ok()?.text();
    let counts = text.lines().filter_map(|line| {
        let (labels, count) = line.strip_prefix("goproxy_http_requests_total{")?.split_once("} ")?;
        if labels.contains("kind=\"health\"") { None } else { count.parse::<u64>().ok() }
    });
    Some(counts.sum())
}

#[test]
fn nodes_that_are_restarted_and_drained_make_nobody_ask_twice() {
    let (_origin, modules, mut cluster) = three_nodes();
    for program in [Program::Haproxy, Program::Nginx] {
        // What fails once fails for good.
        while_developers_work(program, str::to_owned, &mut cluster, &modules, |cluster, _, work| {
            let restart = |cluster: &mut Cluster, number: usize| {
                some_work(work, 4);
                assert!(cluster.data[number].terminate().success());
                some_work(work, 4);
                cluster.data[number].start(&[]);
                // As whoever restarts nodes does: the next one when the balancer sends requests to this one again.
                let admin = cluster.data[number].admin();
                eventually("requests come to it", || (requests(admin)? > 0).then_some(()));
            };
            for number in 0..3 {
                restart(cluster, number);
            }
            cluster.ctl(&["node", "drain", "data-3"]).code(0);
            eventually("data-3 holds nothing", || {
                let node = cluster.ctl(&["node", "show", "data-3", "-o", "json"]).json();
                (node["slot_count"] == 0).then_some(())
            });
            restart(cluster, 2);
            cluster.ctl(&["node", "uncordon", "data-3"]).code(0);
            settled(cluster);
            some_work(work, 4);
        });
    }
}

/// Whoever restarts nodes waits until each of them is ready, and does not know what a balancer thinks of it.
#[test]
fn the_next_node_is_restarted_as_soon_as_the_one_before_is_ready() {
    let (_origin, modules, mut cluster) = three_nodes();
    for program in [Program::Haproxy, Program::Nginx] {
        while_developers_work(program, str::to_owned, &mut cluster, &modules, |cluster, _, work| {
            some_work(work, 4);
            for number in [0, 1, 2, 0, 1, 2] {
                assert!(cluster.data[number].terminate().success());
                cluster.data[number].start(&[]);
                cluster.data[number].wait_ready();
            }
            some_work(work, 4);
        });
    }
}

#[test]
fn a_node_comes_one_drains_and_one_dies_behind_nginx() {
    let (origin, modules, mut cluster) = three_nodes();
    let url = origin.url();
    while_developers_work(Program::Nginx, twice, &mut cluster, &modules, |cluster, balancer, work| {
        for round in 0..rounds() {
            let newcomer = format!("data-{}", 4 + round);
            some_work(work, 4);
            let node = cluster.add_node(&newcomer, "zone-1", &url);
            node.allow("cannot be reached");
            node.allow("was removed from its cluster");
            cluster.wait_state(&newcomer, "active");
            balancer.reload(cluster, &[]);
            some_work(work, 4);
            let victim = 1 + round % 2;
            cluster.data[victim].kill9();
            some_work(work, 4);
            cluster.data[victim].start(&[]);
            cluster.data[victim].wait_ready();
            settled(cluster);
            cluster.ctl(&["node", "drain", &newcomer]).code(0);
            balancer.reload(cluster, &[]);
            eventually("the newcomer holds nothing", || {
                let node = cluster.ctl(&["node", "show", &newcomer, "-o", "json"]).json();
                (node["slot_count"] == 0).then_some(())
            });
            settled(cluster);
            some_work(work, 4);
            cluster.ctl(&["node", "remove", &newcomer, "--yes"]).code(0);
            let mut gone = cluster.data.pop().expect("the newcomer");
            gone.kill9();
            // The control plane is away for a while.
            cluster.control[0].kill9();
            some_work(work, 4);
            cluster.control[0].start(&[]);
            cluster.control[0].wait_ready();
        }
    });
}

#[test]
fn requests_go_on_within_two_seconds_of_a_nodes_death() {
    let (_origin, modules, mut cluster) = three_nodes();
    for node in &mut cluster.data {
        node.allow("cannot be reached");
    }
    let balancer = Balancer::start(Program::Haproxy, &cluster, &[]);
    let paths: Vec<String> = modules
        .iter()
        .flat_map(|module| [".info", ".mod", ".zip"].map(|suffix| module.url_path(suffix)))
        .collect();
    let get = |path: &str| Call::new(balancer.address(), "GET", path).send();
    for path in &paths {
        get(path).expect(200);
    }
    cluster.data[1].kill9();
    let (begun, mut longest) = (Instant::now(), Duration::ZERO);
    while begun.elapsed() < Duration::from_secs(3) {
        for path in &paths {
            let asked = Instant::now();
            get(path).expect(200);
            longest = longest.max(asked.elapsed());
        }
    }
    assert!(longest <= Duration::from_secs(2), "one request took {longest:?}");
}

/// A private module that no node has is answered with 503 by each of them, which is no reason to ask none of them any more.
#[test]
fn what_no_node_can_answer_costs_none_its_place() {
    let origin = Origin::start();
    let held = Module::new("example.com/held", "v1.0.0");
    origin.publish(&held);
    let cluster = cluster_with(&origin, 3, |node| {
        node.flag("--private", "corp.example/*");
    });
    for program in [Program::Nginx, Program::Haproxy] {
        let balancer = Balancer::start(program, &cluster, &[]);
        let get = |path: &str| Call::new(balancer.address(), "GET", path).send();
        for _ in 0..12 {
            get("/corp.example/nowhere/@v/list").expect(503);
        }
        for _ in 0..6 {
            get(&held.url_path(".mod")).expect(200);
        }
    }
}

/// A node whose certificate another authority signed gets no request.
#[test]
fn balancers_talk_tls_to_the_nodes_and_know_them_by_their_certificates() {
    let origin = Origin::start();
    let held = Module::new("example.com/held", "v1.0.0");
    origin.publish(&held);
    let (ours, other) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().unwrap();
    let ca = ours.write(folder.path()).display().to_string();
    let cluster = cluster_with(&origin, 3, |node| {
        let authority = if node.name() == "data-3" { &other } else { &ours };
        let own = folder.path().join(node.name());
        std::fs::create_dir(&own).unwrap();
        let (certificate, key) = authority.issue().write(&own);
        node.flag("--tls-cert", &certificate.display().to_string());
        node.flag("--tls-key", &key.display().to_string());
    });
    for program in ["nginx", "haproxy", "envoy"] {
        let refused = cluster.ctl(&["lb", "render", program, "--tls-ca", &ca]).code(64);
        assert!(refused.stderr.contains("--tls-name"), "{}", refused.stderr);
    }
    for program in [Program::Nginx, Program::Haproxy] {
        let balancer = Balancer::start(program, &cluster, &["--tls-ca", &ca, "--tls-name", "localhost"]);
        for _ in 0..9 {
            Call::new(balancer.address(), "GET", &held.url_path(".mod")).send().expect(200);
        }
    }
    let answered = |number: usize| {
        let metrics = Call::new(cluster.data[number].admin(), "GET", "/metrics").send().text();
        let of_it = |line: &&str| {
            line.starts_with("goproxy_http_requests_total{")
                && line.contains("\"mod\"")
                && line.contains("\"2xx\"")
        };
        metrics.lines().filter(of_it).count()
    };
    assert!(answered(0) > 0 && answered(1) > 0);
    assert_eq!(answered(2), 0);
}

/// A node whose name nobody knows is one that is down: HAProxy starts all the same. nginx does not, so that it is said.
#[test]
fn a_node_whose_name_is_not_known_keeps_haproxy_from_nothing() {
    let origin = Origin::start();
    let held = Module::new("example.com/held", "v1.0.0");
    origin.publish(&held);
    let cluster = cluster_with(&origin, 3, |node| {
        if node.name() == "data-3" {
            node.flag("--advertise", "nowhere.invalid:8081");
        }
    });
    for program in ["nginx", "haproxy"] {
        let told = cluster.ctl(&["lb", "render", program]).code(0);
        assert!(told.stderr.contains(": nowhere.invalid; "), "{}", told.stderr);
    }
    let balancer = Balancer::start(Program::Haproxy, &cluster, &[]);
    for _ in 0..9 {
        Call::new(balancer.address(), "GET", &held.url_path(".mod")).send().expect(200);
    }
}

/// Programs that stand in for the real ones. A node writes down what it was started with, and is ready as soon as it has credentials;
/// the one in `BROKEN` ends when it was let in and has none yet.
const STAND_INS: [(&str, &str); 4] = [
    (
        "goproxyd",
        r#"
role=$1 name=$3 dir=$5
echo "$*" >>"$GOPROXY_CLUSTER_DIR/started"
folder=$dir/node
[ "$role" = data ] || folder=$dir/control
if ! [ -e "$folder/node.pem" ]; then
  case "$*" in *--bootstrap* | *"--join-token for-$name"*) ;; *) exit 64 ;; esac
  mkdir -p "$folder"
  touch "$dir/let-in"
  [ "$BROKEN" != "$name" ] || exit 1
  touch "$folder/node.pem"
fi
trap 'rm -f "$dir/ready"; exit' TERM
touch "$dir/ready"
while :; do sleep 0.1; done
"#,
    ),
    (
        "goproxyctl",
        r#"
cd "$GOPROXY_CLUSTER_DIR" || exit
case "${*:7}" in
  "member list"* | "node list"*)
    for file in */*/node.pem; do
      echo "{\"name\": \"${file%%/*}\", \"role\": \"voter\", \"state\": \"active\", \"health\": \"ok\"}"
    done
    ;;
  *" add "*)
    [ ! -e "$9/let-in" ] || exit 3
    echo "\"join_token\": \"for-$9\""
    ;;
esac
"#,
    ),
    (
        "curl",
        r#"
kinds=(- control data)
if [[ $* =~ :81(.)(.)/ ]]; then
  [ -e "$GOPROXY_CLUSTER_DIR/${kinds[BASH_REMATCH[1]]}-${BASH_REMATCH[2]}/ready" ]
else
  [ -e "$GOPROXY_CLUSTER_DIR/haproxy.pid" ]
fi
"#,
    ),
    ("haproxy", "while :; do sleep 0.1; done\n"),
];

/// `scripts/cluster.sh` in a folder of its own, among programs that stand in for the real ones: its ports are always the same, and may be
/// taken. Dropping it ends what it started.
struct Script(tempfile::TempDir);

impl Script {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        for folder in ["scripts", "bin", "home"] {
            std::fs::create_dir(root.path().join(folder)).unwrap();
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/cluster.sh");
        std::fs::copy(script, root.path().join("scripts/cluster.sh")).unwrap();
        for (name, text) in STAND_INS {
            let path = root.path().join("bin").join(name);
            std::fs::write(&path, format!("#!/bin/bash\n{text}")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        Self(root)
    }

    fn home(&self) -> PathBuf {
        self.0.path().join("home")
    }

    /// Whether a run ends well, and what it says if not.
    fn run(&self, verb: &str, broken: &str) -> (bool, String) {
        let path = std::env::var("PATH").unwrap_or_default();
        let output = Command::new("bash")
            .arg(self.0.path().join("scripts/cluster.sh"))
            .arg(verb)
            .env("PATH", format!("{}:{path}", self.0.path().join("bin").display()))
            .env("GOPROXY_CLUSTER_DIR", self.home())
            .env("BROKEN", broken)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Who was started since this was asked last, and who of them was to join.
    fn started(&self) -> Vec<String> {
        let file = self.home().join("started");
        let lines = std::fs::read_to_string(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        let told = |line: &str| {
            let name = line.split_whitespace().nth(2).unwrap();
            if line.contains(" --join ") { format!("{name} joins") } else { name.to_owned() }
        };
        let mut started: Vec<_> = lines.lines().map(told).collect();
        started.sort();
        started
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.run("down", "");
    }
}

#[test]
fn a_cluster_to_try_things_on_goes_on_from_where_it_was_broken_off() {
    let script = Script::new();
    // The first control node made it, and that is all.
    let made = script.home().join("control-1/control");
    std::fs::create_dir_all(&made).unwrap();
    std::fs::write(made.join("node.pem"), "").unwrap();
    let (well, said) = script.run("up", "control-2");
    assert!(!well && said.contains("control-2 has ended"), "{said}");
    assert_eq!(script.started(), ["control-1", "control-2 joins"]);
    // The second one was let in, so that it is not invited again.
    let (well, said) = script.run("up", "data-2");
    assert!(!well && said.contains("data-2 has ended"), "{said}");
    let joined = ["control-1", "control-2 joins", "control-3 joins", "data-1 joins", "data-2 joins"];
    assert_eq!(script.started(), joined);
    let (well, said) = script.run("up", "");
    assert!(well, "{said}");
    let joined = ["control-1", "control-2", "control-3", "data-1", "data-2 joins", "data-3 joins"];
    assert_eq!(script.started(), joined);
    let (well, said) = script.run("down", "");
    assert!(well, "{said}");
    let left = std::fs::read_dir(script.home()).unwrap().map(|entry| entry.unwrap().path());
    let left: Vec<_> =
        left.filter(|path| path.extension().is_some_and(|end| end == "pid" || end == "token")).collect();
    assert!(left.is_empty(), "{left:?}");
    let (well, said) = script.run("up", "");
    assert!(well, "{said}");
    assert_eq!(script.started(), ["control-1", "control-2", "control-3", "data-1", "data-2", "data-3"]);
}

/// After a reboot its number is that of another process.
#[test]
fn a_process_that_was_not_started_with_the_cluster_is_not_ended_with_it() {
    let script = Script::new();
    let file = script.home().join("data-1.pid");
    let mut other = Command::new("sleep").arg("600").spawn().unwrap();
    std::fs::write(&file, other.id().to_string()).unwrap();
    let (well, said) = script.run("down", "");
    let lives = other.try_wait().unwrap().is_none();
    other.kill().unwrap();
    other.wait().unwrap();
    assert!(well && lives, "{said}");
    assert!(!file.exists());
}

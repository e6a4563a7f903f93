//! What is rendered, as files, and that it means the same to every program.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use super::*;

fn server(number: u32, zone: &str, weight: u32) -> Server {
    Server {
        name: format!("data-{number}"),
        address: format!("10.0.0.{number}:8081"),
        zone: zone.to_owned(),
        weight,
    }
}

fn balancer(algorithm: Algorithm) -> Balancer {
    Balancer {
        listen: "127.0.0.1:8080".to_owned(),
        algorithm,
        servers: vec![server(1, "a", 100), server(2, "a", 100), server(3, "b", 100)],
        zone: None,
        tls: None,
    }
}

fn floating(listen: &str) -> FloatingAddress {
    FloatingAddress {
        address: "10.0.0.100/24".to_owned(),
        interface: "eth0".to_owned(),
        priority: 150,
        listen: listen.to_owned(),
    }
}

#[test]
fn configurations() {
    let plain = balancer(Algorithm::RoundRobin);
    insta::assert_snapshot!("nginx", nginx(&plain));
    insta::assert_snapshot!("haproxy", haproxy(&plain));
    insta::assert_snapshot!("envoy", envoy(&plain));
    insta::assert_snapshot!("keepalived", keepalived(&floating("0.0.0.0:8080")));
}

#[test]
fn configurations_with_zones_weights_and_tls() {
    let mut full = balancer(Algorithm::LeastConn);
    full.servers.push(server(4, "b", 200));
    full.zone = Some("a".to_owned());
    full.tls = Some(Tls {
        ca: "/etc/ssl/cluster.pem".to_owned(),
        name: Some("nodes.example.com".to_owned()),
        own: None,
    });
    insta::assert_snapshot!("nginx_full", nginx(&full));
    insta::assert_snapshot!("haproxy_full", haproxy(&full));
    insta::assert_snapshot!("envoy_full", envoy(&full));
}

#[test]
fn each_algorithm_is_said_in_the_words_of_each_program() {
    let said = |algorithm, words: [&str; 3]| {
        let balancer = balancer(algorithm);
        let texts = [nginx(&balancer), haproxy(&balancer), envoy(&balancer)];
        for (text, word) in texts.iter().zip(words) {
            assert!(text.contains(word), "{word} is missing in\n{text}");
        }
    };
    said(Algorithm::RoundRobin, ["upstream goproxy", "balance roundrobin", "lb_policy: ROUND_ROBIN"]);
    said(Algorithm::LeastConn, ["least_conn;", "balance leastconn", "lb_policy: LEAST_REQUEST"]);
    said(Algorithm::IpHash, ["hash $remote_addr consistent;", "balance source", "lb_policy: RING_HASH"]);
}

#[test]
fn without_a_name_for_all_each_node_has_its_own_and_an_address_is_none() {
    let mut balancer = balancer(Algorithm::RoundRobin);
    let tls = Tls { ca: "/ca.pem".to_owned(), name: None, own: None };
    assert!(!tls.names_all(&balancer.servers));
    for server in &mut balancer.servers {
        server.address = format!("{}.example.com:8081", server.name);
    }
    assert!(tls.names_all(&balancer.servers));
    balancer.tls = Some(tls);
    let text = haproxy(&balancer);
    assert!(text.contains("verifyhost data-2.example.com sni str(data-2.example.com)"), "{text}");
    assert!(envoy(&balancer).contains("auto_host_sni: true"));
}

#[test]
fn haproxy_begins_without_the_address_of_a_node_whose_name_is_not_known_yet() {
    let mut balancer = balancer(Algorithm::RoundRobin);
    assert!(balancer.host_names().is_empty());
    let text = haproxy(&balancer);
    assert!(!text.contains("init-addr"), "{text}");
    for (server, host) in balancer.servers.iter_mut().zip(["[fd00::1]", "data.example.com", "data-3"]) {
        server.address = format!("{host}:8081");
    }
    assert_eq!(balancer.host_names().into_iter().collect::<Vec<_>>(), ["data-3", "data.example.com"]);
    let text = haproxy(&balancer);
    assert!(text.contains(" mark-down init-addr last,libc,none\n"), "{text}");
}

#[test]
fn envoy_sends_nothing_to_nodes_that_are_not_well_and_leaves_the_zone_last() {
    let mut balancer = balancer(Algorithm::RoundRobin);
    let text = envoy(&balancer);
    assert!(text.contains("healthy_panic_threshold: {value: 0}"), "{text}");
    assert!(!text.contains("overprovisioning_factor"), "{text}");
    balancer.zone = Some("a".to_owned());
    let text = envoy(&balancer);
    assert!(text.contains("policy: {overprovisioning_factor: 100000}\n        endpoints:\n"), "{text}");
}

/// Else all nodes would be down for up to two minutes when it starts before them, as after a power cut: nothing is sent to who is.
#[test]
fn envoy_looks_at_nodes_often_before_the_first_request_too() {
    let text = envoy(&balancer(Algorithm::RoundRobin));
    let said = "/static_resources/clusters/[]/health_checks/[]/no_traffic_interval";
    assert_eq!(keys(&text).iter().filter(|key| *key == said).count(), 1, "{text}");
    assert!(text.contains("\n          no_traffic_interval: 1s\n"), "{text}");
}

/// What a node may say nothing for is the same everywhere. Envoy's bound of the whole leaves room for every try.
#[test]
fn a_node_that_says_nothing_is_given_up_after_the_same_time() {
    let balancer = balancer(Algorithm::RoundRobin);
    assert!(nginx(&balancer).contains("proxy_read_timeout 300s;"));
    assert!(haproxy(&balancer).contains("timeout server 300s\n"));
    let text = envoy(&balancer);
    assert!(text.contains("num_retries: 3\n"), "{text}");
    assert!(
        text.contains(" per_try_idle_timeout: 300s\n") && text.contains(" idle_timeout: 1200s\n"),
        "{text}"
    );
}

#[test]
fn a_balancer_is_not_looked_at_where_the_other_ones_may_answer() {
    for (listen, asked) in [
        ("10.0.0.100:8080", "127.0.0.1"),
        ("10.0.0.7:8080", "10.0.0.7"),
        ("[fd00::7]:8080", "fd00::7"),
        ("0.0.0.0:8080", "127.0.0.1"),
        ("*:8080", "127.0.0.1"),
        // Every program is told to take both versions there.
        ("[::]:8080", "127.0.0.1"),
        ("lb.example.com:8080", "lb.example.com"),
    ] {
        let text = keepalived(&floating(listen));
        assert!(text.contains(&format!("/dev/tcp/{asked}/8080;")), "{listen}: {text}");
    }
    // However it is written.
    let mut floating = floating("[fd00:0::100]:8080");
    floating.address = "fd00::100/64".to_owned();
    let text = keepalived(&floating);
    assert!(text.contains("/dev/tcp/::1/8080;") && text.contains("echo Host: [::1]:8080$r "), "{text}");
}

/// Runs keepalived's check against a balancer that answers so: what it asks, and whether it is content.
fn checked(answer: &'static str) -> (String, bool) {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let text = keepalived(&floating(&server.local_addr().unwrap().to_string()));
    let script = text.split("/bin/bash -c '").nth(1).and_then(|rest| rest.split('\'').next()).unwrap();
    let (told, asked) = mpsc::channel();
    std::thread::spawn(move || {
        let (mut stream, _) = server.accept().unwrap();
        let (mut request, mut byte) = (Vec::<u8>::new(), [0_u8]);
        while !request.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
            request.extend_from_slice(&byte);
        }
        stream.write_all(answer.as_bytes()).unwrap();
        told.send(String::from_utf8(request).unwrap()).unwrap();
    });
    let status = Command::new("bash").arg("-c").arg(script).status().unwrap();
    (asked.recv_timeout(Duration::from_secs(10)).expect("nobody asked"), status.success())
}

#[test]
fn keepalived_asks_what_every_program_answers() {
    let (asked, content) = checked("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    assert!(content);
    let host = asked.lines().find_map(|line| line.strip_prefix("Host: ")).unwrap_or_default();
    assert_eq!(asked, format!("GET /readyz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"));
    assert!(host.starts_with("127.0.0.1:"), "{asked}");
    for answer in ["HTTP/1.1 503 Service Unavailable\r\n\r\n", "HTTP/1.1 426 Upgrade Required\r\n\r\n", ""] {
        assert!(!checked(answer).1, "{answer}");
    }
}

#[test]
fn every_ipv6_address_is_every_ipv4_address_too() {
    let mut balancer = balancer(Algorithm::RoundRobin);
    for listen in ["[::]:8080", "[0:0::0]:8080"] {
        balancer.listen = listen.to_owned();
        assert!(nginx(&balancer).contains(":8080 ipv6only=off;\n"), "{}", nginx(&balancer));
        assert!(haproxy(&balancer).contains("    bind :::8080 v4v6\n"));
        assert!(envoy(&balancer).contains("{address: \"::\", port_value: 8080, ipv4_compat: true}\n"));
    }
    balancer.listen = "[fd00::7]:8080".to_owned();
    assert!(nginx(&balancer).contains("        listen [fd00::7]:8080;\n"));
    assert!(haproxy(&balancer).contains("    bind [fd00::7]:8080\n"));
    assert!(envoy(&balancer).contains("{address: \"fd00::7\", port_value: 8080}\n"));
    balancer.listen = "*:8080".to_owned();
    assert!(nginx(&balancer).contains("        listen *:8080;\n"));
    assert!(haproxy(&balancer).contains("    bind *:8080\n"));
    assert!(envoy(&balancer).contains("{address: \"0.0.0.0\", port_value: 8080}\n"));
}

#[test]
fn nodes_that_ask_for_a_certificate_are_shown_one() {
    let mut balancer = balancer(Algorithm::RoundRobin);
    let own = Certificate { file: "/lb.pem".to_owned(), key: "/lb.pem.key".to_owned() };
    balancer.tls =
        Some(Tls { ca: "/ca.pem".to_owned(), name: Some("nodes.example.com".to_owned()), own: Some(own) });
    let text = nginx(&balancer);
    let said = "        proxy_ssl_session_reuse on;
        proxy_ssl_certificate /lb.pem;
        proxy_ssl_certificate_key /lb.pem.key;
        proxy_connect_timeout 2s;
";
    assert!(text.contains(said), "{text}");
    let text = haproxy(&balancer);
    let shown = text.matches(" ssl verify required ca-file /ca.pem crt /lb.pem verifyhost ").count();
    assert_eq!(shown, balancer.servers.len(), "{text}");
    let text = envoy(&balancer);
    let said = "          common_tls_context:
            tls_certificates:
              - certificate_chain: {filename: \"/lb.pem\"}
                private_key: {filename: \"/lb.pem.key\"}
            validation_context:
              trusted_ca: {filename: \"/ca.pem\"}
      load_assignment:
";
    assert!(text.contains(said), "{text}");
}

/// A block of a YAML file: the lines that begin at one column, below one key or item.
struct Block {
    column: usize,
    is_list: bool,
    path: String,
    keys: BTreeSet<String>,
}

/// The keys of a YAML file, as paths from its root in which `[]` stands for an item of a list. Panics at what a YAML parser would
/// refuse, of what is rendered: a line further in than the one above opens, a list among keys, a key that is there twice.
fn keys(text: &str) -> Vec<String> {
    let (mut blocks, mut found) = (Vec::<Block>::new(), Vec::new());
    // What the next line is to be below.
    let mut opened = Some(String::new());
    for line in text.lines() {
        let mut rest = line.trim_start();
        if rest.is_empty() || rest.starts_with('#') {
            continue;
        }
        loop {
            let (column, is_list) = (line.len() - rest.len(), rest.starts_with("- "));
            blocks.retain(|block| block.column <= column);
            if blocks.last().is_none_or(|block| block.column < column) {
                let path = opened.take().unwrap_or_else(|| panic!("nothing is open at `{line}` in\n{text}"));
                blocks.push(Block { column, is_list, path, keys: BTreeSet::new() });
            }
            assert_eq!(opened, None, "nothing is below the line above `{line}` in\n{text}");
            let block = blocks.last_mut().unwrap();
            assert_eq!(block.is_list, is_list, "lists and keys are mixed at `{line}` in\n{text}");
            if let Some(item) = rest.strip_prefix("- ") {
                opened = Some(format!("{}/[]", block.path));
                rest = item;
                if !item.starts_with('{') {
                    continue;
                }
                opened = None;
                break;
            }
            let (key, value) =
                rest.split_once(':').unwrap_or_else(|| panic!("no key at `{line}` in\n{text}"));
            assert!(value.is_empty() || value.starts_with(' '), "`{line}` in\n{text}");
            assert!(block.keys.insert(key.to_owned()), "{key} is there twice at `{line}` in\n{text}");
            found.push(format!("{}/{key}", block.path));
            opened = value.is_empty().then(|| format!("{}/{key}", block.path));
            break;
        }
        assert_eq!(line.matches('{').count(), line.matches('}').count(), "`{line}` in\n{text}");
        assert_eq!(line.matches('"').count() % 2, 0, "`{line}` in\n{text}");
    }
    assert_eq!(opened, None, "nothing is below the last line of\n{text}");
    found
}

/// Balancers of every kind: each way to choose, to talk to nodes, to listen, and to know nodes by.
fn every_balancer() -> Vec<Balancer> {
    let (ca, name) = ("/ca.pem".to_owned(), Some("nodes.example.com".to_owned()));
    let own = Some(Certificate { file: "/lb.pem".to_owned(), key: "/lb.key".to_owned() });
    let ways = [
        None,
        Some(Tls { ca: ca.clone(), name: None, own: None }),
        Some(Tls { ca: ca.clone(), name: name.clone(), own: None }),
        Some(Tls { ca, name, own }),
    ];
    let known = ["10.0.0.7:8081", "[fd00::7]:8081", "data.example.com:8081"];
    let mut all = Vec::new();
    for algorithm in [Algorithm::RoundRobin, Algorithm::LeastConn, Algorithm::IpHash] {
        for tls in &ways {
            for zone in [None, Some("a"), Some("c")] {
                for (listen, address) in ["0.0.0.0:8080", "[::]:8080", "*:8080"].into_iter().zip(known) {
                    let mut balancer = balancer(algorithm);
                    balancer.listen = listen.to_owned();
                    balancer.zone = zone.map(str::to_owned);
                    balancer.tls.clone_from(tls);
                    address.clone_into(&mut balancer.servers[0].address);
                    all.push(balancer.clone());
                    balancer.servers.truncate(1);
                    all.push(balancer);
                }
            }
        }
    }
    all
}

#[test]
fn what_envoy_gets_is_yaml_with_each_thing_in_its_place() {
    let route = "/static_resources/listeners/[]/filter_chains/[]/filters/[]/typed_config/route_config\
                 /virtual_hosts/[]/routes/[]/route";
    let cluster = "/static_resources/clusters/[]";
    for balancer in every_balancer() {
        let text = envoy(&balancer);
        let found = keys(&text);
        let count = |path: String| found.iter().filter(|key| **key == path).count();
        let by_address = usize::from(balancer.algorithm == Algorithm::IpHash);
        let own = usize::from(balancer.tls.as_ref().is_some_and(|tls| tls.own.is_some()));
        assert_eq!(count(format!("{route}/cluster")), 1, "{text}");
        assert_eq!(count(format!("{route}/retry_policy/retry_host_predicate")), 1, "{text}");
        assert_eq!(count(format!("{route}/hash_policy/[]/connection_properties")), by_address, "{text}");
        assert_eq!(text.matches("hash_policy:").count(), by_address, "{text}");
        let shown = "transport_socket/typed_config/common_tls_context/tls_certificates/[]/private_key";
        assert_eq!(count(format!("{cluster}/{shown}")), own, "{text}");
        let node = "load_assignment/endpoints/[]/lb_endpoints/[]/endpoint/address/socket_address";
        assert_eq!(count(format!("{cluster}/{node}")), balancer.servers.len(), "{text}");
    }
}

#[test]
#[should_panic(expected = "lists and keys are mixed")]
fn what_is_no_yaml_is_found_out() {
    keys("route:\n  cluster: nodes\n  idle: 1\npolicy:\n  - by: {address: true}\n  retry:\n    on: reset\n");
}

#[test]
fn a_zone_that_has_no_node_is_no_reason_to_serve_nothing() {
    let mut balancer = balancer(Algorithm::RoundRobin);
    balancer.zone = Some("c".to_owned());
    assert!(!balancer.servers.iter().any(|server| balancer.is_backup(server)));
    balancer.zone = Some("b".to_owned());
    let backups = balancer.servers.iter().filter(|server| balancer.is_backup(server));
    assert_eq!(backups.map(|server| server.name.as_str()).collect::<Vec<_>>(), ["data-1", "data-2"]);
}

#[test]
fn weights_keep_their_proportions_within_what_balancers_take() {
    let mut balancer = balancer(Algorithm::RoundRobin);
    assert!(balancer.servers.iter().all(|server| balancer.weight(server) == 1));
    for (server, weight) in balancer.servers.iter_mut().zip([1, 500, 1000]) {
        server.weight = weight;
    }
    let weights: Vec<_> = balancer.servers.iter().map(|server| balancer.weight(server)).collect();
    assert_eq!(weights, [1, 50, 100]);
}

/// The files under `deploy/lb` are what is rendered, for whoever looks before there is a cluster. `GOLDEN=write` writes them.
#[test]
fn the_examples_are_what_is_rendered() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/lb");
    let mut example = balancer(Algorithm::LeastConn);
    example.listen = "0.0.0.0:8080".to_owned();
    let floating = floating(&example.listen);
    for (name, text) in [
        ("nginx.conf", nginx(&example)),
        ("haproxy.cfg", haproxy(&example)),
        ("envoy.yaml", envoy(&example)),
        ("keepalived.conf", keepalived(&floating)),
    ] {
        let path = folder.join(name);
        if std::env::var_os("GOLDEN").is_some_and(|golden| golden == "write") {
            std::fs::write(&path, &text).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap_or_default(), text, "{name}");
    }
}

/// A zone may be gone whole: whoever is sent to its nodes first must come to one that is left.
#[test]
fn a_request_outlives_the_largest_zone() {
    let mut large = balancer(Algorithm::LeastConn);
    large.servers =
        (1..=12).map(|number| server(number, ["a", "a", "b", "c"][number as usize % 4], 100)).collect();
    for text in [nginx(&large), haproxy(&large), envoy(&large)] {
        let said = ["proxy_next_upstream_tries 7;", "retries 6\n", "num_retries: 6\n"];
        assert!(said.iter().any(|said| text.contains(said)), "{text}");
    }
    let zones: Vec<_> = large.servers_in_turns().iter().map(|server| server.zone.clone()).collect();
    assert_eq!(zones, ["a", "b", "c", "a", "b", "c", "a", "b", "c", "a", "a", "a"]);
    large.servers = (1..=40).map(|number| server(number, "a", 100)).collect();
    assert!(nginx(&large).contains("proxy_next_upstream_tries 16;"));
}

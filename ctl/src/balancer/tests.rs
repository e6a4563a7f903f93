//! What is rendered, as files, and that it means the same to every program.

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

#[test]
fn configurations() {
    let plain = balancer(Algorithm::RoundRobin);
    insta::assert_snapshot!("nginx", nginx(&plain));
    insta::assert_snapshot!("haproxy", haproxy(&plain));
    insta::assert_snapshot!("envoy", envoy(&plain));
    let floating = FloatingAddress {
        address: "10.0.0.100/24".to_owned(),
        interface: "eth0".to_owned(),
        priority: 150,
        listen: "0.0.0.0:8080".to_owned(),
    };
    insta::assert_snapshot!("keepalived", keepalived(&floating));
}

#[test]
fn configurations_with_zones_weights_and_tls() {
    let mut full = balancer(Algorithm::LeastConn);
    full.servers.push(server(4, "b", 200));
    full.zone = Some("a".to_owned());
    full.tls =
        Some(Tls { ca: "/etc/ssl/cluster.pem".to_owned(), name: Some("nodes.example.com".to_owned()) });
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
    let tls = Tls { ca: "/ca.pem".to_owned(), name: None };
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
    assert!(text.contains(" on-error mark-down init-addr last,libc,none\n"), "{text}");
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
    let mut floating = FloatingAddress {
        address: "10.0.0.100/24".to_owned(),
        interface: "eth0".to_owned(),
        priority: 150,
        listen: "10.0.0.100:8080".to_owned(),
    };
    assert!(keepalived(&floating).contains("/dev/tcp/127.0.0.1/8080;"));
    floating.listen = "10.0.0.7:8080".to_owned();
    assert!(keepalived(&floating).contains("/dev/tcp/10.0.0.7/8080;"));
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
    let floating = FloatingAddress {
        address: "10.0.0.100/24".to_owned(),
        interface: "eth0".to_owned(),
        priority: 150,
        listen: example.listen.clone(),
    };
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

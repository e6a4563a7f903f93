//! HAProxy.

use std::fmt::Write as _;

use super::{Algorithm, Balancer, CONNECTIONS_MAX, heading, is_every_ipv6, split};

/// A whole `haproxy.cfg`.
#[expect(clippy::too_many_lines, reason = "it is one file, from top to bottom")]
pub(crate) fn render(balancer: &Balancer) -> String {
    let mut text = heading("HAProxy", "Check it with: haproxy -c -f FILE");
    let choice = match balancer.algorithm {
        Algorithm::RoundRobin => "    balance roundrobin\n",
        Algorithm::LeastConn => "    balance leastconn\n",
        Algorithm::IpHash => "    balance source\n    hash-type consistent\n",
    };
    // HAProxy refuses a file with a name that it cannot look up, unless it is told to begin without its address. It is not told to go on
    // looking: its own resolver knows neither /etc/hosts nor search lists, and takes a node for down whose name only those have.
    let by_name = if balancer.host_names().is_empty() { "" } else { " init-addr last,libc,none" };
    let _ = write!(
        text,
        "
global
    maxconn {CONNECTIONS_MAX}

defaults
    mode http
    timeout connect 2s
    timeout http-request 10s
    timeout http-keep-alive 60s
    timeout queue 30s
    timeout client 60s
    # A zip that is fetched from far away is held back until it is verified.
    timeout server 300s
    timeout check 2s
    # Requests are GET and HEAD alone, so that another node may be asked when there was no answer.
    retries {retries}
    option redispatch 1
    retry-on conn-failure empty-response 503

frontend goproxy
    bind {bind}
    option forwardfor
    http-request set-header X-Forwarded-Proto %[ssl_fc,iif(https,http)]
    default_backend nodes

backend nodes
{choice}    option httpchk GET /readyz
    http-check expect status 200
    http-reuse safe
    # A node that vanished without a word is given up after some seconds (`tcp-ut` where something was sent to it), and who waits for it goes to
    # another one.
    option srvtcpka
    srvtcpka-idle 2s
    srvtcpka-intvl 1s
    srvtcpka-cnt 3
",
        bind = bind(&balancer.listen),
        retries = balancer.attempts() - 1,
    );
    if balancer.servers.iter().any(|server| balancer.is_backup(server)) {
        text.push_str("    option allbackups\n");
    }
    if balancer.tls.as_ref().is_some_and(|tls| tls.own.is_some()) {
        text.push_str(
            "    # The key of the certificate for the nodes is in the same file, or in one that has `.key` behind its name.\n",
        );
    }
    let _ = writeln!(
        text,
        "    default-server check inter 1s fastinter 250ms downinter 500ms fall 2 rise 2 observe layer4 error-limit 5 on-error mark-down{by_name}"
    );
    for server in &balancer.servers {
        // HAProxy 2.6 does not take `tcp-ut` from `default-server`.
        let weight = balancer.weight(server);
        let weight = if weight == 1 { String::new() } else { format!(" weight {weight}") };
        let tls = balancer.tls.as_ref().map_or_else(String::new, |tls| {
            let (ca, name) = (&tls.ca, tls.name_of(server));
            // Checks show it as well.
            let own = tls.own.as_ref().map_or_else(String::new, |own| format!(" crt {}", own.file));
            format!(
                " ssl verify required ca-file {ca}{own} verifyhost {name} sni str({name}) check-sni {name}"
            )
        });
        let backup = if balancer.is_backup(server) { " backup" } else { "" };
        let _ = writeln!(
            text,
            "    server {} {}{weight} tcp-ut 5s{tls}{backup} # zone {}",
            server.name, server.address, server.zone
        );
    }
    text
}

/// Where it listens.
fn bind(listen: &str) -> String {
    let (host, port) = split(listen);
    if is_every_ipv6(host) { format!(":::{port} v4v6") } else { listen.to_owned() }
}

//! nginx.

use std::fmt::Write as _;

use super::{
    Algorithm, Balancer, CONNECTIONS_MAX, Certificate, Tls, bracketed, heading, is_every_ipv6, split,
};

/// How long a node is passed over that took no connection, or broke off. Who restarts one node after the other goes on as soon as
/// each is ready, so that even then none may be left: hence the second list of them.
const PASSED_OVER: &str = "1s";

/// File descriptors of a worker, two for each connection and some for itself.
const FILES_MAX: u32 = 3 * CONNECTIONS_MAX;

/// A whole `nginx.conf`.
#[expect(clippy::too_many_lines, reason = "it is one file, from top to bottom")]
pub(crate) fn render(balancer: &Balancer) -> String {
    let mut text = heading("nginx", "Check it with: nginx -t -c FILE");
    let _ = write!(
        text,
        "# nginx finds out that a node is gone by sending it requests; checks of its own are not in the free edition.

pid /tmp/goproxy-nginx.pid;
worker_processes auto;
# Each request has a connection to the client and one to a node.
worker_rlimit_nofile {FILES_MAX};

events {{
    worker_connections {CONNECTIONS_MAX};
}}

http {{
    # Nothing is written there; a process without root needs folders that it may make.
    client_body_temp_path /tmp/goproxy-nginx-body;
    proxy_temp_path /tmp/goproxy-nginx-proxy;
    fastcgi_temp_path /tmp/goproxy-nginx-fastcgi;
    uwsgi_temp_path /tmp/goproxy-nginx-uwsgi;
    scgi_temp_path /tmp/goproxy-nginx-scgi;
    access_log off;
    error_log /dev/stderr warn;
    server_tokens off;

"
    );
    upstream(&mut text, balancer);
    let scheme = if balancer.tls.is_some() { "https" } else { "http" };
    let tls = balancer.tls.as_ref().map_or_else(String::new, |Tls { ca, name, own }| {
        let name = name.as_deref().unwrap_or("localhost");
        let own = own.as_ref().map_or_else(String::new, |Certificate { file, key }| {
            format!(
                "        proxy_ssl_certificate {file};
        proxy_ssl_certificate_key {key};
"
            )
        });
        format!(
            "        proxy_ssl_trusted_certificate {ca};
        proxy_ssl_verify on;
        # One name for all nodes: nginx cannot verify an address, nor the names of several servers.
        proxy_ssl_name {name};
        proxy_ssl_server_name on;
        proxy_ssl_session_reuse on;
{own}"
        )
    });
    let _ = write!(
        text,
        "
    server {{
        listen {listen};

        proxy_http_version 1.1;
        # Connections to the nodes are kept open.
        proxy_set_header Connection \"\";
        proxy_set_header Host $http_host;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_set_header X-Forwarded-Proto $scheme;
{tls}        proxy_connect_timeout 2s;
        proxy_send_timeout 30s;
        # A zip that is fetched from far away is held back until it is verified.
        proxy_read_timeout 300s;
        # How soon a node is given up that vanished without a word is the kernel's net.ipv4.tcp_keepalive_time, _intvl and _probes, and
        # tcp_retries2 where something was sent to it: sysctl -w net.ipv4.tcp_retries2=5
        proxy_socket_keepalive on;
        # Requests are GET and HEAD alone, so that another node may be asked when there was no answer. An answer is passed on
        # whatever it says: nginx would count a 503 against the node, and what no node has would cost all of them their places.
        proxy_next_upstream error timeout;
        proxy_next_upstream_tries {attempts};
        # Zips of a hundred megabytes pass through memory, not through the disk.
        proxy_buffering on;
        proxy_buffers 16 64k;
        proxy_busy_buffers_size 128k;
        proxy_max_temp_file_size 0;
        client_max_body_size 1k;

        location / {{
            proxy_pass {scheme}://goproxy;
            error_page 502 = @again;
        }}

        # No node was left that is not passed over, as when one after the other is restarted: then all are tried.
        location @again {{
            proxy_pass {scheme}://goproxy_all;
        }}
    }}
}}
",
        listen = listen(&balancer.listen),
        attempts = balancer.attempts(),
    );
    text
}

/// Where it listens.
fn listen(listen: &str) -> String {
    let (host, port) = split(listen);
    let both = if is_every_ipv6(host) { " ipv6only=off" } else { "" };
    format!("{}:{port}{both}", bracketed(host))
}

fn upstream(text: &mut String, balancer: &Balancer) {
    text.push_str("    upstream goproxy {\n        zone goproxy 256k;\n");
    match balancer.algorithm {
        Algorithm::RoundRobin => {}
        Algorithm::LeastConn => text.push_str("        least_conn;\n"),
        // Whole addresses, also of the fourth version, and few clients that move when a node comes or goes.
        Algorithm::IpHash => text.push_str("        hash $remote_addr consistent;\n"),
    }
    for server in balancer.servers_in_turns() {
        let weight = balancer.weight(server);
        let weight = if weight == 1 { String::new() } else { format!(" weight={weight}") };
        let backup = if balancer.is_backup(server) { " backup" } else { "" };
        let _ = writeln!(
            text,
            "        server {}{weight} max_fails=2 fail_timeout={PASSED_OVER}{backup}; # {}, zone {}",
            server.address, server.name, server.zone
        );
    }
    text.push_str("        keepalive 64;\n        keepalive_timeout 5s;\n    }\n\n");
    text.push_str("    # The same nodes, none of them ever passed over.\n    upstream goproxy_all {\n        zone goproxy_all 256k;\n");
    for server in balancer.servers_in_turns() {
        let _ = writeln!(text, "        server {} max_fails=0;", server.address);
    }
    text.push_str("        keepalive 16;\n        keepalive_timeout 5s;\n    }\n");
}

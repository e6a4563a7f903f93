//! Envoy.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use super::{Algorithm, Balancer, CONNECTIONS_MAX, Certificate, Tls, heading, is_every_ipv6, split};

/// How many times over, in percent, the nodes of a zone could do its work: one of a thousand that is well is enough for all requests to
/// stay there. With Envoy's own 140 they begin to leave when three in ten are away.
const OVERPROVISIONED_PERCENT: u32 = 100_000;

/// A whole static configuration.
pub(crate) fn render(balancer: &Balancer) -> String {
    let mut text = heading("Envoy", "Check it with: envoy --mode validate -c FILE");
    listener(&mut text, balancer);
    let policy = match balancer.algorithm {
        Algorithm::RoundRobin => "ROUND_ROBIN",
        Algorithm::LeastConn => "LEAST_REQUEST",
        Algorithm::IpHash => "RING_HASH",
    };
    let _ = write!(
        text,
        "  clusters:
    - name: nodes
      type: STRICT_DNS
      connect_timeout: 2s
      lb_policy: {policy}
      # A node that took a request and vanished without a word is given up after some seconds; the request goes to another one.
      upstream_connection_options:
        tcp_keepalive: {{keepalive_time: 2, keepalive_interval: 1, keepalive_probes: 3}}
      # A node that is not well gets nothing, however few are left; by default all of them would, once half are not.
      common_lb_config:
        healthy_panic_threshold: {{value: 0}}
      health_checks:
        - timeout: 2s
          interval: 1s
          # Until the first request this counts instead of all others; it is a minute by default.
          no_traffic_interval: 1s
          unhealthy_interval: 0.5s
          healthy_edge_interval: 0.25s
          unhealthy_threshold: 2
          healthy_threshold: 2
          http_health_check: {{path: /readyz}}
      outlier_detection:
        consecutive_5xx: 0
        consecutive_gateway_failure: 0
        consecutive_local_origin_failure: 3
        split_external_local_origin_errors: true
        base_ejection_time: 5s
        max_ejection_percent: 50
      # What a node's death may cause at once is asked again; the usual three at a time would not be enough.
      circuit_breakers:
        thresholds:
          - {{max_connections: {CONNECTIONS_MAX}, max_pending_requests: {CONNECTIONS_MAX}, max_requests: {CONNECTIONS_MAX}, max_retries: {CONNECTIONS_MAX}}}
"
    );
    if let Some(Tls { ca, name, own }) = &balancer.tls {
        let name =
            name.as_ref().map_or_else(|| "auto_host_sni: true".to_owned(), |name| format!("sni: \"{name}\""));
        let own = own.as_ref().map_or_else(String::new, |Certificate { file, key }| {
            format!(
                "
            tls_certificates:
              - certificate_chain: {{filename: \"{file}\"}}
                private_key: {{filename: \"{key}\"}}"
            )
        });
        let _ = write!(
            text,
            "      transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
          {name}
          auto_sni_san_validation: true
          common_tls_context:{own}
            validation_context:
              trusted_ca: {{filename: \"{ca}\"}}
"
        );
    }
    endpoints(&mut text, balancer);
    text
}

/// The address that Envoy is to listen at; it looks no name up there. `*` is every address, of IPv4 as with the others.
pub(crate) fn listens_at(listen: &str) -> Option<IpAddr> {
    let (host, _) = split(listen);
    if host == "*" { Some(Ipv4Addr::UNSPECIFIED.into()) } else { host.parse().ok() }
}

/// The nodes.
fn endpoints(text: &mut String, balancer: &Balancer) {
    text.push_str("      load_assignment:\n        cluster_name: nodes\n");
    if balancer.servers.iter().any(|server| balancer.is_backup(server)) {
        let _ = write!(
            text,
            "        # Requests leave the zone when none of its nodes is left.
        policy: {{overprovisioning_factor: {OVERPROVISIONED_PERCENT}}}
"
        );
    }
    text.push_str("        endpoints:\n");
    for server in &balancer.servers {
        let (host, port) = split(&server.address);
        let _ = write!(
            text,
            "          - priority: {priority}
            locality: {{zone: \"{zone}\"}}
            lb_endpoints:
              # {name}
              - endpoint:
                  address:
                    socket_address: {{address: \"{host}\", port_value: {port}}}
                load_balancing_weight: {weight}
",
            priority = u8::from(balancer.is_backup(server)),
            zone = server.zone,
            name = server.name,
            weight = balancer.weight(server),
        );
    }
}

/// Where clients come in, and what becomes of their requests.
#[expect(clippy::too_many_lines, reason = "it is one file, from top to bottom")]
fn listener(text: &mut String, balancer: &Balancer) {
    let (host, port) = split(&balancer.listen);
    // A name never comes here: it is refused.
    let host = listens_at(&balancer.listen).map_or_else(|| host.to_owned(), |address| address.to_string());
    let both = if is_every_ipv6(&host) { ", ipv4_compat: true" } else { "" };
    let elsewhere = if balancer.servers.iter().any(|server| balancer.is_backup(server)) {
        "                              # By default all of them are nodes of the zone, however many of it are gone.
                              retry_priority:
                                name: envoy.retry_priorities.previous_priorities
                                typed_config:
                                  \"@type\": type.googleapis.com/envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig
                                  update_frequency: 2
"
    } else {
        ""
    };
    let by_address = match balancer.algorithm {
        Algorithm::RoundRobin | Algorithm::LeastConn => "",
        Algorithm::IpHash => {
            "
                            hash_policy:
                              - connection_properties: {source_ip: true}"
        }
    };
    let _ = write!(
        text,
        "static_resources:
  listeners:
    - name: goproxy
      address:
        socket_address: {{address: \"{host}\", port_value: {port}{both}}}
      filter_chains:
        - filters:
            - name: envoy.filters.network.http_connection_manager
              typed_config:
                \"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: goproxy
                use_remote_address: true
                request_headers_timeout: 10s
                # Paths are taken as they come: what is not canonical is for the nodes to refuse.
                normalize_path: false
                merge_slashes: false
                http_filters:
                  - name: envoy.filters.http.router
                    typed_config:
                      \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
                route_config:
                  virtual_hosts:
                    - name: goproxy
                      domains: [\"*\"]
                      routes:
                        - match: {{prefix: \"/\"}}
                          route:
                            cluster: nodes
                            # A zip that is fetched from far away is held back until it is verified.
                            timeout: 0s
                            # So many nodes may be asked, one after the other, and each may say nothing for 300 s.
                            idle_timeout: {idle}s{by_address}
                            # Requests are GET and HEAD alone, so that another node may be asked when there was no answer.
                            retry_policy:
                              retry_on: connect-failure,refused-stream,reset,retriable-status-codes
                              retriable_status_codes: [503]
                              num_retries: {retries}
                              per_try_idle_timeout: 300s
                              retry_host_predicate:
                                - name: envoy.retry_host_predicates.previous_hosts
                                  typed_config:
                                    \"@type\": type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate
                              # Draws before a node that was asked already is asked again; one by default.
                              host_selection_retry_max_attempts: {draws}
{elsewhere}",
        retries = balancer.attempts() - 1,
        draws = (2 * balancer.servers.len()).max(10),
        idle = balancer.attempts() * 300,
    );
}

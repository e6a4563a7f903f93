//! keepalived: the address that developers set, which moves from one balancer to another.

use std::fmt::Write as _;
use std::net::IpAddr;

use super::{FloatingAddress, bracketed, heading, split};

/// A whole `keepalived.conf`, for one of two or more balancers.
pub(crate) fn render(floating: &FloatingAddress) -> String {
    let FloatingAddress { address, interface, priority, listen } = floating;
    let (_, port) = split(listen);
    let host = asked(floating);
    let name = bracketed(host);
    let mut text = heading("keepalived", "Check it with: keepalived -t -f FILE");
    let _ = write!(
        text,
        "# Every balancer has this file; of those that start together, the one with the highest priority has the address.

global_defs {{
    # Intervals below a second need version 3.
    vrrp_version 3
    enable_script_security
    # An address that moved is announced at once, and once more.
    vrrp_garp_master_repeat 2
    vrrp_garp_master_refresh 30
}}

# A machine whose balancer reaches no node gives the address away, and does not take it before it reaches one again. The balancers
# listen on every address, this one included. Envoy answers nothing older than HTTP/1.1, whose lines end with a carriage return: DQ==.
vrrp_script balancer {{
    script \"/bin/bash -c 'exec 3<>/dev/tcp/{host}/{port}; r=$(echo DQ== | base64 -d); echo GET /readyz HTTP/1.1$r >&3; echo Host: {name}:{port}$r >&3; echo Connection: close$r >&3; echo $r >&3; read -t 1 -u 3 protocol code rest; [ $code = 200 ]'\"
    user nobody
    interval 1
    timeout 1
    fall 2
    rise 2
}}

vrrp_instance goproxy {{
    # Nobody takes the address from another one that has it and reaches nodes: each move cuts connections off.
    state BACKUP
    nopreempt
    interface {interface}
    virtual_router_id 83
    priority {priority}
    advert_int 0.3
    virtual_ipaddress {{
        {address}
    }}
    track_script {{
        balancer
    }}
}}
"
    );
    text
}

/// The host at which a machine's own balancer is asked.
fn asked(floating: &FloatingAddress) -> &str {
    let (host, _) = split(&floating.listen);
    let Ok(address) = host.parse::<IpAddr>() else {
        return if host == "*" { "127.0.0.1" } else { host };
    };
    let moving = floating.address.split('/').next().unwrap_or_default();
    // At the address that moves a machine without it would find the other one's balancer, and neither would take it again.
    let moves = moving.parse::<IpAddr>().is_ok_and(|moving| moving == address);
    if address.is_unspecified() || (moves && address.is_ipv4()) {
        "127.0.0.1"
    } else if moves {
        // One that serves this address may know nothing of IPv4.
        "::1"
    } else {
        host
    }
}

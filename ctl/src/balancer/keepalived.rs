//! keepalived: the address that developers set, which moves from one balancer to another.

use std::fmt::Write as _;

use super::{FloatingAddress, heading};

/// A whole `keepalived.conf`, for one of two or more balancers.
pub(crate) fn render(floating: &FloatingAddress) -> String {
    let FloatingAddress { address, interface, priority, process } = floating;
    let mut text = heading("keepalived", "Check it with: keepalived -t -f FILE");
    let _ = write!(
        text,
        "# Every balancer has this file; the one with the highest priority that runs has the address.

global_defs {{
    enable_script_security
    # An address that moved is announced at once, and once more.
    vrrp_garp_master_repeat 2
    vrrp_garp_master_refresh 30
}}

# A machine whose balancer does not run gives the address away.
vrrp_track_process balancer {{
    process {process}
    delay 1
}}

vrrp_instance goproxy {{
    # Nobody takes the address from another one that has it and is as good.
    state BACKUP
    interface {interface}
    virtual_router_id 83
    priority {priority}
    advert_int 0.3
    virtual_ipaddress {{
        {address}
    }}
    track_process {{
        balancer
    }}
}}
"
    );
    text
}

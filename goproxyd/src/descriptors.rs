//! How many files and sockets this process may have open: the limit is raised as far as it may be, and one too low is told of.
//!
//! The limit that a process begins with (1024 on most systems) is for programs that know nothing of more. A server that runs out
//! accepts nobody, and its store cannot read what it would write elsewhere.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::args::Role;
use crate::settings::Settings;

/// Tables, logs and locks of both planes' stores, and what opening one of them again takes.
const OF_STORES: u64 = 512;
/// Listeners, other nodes, operators, and what the runtime takes.
const OF_OTHERS: u64 = 512;
/// Sockets of one fetch: a redirect may lead to another origin while the first connection is kept.
const OF_A_FETCH: u64 = 2;

/// Raises the soft limit to the hard one; the limit in force then, `None` where there is none.
pub(crate) fn raise() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // Refused where the hard limit is above what the kernel allows by now.
    let raised =
        current != maximum && setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok();
    if raised { maximum } else { current }
}

/// What an operator is told when `limit` is less than a process in this role may need.
pub(crate) fn shortage(role: Role, settings: &Settings, limit: Option<u64>) -> Option<String> {
    let (serving, or_else) = match role {
        Role::Standalone | Role::Data => {
            let fetching = OF_A_FETCH * u64::from(settings.max_fetches);
            (u64::from(settings.max_connections) + fetching, " or lower --max-connections")
        }
        Role::Control { .. } => (0, ""),
    };
    let needed = serving + OF_STORES + OF_OTHERS;
    let limit = limit.filter(|&limit| limit < needed)?;
    Some(format!(
        "only {limit} files and sockets may be open at once, and this process may need {needed}: raise the hard limit \
         (`ulimit -Hn`, LimitNOFILE in a unit of systemd){or_else}"
    ))
}

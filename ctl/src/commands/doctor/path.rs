//! From the settings to a secured connection to each server.

use std::sync::Arc;

use common::clock::{Clock as _, SystemClock};
use identity::Bundle;
use rustls::ClientConfig;

use super::{Check, SOON};
use crate::commands::Context;
use crate::dial::{self, DialError};
use crate::exit::Exit;
use crate::hint;
use crate::server::Server;

pub(super) async fn checks(context: &Context) -> Vec<Check> {
    let settings = &context.settings;
    let servers = &settings.servers;
    let names: Vec<_> = servers.value.iter().map(ToString::to_string).collect();
    let mut checks = vec![Check::ok("servers", format!("{} (from {})", names.join(", "), servers.source))];
    let trust = match &settings.ca {
        None => {
            checks.push(Check::failed("ca", &settings.no_ca()));
            None
        }
        Some(ca) => {
            match dial::bundle(&ca.value).and_then(|bundle| Ok((ends(&bundle), dial::trust(bundle)?))) {
                Ok((left, trust)) => {
                    checks.push(authority(&format!("{} (from {})", ca.value.display(), ca.source), left));
                    Some(trust)
                }
                Err(failure) => {
                    checks.push(Check::failed("ca", &failure));
                    None
                }
            }
        }
    };
    checks.push(match context.token() {
        Ok(Some(_)) => {
            let source = settings.token.as_ref().map(|token| token.source.to_string()).unwrap_or_default();
            Check::ok("token", format!("there is one (from {source})"))
        }
        Ok(None) => Check::warn("token", "there is none", settings.no_token()),
        Err(failure) => Check::failed("token", &failure),
    });
    for server in &servers.value {
        reach(server, trust.as_ref(), &mut checks).await;
    }
    checks
}

/// When the last authority of a bundle ends, in seconds since the Unix epoch.
fn ends(bundle: &Bundle) -> Option<i64> {
    bundle.facts().ok()?.iter().map(|facts| facts.end_s).max()
}

fn authority(place: &str, end_s: Option<i64>) -> Check {
    let now_s = SystemClock.now_us() / 1_000_000;
    let hint = "get the present `ca.pem` from a control node's data directory";
    match end_s.map(|end_s| end_s - now_s) {
        Some(left) if left <= 0 => Check::fail("ca", format!("{place} has ended"), hint, Exit::Denied),
        Some(left) if left < SOON.as_secs().cast_signed() => {
            Check::warn("ca", format!("{place} ends within days"), hint)
        }
        Some(_) | None => Check::ok("ca", place),
    }
}

/// Goes towards a server as far as it can.
async fn reach(server: &Server, trust: Option<&Arc<ClientConfig>>, checks: &mut Vec<Check>) {
    let addresses = match dial::resolve(server).await {
        Ok(addresses) => addresses,
        Err(error) => return checks.push(unreachable(&format!("name {server}"), &error)),
    };
    let shown: Vec<_> = addresses.iter().map(|address| address.ip().to_string()).collect();
    checks.push(Check::ok(format!("name {server}"), shown.join(", ")));
    let stream = match dial::connect(&addresses).await {
        Ok(stream) => stream,
        Err(error) => return checks.push(unreachable(&format!("tcp {server}"), &error)),
    };
    checks.push(Check::ok(format!("tcp {server}"), "takes connections"));
    let Some(trust) = trust else { return };
    checks.push(match dial::secure(server, stream, Arc::clone(trust)).await {
        Ok(_) => Check::ok(format!("tls {server}"), "shows a certificate of the cluster"),
        Err(error) => unreachable(&format!("tls {server}"), &error),
    });
}

fn unreachable(check: &str, error: &DialError) -> Check {
    Check::fail(check, error.chain(), hint::of_dial(error), Exit::Unreachable)
}

//! Whether this node should be sent requests, and what load balancers and operators are told of it.

use std::borrow::Cow;
use std::sync::atomic::Ordering::Relaxed;

use super::error::ServeError;
use super::proxy::Proxy;

/// What a disk that takes nothing means for those who ask.
const PASSING_ON: &str = "what is held is served, what is fetched is passed on without being stored\n";

impl Proxy {
    /// From now on this node tells load balancers to look elsewhere.
    pub fn begin_drain(&self) {
        self.draining.store(true, Relaxed);
    }

    /// Whether this node should be sent requests, and what is not as it should be. On a disk that is full or takes no writes
    /// it should: what is held is served, the rest passes through. A store that has stopped can take in nothing, so that
    /// each miss fails. Whoever was removed hears no more of what was taken down.
    pub fn readiness(&self) -> Result<Cow<'static, str>, ServeError> {
        if self.draining.load(Relaxed) {
            return Err(ServeError::Unavailable {
                what: "this node".into(),
                why: "it is draining".to_owned(),
                next: Cow::Borrowed("another node answers"),
            });
        }
        if self.layers.peers.is_sent_away() {
            return Err(ServeError::Unavailable {
                what: "this node".into(),
                why: "it was removed from its cluster".to_owned(),
                next: Cow::Borrowed(
                    "stop it, and render the balancer's configuration again; `goproxyctl node add` lets it join anew",
                ),
            });
        }
        if self.layers.store.is_stopped() {
            return Err(ServeError::Unavailable {
                what: "this node".into(),
                why: "its store met damage and writes nothing until that is healed; what is held is still served"
                    .to_owned(),
                next: Cow::Borrowed("if it stays so, restart the node; if that does not help, give it a new data directory"),
            });
        }
        let store = &self.layers.store;
        if let Some(why) = store.unwritable() {
            return Ok(format!("ready, but its disk takes no writes ({why}): {PASSING_ON}").into());
        }
        if store.is_out_of_space() {
            return Ok(format!("ready, but its disk is full: {PASSING_ON}").into());
        }
        Ok("ready\n".into())
    }
}

//! Making whole what is stored and does not verify: what can be fetched again is, and what was published gets another node's copy in its place.

use std::sync::Arc;

use gomod::{ModuleVersion, Request};

use super::error::ServeError;
use super::proxy::{Proxy, forget};
use super::warm::Wanted;
use crate::peers::Effort;
use crate::store::{Finding, Scope, SetAside};

impl Proxy {
    /// Makes whole what was found bad; whether it is. What reads well when it is read again is.
    pub async fn heal(self: &Arc<Self>, finding: &Finding) -> Result<bool, ServeError> {
        let version = &finding.version;
        let held_zip = finding.scope == Scope::Zip || self.holds_zip(version).await;
        let shown = || self.shown(&version.module, version);
        let detail = &finding.detail;
        match self.look_again(version).await? {
            SetAside::Fine => {}
            SetAside::Out => {
                tracing::warn!(version = %shown(), detail, "damaged, to be fetched anew");
                let wanted = if held_zip { Wanted::Everything } else { Wanted::GoMod };
                self.warm(version, wanted).await?;
            }
            SetAside::Stays(_) => {
                if !self.take_good_copy(version).await? {
                    tracing::error!(version = %shown(), detail, "damaged, and no other node that is up has it");
                    return Ok(false);
                }
                tracing::warn!(version = %shown(), detail, "damaged; another node's copy took its place");
            }
        }
        // Of what was taken out before, and has not come back, nothing is bad either.
        Ok(self.is_whole(version).await? && (finding.scope == Scope::Record || self.holds_zip(version).await))
    }

    /// Whether something is held of `version`, and all of it verifies.
    pub async fn is_whole(&self, version: &ModuleVersion) -> Result<bool, ServeError> {
        let wanted = version.clone();
        let read = self.with_store("read a version", move |store| store.scrub_one(&wanted)).await?;
        Ok(read.is_some_and(|(findings, _)| findings.is_empty()))
    }

    /// Puts another node's copy in the place of what was published and is bad here; whether there was one.
    pub(super) async fn take_good_copy(
        self: &Arc<Self>,
        version: &ModuleVersion,
    ) -> Result<bool, ServeError> {
        // Whoever comes second must not take out what the first one has brought.
        let _turn = self.mending.lock().await;
        let finding = match self.look_again(version).await? {
            SetAside::Stays(finding) => finding,
            SetAside::Fine => return Ok(true),
            SetAside::Out => return Ok(false),
        };
        let zip = Request::Zip(version.clone());
        let mut is_out = false;
        for node in self.all_other_nodes() {
            // That it begins to answer is all that is wanted to know of it here.
            if !matches!(self.ask(&node, &zip, Effort::Copy, 0).await, Some(Ok(_))) {
                continue;
            }
            if !is_out {
                self.take_out_published(&finding).await?;
                is_out = true;
            }
            match Box::pin(self.take_copies(version, &node)).await {
                Ok(_) => return Ok(true),
                Err(error) => {
                    tracing::warn!(%node, %error, "a good copy of what was published did not come; another node is asked");
                }
            }
        }
        Ok(false)
    }

    async fn look_again(&self, version: &ModuleVersion) -> Result<SetAside, ServeError> {
        let wanted = version.clone();
        let came = self.with_store("look at damage again", move |store| store.set_aside(&wanted)).await?;
        if came == SetAside::Out {
            self.layers.metrics.damaged.inc();
            forget(&self.layers.memory, version);
        }
        Ok(came)
    }

    async fn take_out_published(&self, finding: &Finding) -> Result<(), ServeError> {
        let taken = finding.clone();
        let taking =
            move |store: &crate::store::Store| store.quarantine(&taken.version, taken.scope, &taken.detail);
        self.with_store("set damaged content aside", taking).await?;
        forget(&self.layers.memory, &finding.version);
        Ok(())
    }
}

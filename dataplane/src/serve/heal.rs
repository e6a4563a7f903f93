//! Making whole what is stored and does not verify: what can be fetched again is, and what was published gets another node's copy in its place.

use std::sync::Arc;

use cluster::NodeName;
use gomod::{ModuleVersion, Request};
use sha2::{Digest as _, Sha256};

use super::error::ServeError;
use super::lend::Lent;
use super::proxy::{Proxy, forget};
use super::warm::Wanted;
use crate::peers::{Effort, Part};
use crate::store::{Finding, Scope, SetAside, Store, StoreError};

impl Proxy {
    /// Makes whole what was found bad; whether it is. What reads well when it is read again is.
    pub async fn heal(self: &Arc<Self>, finding: &Finding) -> Result<bool, ServeError> {
        let version = &finding.version;
        let wanted = version.clone();
        let holds = move |store: &Store| match store.record(&wanted) {
            // It cannot be told.
            Err(StoreError::Corrupt { .. }) => Ok(true),
            record => Ok(record?.is_some_and(|record| record.zip.is_some())),
        };
        let held_zip =
            finding.scope == Scope::Zip || self.with_store("look at a record", holds).await.unwrap_or(true);
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
        let turn = Arc::clone(&self.mending).lock_owned().await;
        let finding = match self.look_again(version).await? {
            SetAside::Stays(finding) => finding,
            SetAside::Fine => return Ok(true),
            SetAside::Out => return Ok(false),
        };
        // There would be no place for it.
        if self.layers.store.is_out_of_space() || self.layers.store.unwritable().is_some() {
            return Ok(false);
        }
        for node in self.all_other_nodes() {
            if !self.is_sound_at(version, &node).await {
                continue;
            }
            // From here on nobody's leaving may end it: the bad copy is out, and the good one not there yet.
            let (proxy, version) = (Arc::clone(self), version.clone());
            let replacing = tokio::spawn(async move {
                let _turn = turn;
                proxy.replace_with_copy_of(&finding, node).await.inspect_err(|error| {
                    tracing::debug!(%version, %error, "what was published was not replaced");
                })
            });
            let lost = |_| Err(ServeError::Internal { what: "make a version whole".to_owned() });
            return replacing.await.unwrap_or_else(lost);
        }
        Ok(false)
    }

    /// Takes out what is bad and takes the copy of `node` instead, or, should that end now, another one's.
    async fn replace_with_copy_of(
        self: &Arc<Self>,
        finding: &Finding,
        node: NodeName,
    ) -> Result<bool, ServeError> {
        let version = &finding.version;
        self.take_out_published(finding).await?;
        let others = self.all_other_nodes().into_iter().filter(|other| *other != node);
        for node in std::iter::once(node.clone()).chain(others) {
            match Box::pin(self.take_copies(version, &node)).await {
                Ok(_) if self.holds_zip(version).await && self.is_whole(version).await? => return Ok(true),
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%node, %error, "a good copy of what was published did not come; another node is asked");
                }
            }
        }
        Ok(false)
    }

    /// Reads all of a node's copy; whether it is what that node says that it is, and what the version is bound to here, where that can be
    /// told. A node whose own is bad may begin to send it.
    async fn is_sound_at(&self, version: &ModuleVersion, node: &NodeName) -> bool {
        let zip = Request::Zip(version.clone());
        let asked = self.ask(node, &zip, Effort::Copy, 0).await;
        let Some(Ok(Lent::Zip { size, mut exchange })) = asked else { return false };
        let bound = self.record(version).await.ok().flatten().and_then(|record| record.zip_h1);
        let (mut received, mut sum, mut seal) = (0, Sha256::new(), None);
        while received <= size && (received < size || seal.is_none()) {
            match exchange.next(&self.layers.peers).await {
                Ok(Part::Piece(piece)) => {
                    received += piece.len() as u64;
                    sum.update(&piece);
                }
                Ok(Part::Seal(said)) => seal = Some(said),
                Ok(Part::Whole(_) | Part::Start(_) | Part::Refusal(_)) | Err(_) => return false,
            }
        }
        let Some(seal) = seal.filter(|_| received == size) else { return false };
        seal.sha256.as_ref() == sum.finalize().as_slice()
            && bound.is_none_or(|bound| bound.as_bytes().as_slice() == seal.h1.as_ref())
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
        let taking = move |store: &Store| store.quarantine(&taken.version, taken.scope, &taken.detail);
        self.with_store("set damaged content aside", taking).await?;
        forget(&self.layers.memory, &finding.version);
        Ok(())
    }
}

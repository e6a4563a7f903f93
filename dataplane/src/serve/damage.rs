//! Stored bytes that do not verify are never served. They are set aside, and the next request fetches them anew; what was published stays until
//! another node's copy takes its place.

use std::sync::Arc;

use gomod::ModuleVersion;
use tokio::sync::mpsc;

use super::blobs::OnDamage;
use super::error::ServeError;
use super::memory::Memory;
use super::metrics::ServeFamilies;
use super::proxy::{Proxy, forget};
use crate::private::{Private, Shown};
use crate::store::{Finding, SetAside, Store, StoreError};

/// Findings that wait to be made whole. What finds no place is met again by whoever asks next.
const FINDINGS_WAITING_MAX: usize = 64;

/// A queue of what was published and is to be made whole.
pub fn findings() -> (mpsc::Sender<Finding>, mpsc::Receiver<Finding>) {
    mpsc::channel(FINDINGS_WAITING_MAX)
}

/// Says what came of damage that a reader met; whether there was any.
pub(super) fn tell(came: &SetAside, shown: &Shown<'_>, error: &StoreError) -> bool {
    match came {
        SetAside::Fine => {
            tracing::warn!(version = %shown, %error, "a read failed, and what is stored reads well since");
            return false;
        }
        SetAside::Out => {
            tracing::error!(version = %shown, %error, "what is stored does not verify; it is set aside and fetched anew");
        }
        SetAside::Stays(_) => {
            tracing::error!(version = %shown, %error, "what was published does not verify; it stays until a good copy is there");
        }
    }
    true
}

/// A disk that takes nothing has to bear the damage for now: it is met again, and what is fetched meanwhile is passed on.
pub(super) fn where_there_is_place(set_aside: Result<SetAside, StoreError>) -> Result<SetAside, StoreError> {
    match set_aside {
        Err(error) if error.takes_nothing() => Ok(SetAside::Out),
        other => other,
    }
}

/// For readers that meet damage in the middle of a zip. What has to be made whole from another node goes to `findings`.
pub fn on_damage(
    store: Arc<Store>,
    memory: Arc<Memory>,
    metrics: Arc<ServeFamilies>,
    private: Private,
    findings: mpsc::Sender<Finding>,
) -> OnDamage {
    Box::new(move |version, error| {
        let shown = private.shown(&version.module, version);
        if !matches!(error, StoreError::Corrupt { .. } | StoreError::NoChunk { .. }) {
            tracing::error!(version = %shown, %error, "failed to read a stored zip");
            return;
        }
        match store.set_aside(version) {
            Err(error) => tracing::error!(version = %shown, %error, "failed to set a damaged zip aside"),
            Ok(came) => {
                if tell(&came, &shown, error) {
                    metrics.damaged.inc();
                    // Afterwards, so that whoever puts it into memory meanwhile finds that it was removed.
                    forget(&memory, version);
                }
                if let SetAside::Stays(finding) = came {
                    let _ = findings.try_send(finding);
                }
            }
        }
    })
}

impl Proxy {
    /// Makes whole what readers found bad, for as long as there are any.
    pub async fn mend_what_readers_find(self: Arc<Self>, mut findings: mpsc::Receiver<Finding>) {
        while let Some(finding) = findings.recv().await {
            match self.heal(&finding).await {
                Ok(true) => tracing::info!("what was published and damaged here is whole again"),
                Ok(false) => {}
                Err(error) => tracing::debug!(%error, "what was published cannot be made whole yet"),
            }
        }
    }

    /// Another node's copy takes the place of what was published and does not verify here; an error if there is none.
    pub(super) async fn make_whole(self: &Arc<Self>, version: &ModuleVersion) -> Result<(), ServeError> {
        if self.take_good_copy(version).await? {
            return Ok(());
        }
        Err(ServeError::Unavailable {
            what: version.to_string().into(),
            why: "what is stored of it is damaged, and no other node that is up has it".to_owned(),
            next: "ask the operators of this proxy to publish it again".into(),
        })
    }
}

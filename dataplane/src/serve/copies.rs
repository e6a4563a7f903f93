//! Copies of what another node holds, taken before anybody asks for them.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use cluster::NodeName;
use gomod::{ModuleVersion, Query, Request};
use proto::data::v1::RefusalReason;

use super::error::ServeError;
use super::lend::Lent;
use super::proxy::Proxy;
use crate::peers::Effort;
use crate::store::VersionRecord;

/// Why a copy was not taken.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CopyError {
    /// The node cannot be reached, or cannot answer now.
    #[error("the node does not answer")]
    Unreachable,
    /// It came, but could not be stored here.
    #[error("there is no place for it here")]
    NoPlace,
    /// What it sent cannot be kept.
    #[error(transparent)]
    Refused(#[from] ServeError),
}

/// What is wanted of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Its `.info` and go.mod.
    Texts,
    /// Its zip as well.
    Whole,
}

/// Who takes copies of a version at a time: one, since what it has taken the next one has. Versions share places by their hash.
#[derive(Debug)]
pub(super) struct Taking(Vec<tokio::sync::Mutex<()>>);

/// Places.
const PLACES: u64 = 256;

impl Default for Taking {
    fn default() -> Self {
        Self((0..PLACES).map(|_| tokio::sync::Mutex::default()).collect())
    }
}

impl Taking {
    async fn turn(&self, version: &ModuleVersion) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        let mut hasher = DefaultHasher::new();
        version.hash(&mut hasher);
        let place = usize::try_from(hasher.finish() % PLACES).ok()?;
        Some(self.0.get(place)?.lock().await)
    }
}

impl Proxy {
    /// The nodes of the cluster that are taken for living, but this one.
    pub fn all_other_nodes(&self) -> Vec<NodeName> {
        let Some((me, view)) = self.layers.peers.view() else { return Vec::new() };
        let others = view.nodes().filter(|node| node.name != me && !node.state.is_away());
        others.map(|node| node.name.clone()).collect()
    }

    /// Takes whatever `node` holds of `version` and this node does not; the bytes of the zip if that was taken.
    pub async fn take_copies(
        self: &Arc<Self>,
        version: &ModuleVersion,
        node: &NodeName,
    ) -> Result<u64, CopyError> {
        self.take_copies_to(version, node, Depth::Whole).await
    }

    /// The same, no deeper than `depth`.
    pub async fn take_copies_to(
        self: &Arc<Self>,
        version: &ModuleVersion,
        node: &NodeName,
        depth: Depth,
    ) -> Result<u64, CopyError> {
        if self.is_taken_down(version) {
            return Ok(0);
        }
        let _turn = self.taking.turn(version).await;
        let held = self.record(version).await?.unwrap_or_default();
        let (mut bytes, mut left) = (0, Vec::new());
        for request in lacking(version, &held, depth) {
            let refusal = if matches!(request, Request::Zip(_)) {
                let copied = self.copied_zip_of(&Arc::new(version.clone()), node).await?;
                copied.ok_or(CopyError::Unreachable)?.map(|size| bytes = size).err()
            } else {
                match self.ask(node, &request, Effort::Copy, 0).await.ok_or(CopyError::Unreachable)? {
                    Ok(Lent::Whole(whole)) => {
                        self.keep_lent(&request, whole).await?;
                        None
                    }
                    Ok(Lent::Zip { .. }) => return Err(CopyError::Unreachable),
                    Err(refusal) => Some(refusal),
                }
            };
            match refusal {
                None => {}
                // It has left there meanwhile.
                Some(refusal) if has_it_not(refusal.reason()) => left.push(request),
                // A node of an earlier release gives nobody what is in quarantine; it is taken when that one is a newer one.
                Some(refusal)
                    if refusal.reason() == RefusalReason::Forbidden && self.block_of(version).is_some() =>
                {
                    left.push(request);
                }
                Some(_) => return Err(CopyError::Unreachable),
            }
        }
        // What a full disk did not take was served, but is no copy.
        let held = self.record(version).await?.unwrap_or_default();
        let missing = lacking(version, &held, depth).into_iter().find(|request| !left.contains(request));
        missing.map_or(Ok(bytes), |_| Err(CopyError::NoPlace))
    }
}

fn has_it_not(reason: RefusalReason) -> bool {
    matches!(reason, RefusalReason::NotHeld | RefusalReason::NotFound | RefusalReason::Gone)
}

fn lacking(version: &ModuleVersion, held: &VersionRecord, depth: Depth) -> Vec<Request> {
    let mut lacking = Vec::new();
    if held.info.is_none() {
        lacking.push(Request::Info(version.module.clone(), Query::Version(version.version.clone())));
    }
    if held.go_mod.is_none() {
        lacking.push(Request::Mod(version.clone()));
    }
    if held.zip.is_none() && depth == Depth::Whole {
        lacking.push(Request::Zip(version.clone()));
    }
    lacking
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use gomod::{ModulePath, Version};

    #[test]
    fn only_what_is_not_held_is_taken() {
        let module = ModulePath::parse("a.example/m").unwrap();
        let version = ModuleVersion::new(module, Version::parse("v1.0.0").unwrap()).unwrap();
        let mut held = VersionRecord::default();
        assert_eq!(lacking(&version, &held, Depth::Whole).len(), 3);
        held.info = Some(Bytes::from_static(b"{}"));
        assert_eq!(
            lacking(&version, &held, Depth::Whole),
            [Request::Mod(version.clone()), Request::Zip(version.clone())]
        );
        assert_eq!(lacking(&version, &held, Depth::Texts), [Request::Mod(version.clone())]);
    }
}

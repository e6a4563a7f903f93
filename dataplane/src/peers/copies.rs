//! What nodes say to each other about copies: what was just stored, and what is held.

use std::time::Duration;

use cluster::NodeName;
use gomod::{ModulePath, ModuleVersion, Version};
use proto::data::v1 as pb;
use tonic::Streaming;

use super::directory::{Lane, Peers};
use super::exchange::Unreachable;

/// How long a node may take to answer an offer, or to begin a list.
const TIMEOUT: Duration = Duration::from_secs(3);
/// How long it may be silent within a list: it reads its store meanwhile.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Versions in one offer.
pub const OFFER_MAX: usize = 256;
/// Versions of one module that are told of.
pub const HELD_MAX: usize = 10_000;
/// How long a node may take to tell which it has: somebody waits for a list.
const HELD_TIMEOUT: Duration = Duration::from_secs(1);

/// Holdings of a node, page by page.
#[derive(Debug)]
pub struct HoldingPages {
    node: NodeName,
    pages: Streaming<pb::StreamHoldingsResponse>,
}

impl Peers {
    /// Tells `node` of versions that are held here; how many of them it will look at.
    pub async fn offer(&self, node: &NodeName, versions: &[ModuleVersion]) -> Result<usize, Unreachable> {
        self.offer_and(node, versions, false).await
    }

    /// As [`Self::offer`], and waits until `node` has taken its copies, as far as it can within the time for an answer.
    pub async fn hand_over(&self, node: &NodeName, versions: &[ModuleVersion]) -> Result<(), Unreachable> {
        self.offer_and(node, versions, true).await.map(drop)
    }

    async fn offer_and(
        &self,
        node: &NodeName,
        versions: &[ModuleVersion],
        waits: bool,
    ) -> Result<usize, Unreachable> {
        let (mut client, _) = self.client(node, Lane::Small).ok_or_else(|| unknown(node))?;
        let versions = versions.iter().take(OFFER_MAX).map(to_name).collect();
        let offering = client.offer_versions(pb::OfferVersionsRequest { versions, waits });
        match tokio::time::timeout(TIMEOUT, offering).await {
            Ok(Ok(answer)) => Ok(answer.into_inner().accepted_count as usize),
            Ok(Err(status)) => Err(unreachable(node, status.message())),
            Err(_) => Err(unreachable(node, "it did not take an offer in time")),
        }
    }

    /// Asks `node` for what it holds of some slots.
    pub async fn holdings(
        &self,
        node: &NodeName,
        ask: pb::StreamHoldingsRequest,
    ) -> Result<HoldingPages, Unreachable> {
        let (mut client, _) = self.client(node, Lane::Small).ok_or_else(|| unknown(node))?;
        let listing = client.stream_holdings(ask);
        match tokio::time::timeout(TIMEOUT, listing).await {
            Ok(Ok(answer)) => Ok(HoldingPages { node: node.clone(), pages: answer.into_inner() }),
            Ok(Err(status)) => Err(unreachable(node, status.message())),
            Err(_) => Err(unreachable(node, "it did not begin a list in time")),
        }
    }

    /// Asks `node` which versions of a module it has zips of. What is no version is left out.
    pub async fn held_versions(
        &self,
        node: &NodeName,
        module: &ModulePath,
    ) -> Result<Vec<Version>, Unreachable> {
        let (mut client, _) = self.client(node, Lane::Small).ok_or_else(|| unknown(node))?;
        let asking = client.get_held_versions(pb::GetHeldVersionsRequest { module_path: module.to_string() });
        match tokio::time::timeout(HELD_TIMEOUT, asking).await {
            Ok(Ok(answer)) => {
                let versions = answer.into_inner().versions.into_iter().take(HELD_MAX);
                Ok(versions.filter_map(|version| Version::parse(&version).ok()).collect())
            }
            Ok(Err(status)) => Err(unreachable(node, status.message())),
            Err(_) => Err(unreachable(node, "it did not tell in time what it holds")),
        }
    }

    /// The other nodes that should have a copy of what was stored here of `module`: with this one's, there are to be `copies`.
    pub fn copies_at(&self, module: &ModulePath, copies: usize) -> Vec<NodeName> {
        let Some((me, view)) = self.view() else { return Vec::new() };
        let Some(placement) = view.placement() else { return Vec::new() };
        let replicas = placement.new_layout().replicas(cluster::layout::Slot::of(module.as_str()));
        let wanted = copies.saturating_sub(usize::from(replicas.contains(&me)));
        let lives = |name: &&NodeName| view.node(name).is_some_and(|node| !node.state.is_away());
        replicas.iter().filter(|name| **name != me).filter(lives).take(wanted).cloned().collect()
    }
}

impl Peers {
    /// Whether the layout has other nodes for a module's slot, whether they live or not.
    pub fn is_one_of_many(&self, module: &ModulePath) -> bool {
        let Some((me, view)) = self.view() else { return false };
        let Some(placement) = view.placement() else { return false };
        let replicas = placement.new_layout().replicas(cluster::layout::Slot::of(module.as_str()));
        replicas.iter().any(|name| *name != me)
    }
}

impl HoldingPages {
    /// The next page; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<Vec<pb::Holding>>, Unreachable> {
        match tokio::time::timeout(SILENCE_MAX, self.pages.message()).await {
            Ok(Ok(page)) => Ok(page.map(|page| page.holdings)),
            Ok(Err(status)) => Err(unreachable(&self.node, status.message())),
            Err(_) => Err(unreachable(&self.node, "it fell silent within a list")),
        }
    }
}

/// A version as it is sent.
pub fn to_name(version: &ModuleVersion) -> pb::VersionName {
    pb::VersionName { module_path: version.module.to_string(), version: version.version.to_string() }
}

/// A version as it came; `None` if it is none.
pub fn of_name(name: &pb::VersionName) -> Option<ModuleVersion> {
    let module = ModulePath::parse(&name.module_path).ok()?;
    ModuleVersion::new(module, Version::parse(&name.version).ok()?).ok()
}

pub(super) fn unknown(node: &NodeName) -> Unreachable {
    unreachable(node, "its address is not known")
}

fn unreachable(node: &NodeName, why: &str) -> Unreachable {
    Unreachable { node: node.clone(), why: why.to_owned() }
}

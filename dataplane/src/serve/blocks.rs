//! What operators took down or quarantined is not served, whatever is held of it, and not listed: "listed" means "served". Neither is what a policy
//! keeps to nodes that hear of such things.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use cluster::record::{Mark, MarkKind};
use common::duration_text::DurationText;
use gomod::info::Info;
use gomod::list::VersionList;
use gomod::{ModulePath, ModuleVersion, Query, Request};

use super::error::ServeError;
use super::prepare;
use super::proxy::{Answer, Asker, Mode, Proxy};
use super::ready::{Lifetime, Ready};
use super::tag::{Cache, Kind};
use crate::store::CachedAnswer;

/// What a developer can do about a version that is not served.
const NEXT: &str = "use another version, or ask the operators of this proxy";
/// What he can do about a node that hears nothing.
const OUTDATED_NEXT: &str = "try again in a moment, or tell the operators of this proxy";

impl Proxy {
    /// Whether something of the module that a canonical path is of is not to be served. Nearly always told without reading the path.
    pub(super) fn is_path_of_blocked(&self, path: &str) -> bool {
        self.layers.peers.said(|marks, silence| {
            (marks.has_blocks() || silence.is_some())
                && Request::parse(path.strip_prefix('/').unwrap_or(path)).is_ok_and(|request| {
                    let module = request.module();
                    marks.concerns(module.as_str())
                        || silence.is_some_and(|silence| silence.outdated(module).is_some())
                })
        }) == Some(true)
    }

    /// Whether something of a module is not to be served.
    pub(super) fn concerns_blocked(&self, module: &ModulePath) -> bool {
        self.layers.peers.marks(|marks| marks.concerns(module.as_str())) == Some(true)
    }

    /// Why a version is not to be served.
    pub(super) fn block_of(&self, version: &ModuleVersion) -> Option<ServeError> {
        self.block(&version.module, Some(version.version.as_str()), MarkKind::Quarantined)
    }

    /// Why nothing of a module is answered by a node that has heard nothing of its cluster for long. Another node that asks judges for itself.
    pub(super) fn outdated(&self, module: &ModulePath) -> Option<ServeError> {
        self.layers.peers.said(|_, silence| {
            let silence = silence?;
            let outdated = silence.outdated(module)?;
            let lasts = DurationText(Duration::from_secs(silence.lasts().as_secs()));
            Some(ServeError::Unavailable {
                what: module.to_string().into(),
                why: format!("this node has heard nothing of its control plane for {lasts}, and {outdated}"),
                next: Cow::Borrowed(OUTDATED_NEXT),
            })
        })?
    }

    /// Refuses what is not to be served, as far as its name tells. Copies of what is in quarantine are kept like others: it may be served again.
    pub(super) fn check_blocks(&self, request: &Request, asker: Asker) -> Result<(), ServeError> {
        if asker == Asker::Client
            && let Some(outdated) = self.outdated(request.module())
        {
            return Err(outdated);
        }
        let gravest = if asker == Asker::Keeper { MarkKind::TakenDown } else { MarkKind::Quarantined };
        let block = match request {
            Request::List(module) | Request::Latest(module) | Request::Info(module, Query::Revision(_)) => {
                self.block(module, None, MarkKind::Quarantined)
            }
            Request::Info(module, Query::Version(version)) => {
                self.block(module, Some(version.as_str()), gravest)
            }
            // Asked for of every version in a module graph, also of those that are never built (protocol.md 44).
            Request::Mod(version) => {
                self.block(&version.module, Some(version.version.as_str()), MarkKind::TakenDown)
            }
            Request::Zip(version) => self.block(&version.module, Some(version.version.as_str()), gravest),
        };
        block.map_or(Ok(()), Err)
    }

    /// Whether a version is to be nowhere.
    pub(super) fn is_taken_down(&self, version: &ModuleVersion) -> bool {
        self.block(&version.module, Some(version.version.as_str()), MarkKind::TakenDown).is_some()
    }

    /// Why something is not to be served, if it is as grave as `least`.
    fn block(&self, module: &ModulePath, version: Option<&str>, least: MarkKind) -> Option<ServeError> {
        let mark = self.layers.peers.marks(|marks| marks.block(module.as_str(), version).cloned())??;
        if mark.kind < least {
            return None;
        }
        Some(refusal(&mark, version, self.is_private(module)))
    }

    /// An answer that may change, without versions that are not to be served.
    pub(super) async fn without_blocked(
        self: &Arc<Self>,
        request: Request,
        answer: Answer,
        mode: Mode,
        asker: Asker,
    ) -> Result<Answer, ServeError> {
        let Answer::Ready { ready, cache } = answer else { return Ok(answer) };
        let module = request.module().clone();
        match &request {
            Request::List(_) => {
                let list = self.served_of(&module, &ready);
                Ok(Answer::Ready { ready: self.reshaped(Kind::List, list.render(), &ready), cache })
            }
            Request::Latest(_) => self.latest_served(&module, ready, cache, mode, asker).await,
            Request::Info(..) | Request::Mod(_) | Request::Zip(_) => {
                let block = version_in(&ready)
                    .and_then(|version| self.block(&module, Some(&version), MarkKind::Quarantined));
                block.map_or(Ok(Answer::Ready { ready, cache }), Err)
            }
        }
    }

    /// The latest version that is served: that which the origin names, else the latest of its list.
    async fn latest_served(
        self: &Arc<Self>,
        module: &ModulePath,
        ready: Arc<Ready>,
        cache: Cache,
        mode: Mode,
        asker: Asker,
    ) -> Result<Answer, ServeError> {
        let Some(block) =
            version_in(&ready).and_then(|version| self.block(module, Some(&version), MarkKind::Quarantined))
        else {
            return Ok(Answer::Ready { ready, cache });
        };
        let listed = self.passing(Request::List(module.clone()), mode, asker).await;
        let Ok(Answer::Ready { ready: listed, .. }) = listed else { return Err(block) };
        let list = self.served_of(module, &listed);
        let Some(latest) = list.latest() else { return Err(block) };
        let info = Request::Info(module.clone(), Query::Version(latest.clone()));
        let Answer::Ready { ready: info, cache } = self.text(info, mode, asker).await? else {
            return Err(block);
        };
        let body = info.content.bytes().ok_or(block)?;
        Ok(Answer::Ready { ready: self.reshaped(Kind::Latest, body, &listed), cache })
    }

    /// The versions of a list that are served.
    fn served_of(&self, module: &ModulePath, list: &Ready) -> VersionList {
        let body = list.content.bytes().unwrap_or_default();
        let Ok(list) = VersionList::parse_upstream(&body, module) else {
            return VersionList::new([], module);
        };
        let served = |version: &&gomod::Version| {
            self.block(module, Some(version.as_str()), MarkKind::Quarantined).is_none()
        };
        VersionList::new(list.versions().iter().filter(served).cloned(), module)
    }

    /// Other content in the place of an answer that may change, as old as that.
    fn reshaped(&self, kind: Kind, body: bytes::Bytes, before: &Ready) -> Arc<Ready> {
        let fetched_us = match &before.lifetime {
            Lifetime::Immutable => self.now_us(),
            Lifetime::Until(until) => until.fetched_us,
        };
        let answer = CachedAnswer { body, fetched_us, status: 200 };
        let lifetime = self.settings.list_lifetime;
        prepare::passing(kind, &answer, self.monotonic(), self.now_us(), lifetime, before.private)
    }
}

/// The version that an `.info` names.
fn version_in(ready: &Ready) -> Option<String> {
    let info = Info::parse(ready.content.bytes()?).ok()?;
    Some(info.version().to_string())
}

fn refusal(mark: &Mark, version: Option<&str>, private: bool) -> ServeError {
    let what = match version {
        Some(version) => format!("{}@{version}", mark.about.module()),
        None => mark.about.module().to_owned(),
    };
    let said = match mark.kind {
        MarkKind::TakenDown => "it was taken down here",
        MarkKind::Quarantined => "it is in quarantine here",
        MarkKind::Pinned => "it is not served here",
    };
    let why = match &mark.why {
        Some(why) => format!("{said}: {why}"),
        None => said.to_owned(),
    };
    // Of private modules nobody is told more than that he may not have it.
    if mark.kind == MarkKind::TakenDown && !private {
        ServeError::Gone { what: what.into(), why }
    } else {
        ServeError::Refused { what: what.into(), why, next: Cow::Borrowed(NEXT) }
    }
}

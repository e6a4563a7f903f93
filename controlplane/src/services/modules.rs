//! Modules on all data nodes together: shown, warmed, purged, verified, marked.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster::command::{ClearMark, PutMark, RecordDeed};
use cluster::record::{MarkKind, Marked};
use cluster::{Command, Name, NodeName, Note, Role, Slot};
use futures_util::StreamExt as _;
use gomod::{ModulePath, ModuleVersion, Version};
use proto::control::v1 as pb;
use proto::control::v1::module_service_server::ModuleService;
use proto::data::v1 as data;
use proto::limits::{PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX};
use proto::{ErrorCode, Fault};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::convert::{Options, options, parse};
use super::page::page;
use super::publish;
use super::stream::Answers;
use super::versions::{self, NodePage, asked_kind, marks_of, merge};
use super::{Came, Desk, deadline};
use crate::authorize::Operator;
use crate::data_nodes::{DataNodes, Told};

/// Versions warmed at a time.
const WARM_AT_ONCE: usize = 8;
/// Versions that one request may ask to be warmed.
const WARM_MAX: usize = 20_000;
/// Versions that are looked at of one module.
const SHOWN_MAX: usize = 100_000;
/// How long one version may take, however large.
const VERSION_TIMEOUT: Duration = Duration::from_mins(10);

pub(crate) struct Modules(pub(crate) Desk);

#[tonic::async_trait]
impl ModuleService for Modules {
    type WarmVersionsStream = Answers<pb::WarmVersionsResponse>;
    type VerifyModuleStream = Answers<pb::VerifyModuleResponse>;

    async fn list_versions(
        &self,
        request: Request<pb::ListVersionsRequest>,
    ) -> Result<Response<pb::ListVersionsResponse>, Status> {
        self.0.viewer(&request).await?;
        let until = deadline(&request);
        let pb::ListVersionsRequest { pattern, page_size, page_token } = request.into_inner();
        let size = match page_size {
            0 => PAGE_SIZE_DEFAULT,
            size => size.min(PAGE_SIZE_MAX),
        };
        let asked = data::ListVersionsRequest { pattern, page_size: size, page_token, ..Default::default() };
        let (pages, unreachable_nodes) = self.pages(asked, until).await?;
        let (mut versions, next_page_token) = merge(pages, size as usize);
        self.mark_all(&mut versions);
        Ok(Response::new(pb::ListVersionsResponse { versions, next_page_token, unreachable_nodes }))
    }

    async fn get_module(
        &self,
        request: Request<pb::GetModuleRequest>,
    ) -> Result<Response<pb::GetModuleResponse>, Status> {
        self.0.viewer(&request).await?;
        let until = deadline(&request);
        let about = About::read(&request.get_ref().module_path, &request.get_ref().version)?;
        let (mut versions, unreachable_nodes) = self.versions_of(&about, until).await?;
        self.mark_all(&mut versions);
        versions.sort_by_cached_key(|version| Version::parse(&version.version).ok());
        let left_out = versions::leave_out(&mut versions);
        let module_path = about.module.to_string();
        let (owners, marks) = self.0.control.shared.read(|state| {
            let layout = crate::placement::current(state.tables());
            let owners = layout.map(|layout| layout.replicas(Slot::of(&module_path)).to_vec());
            (owners.unwrap_or_default(), marks_of(&state.tables().marks, &module_path, None))
        });
        Ok(Response::new(pb::GetModuleResponse {
            slot: u32::from(Slot::of(&module_path).number()),
            owners: owners.iter().map(ToString::to_string).collect(),
            module_path,
            versions,
            marks,
            unreachable_nodes,
            left_out_count: u32::try_from(left_out).unwrap_or(u32::MAX),
        }))
    }

    async fn warm_versions(
        &self,
        request: Request<pb::WarmVersionsRequest>,
    ) -> Result<Response<Self::WarmVersionsStream>, Status> {
        let operator = self.0.control.gate.operator(&request, Role::Operator)?;
        let until = deadline(&request);
        let pb::WarmVersionsRequest { options: asked, items } = request.into_inner();
        if items.len() > WARM_MAX {
            let text = format!("{} versions are over the limit of {WARM_MAX}", items.len());
            return Err(Fault::new(ErrorCode::TooLarge, text).into());
        }
        let options = options(asked)?;
        let subject = match &items[..] {
            [one] => format!("{}@{}", one.module_path, one.version),
            items => format!("{} versions", items.len()),
        };
        let dry_run = options.dry_run;
        self.note(operator, options, "warm-modules", &subject, until).await?;
        let (answers, stream) = mpsc::channel(1);
        if !dry_run {
            let nodes = Arc::clone(&self.0.control.data_nodes);
            tokio::spawn(async move {
                let warming = items.into_iter().map(|item| warm(&nodes, item));
                let mut warming = futures_util::stream::iter(warming).buffer_unordered(WARM_AT_ONCE);
                while let Some(answer) = warming.next().await {
                    if answers.send(Ok(answer)).await.is_err() {
                        return;
                    }
                }
            });
        }
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn publish_version(
        &self,
        request: Request<Streaming<pb::PublishVersionRequest>>,
    ) -> Result<Response<pb::PublishVersionResponse>, Status> {
        publish::publish(&self.0, request).await.map(Response::new)
    }

    async fn purge_module(
        &self,
        request: Request<pb::PurgeModuleRequest>,
    ) -> Result<Response<pb::PurgeModuleResponse>, Status> {
        let operator = self.0.control.gate.operator(&request, Role::Operator)?;
        let until = deadline(&request);
        let request = request.into_inner();
        let about = About::read(&request.module_path, &request.version)?;
        let options = options(request.options)?;
        let dry_run = options.dry_run;
        self.0.control.read_latest(until).await?;
        self.refuse_published(&about)?;
        self.note(operator, options, "purge-module", &about.to_string(), until).await?;
        // What was published before that was noted, and after the first look.
        self.refuse_published(&about)?;
        let results = if dry_run { Vec::new() } else { self.purge(&about, false, until).await };
        Ok(Response::new(pb::PurgeModuleResponse { results }))
    }

    async fn verify_module(
        &self,
        request: Request<pb::VerifyModuleRequest>,
    ) -> Result<Response<Self::VerifyModuleStream>, Status> {
        let operator = self.0.control.gate.operator(&request, Role::Operator)?;
        let until = deadline(&request);
        let request = request.into_inner();
        let about = About::read(&request.module_path, &request.version)?;
        let options = options(request.options)?;
        let dry_run = options.dry_run;
        self.note(operator, options, "verify-module", &about.to_string(), until).await?;
        let (versions, unreachable) = self.versions_of(&about, until).await?;
        let (answers, stream) = mpsc::channel(1);
        if !dry_run {
            let nodes = Arc::clone(&self.0.control.data_nodes);
            tokio::spawn(async move {
                for node in unreachable {
                    let problems = vec!["the node cannot be asked".to_owned()];
                    let answer = pb::VerifyModuleResponse { node, problems, ..Default::default() };
                    if answers.send(Ok(answer)).await.is_err() {
                        return;
                    }
                }
                for version in versions {
                    for copy in &version.copies {
                        let answer = verify(&nodes, &version, &copy.node).await;
                        if answers.send(Ok(answer)).await.is_err() {
                            return;
                        }
                    }
                }
            });
        }
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn mark_module(
        &self,
        request: Request<pb::MarkModuleRequest>,
    ) -> Result<Response<pb::MarkModuleResponse>, Status> {
        let kind = wanted_kind(request.get_ref().kind())?;
        let operator = self.0.control.gate.operator(&request, least_role(kind))?;
        let until = deadline(&request);
        let request = request.into_inner();
        let about = About::read(&request.module_path, &request.version)?;
        let options = options(request.options)?;
        let command = Command::PutMark(PutMark { about: about.marked()?, kind });
        let came = self.0.carry_out(operator, options, command, until).await?;
        if kind == MarkKind::TakenDown && matches!(came, Came::Made(_)) {
            // The mark alone keeps it from being served; what cannot be removed now is only in the way.
            let results = self.purge(&about, true, until).await;
            for result in results.iter().filter(|result| !result.problem.is_empty()) {
                tracing::warn!(
                    node = result.node,
                    "what was taken down is not served, but could not be removed yet"
                );
            }
        }
        let mark = self.find(&about.marked()?, kind);
        Ok(Response::new(pb::MarkModuleResponse { mark }))
    }

    async fn unmark_module(
        &self,
        request: Request<pb::UnmarkModuleRequest>,
    ) -> Result<Response<pb::UnmarkModuleResponse>, Status> {
        let kind = wanted_kind(request.get_ref().kind())?;
        let operator = self.0.control.gate.operator(&request, least_role(kind))?;
        let until = deadline(&request);
        let request = request.into_inner();
        let about = About::read(&request.module_path, &request.version)?.marked()?;
        let options = options(request.options)?;
        self.0.control.read_latest(until).await?;
        let mark = self.find(&about, kind);
        let command = Command::ClearMark(ClearMark { about, kind });
        self.0.carry_out(operator, options, command, until).await?;
        Ok(Response::new(pb::UnmarkModuleResponse { mark }))
    }

    async fn list_marks(
        &self,
        request: Request<pb::ListMarksRequest>,
    ) -> Result<Response<pb::ListMarksResponse>, Status> {
        self.0.viewer(&request).await?;
        let request = request.into_inner();
        let kind = asked_kind(request.kind());
        let page = self.0.control.shared.read(|state| {
            let marks = state.tables().marks.iter();
            let wanted = marks.filter(|((of, _), _)| kind.is_none_or(|kind| kind == *of));
            let shown = wanted.map(|((kind, about), mark)| {
                // Short enough for a page's token, whatever the module is called.
                let key = cluster::Hash::of(format!("{}/{about}", kind.name()).as_bytes());
                (key, versions::mark(mark))
            });
            page(shown, request.page_size, &request.page_token)
        })?;
        Ok(Response::new(pb::ListMarksResponse { marks: page.entries, next_page_token: page.next }))
    }
}

impl Modules {
    /// Writes into the audit trail what data nodes are about to do.
    async fn note(
        &self,
        operator: Operator,
        options: Options,
        deed: &str,
        subject: &str,
        until: Instant,
    ) -> Result<(), Fault> {
        note(&self.0, operator, options, deed, subject, until).await
    }

    /// The same page of all nodes; beside it the names of those that could not be asked.
    async fn pages(
        &self,
        asked: data::ListVersionsRequest,
        until: Instant,
    ) -> Result<(Vec<NodePage>, Vec<String>), Fault> {
        let nodes = &self.0.control.data_nodes;
        let told = nodes.ask_all(nodes.names(), until, |mut node| {
            let asked = asked.clone();
            async move { node.list_versions(asked).await }
        });
        let (mut pages, mut unreachable) = (Vec::new(), Vec::new());
        for (node, told) in told.await {
            match told {
                Ok(page) => {
                    pages.push(NodePage { node, versions: page.versions, next: page.next_page_token });
                }
                Err(fault) if fault.code == ErrorCode::InvalidArgument => return Err(fault),
                Err(fault) => {
                    tracing::debug!(%node, %fault, "a node does not say what it holds");
                    unreachable.push(node.to_string());
                }
            }
        }
        Ok((pages, unreachable))
    }

    /// What all nodes hold of a module, or of one version of it.
    async fn versions_of(
        &self,
        about: &About,
        until: Instant,
    ) -> Result<(Vec<pb::ModuleVersion>, Vec<String>), Fault> {
        let (mut all, mut token) = (Vec::new(), String::new());
        loop {
            let asked = data::ListVersionsRequest {
                module_path: about.module.to_string(),
                page_size: PAGE_SIZE_MAX,
                page_token: token,
                ..Default::default()
            };
            let (pages, unreachable) = self.pages(asked, until).await?;
            let (versions, next) = merge(pages, PAGE_SIZE_MAX as usize);
            all.extend(versions.into_iter().filter(|version| about.is_of(&version.version)));
            token = next;
            if token.is_empty() || all.len() >= SHOWN_MAX {
                all.truncate(SHOWN_MAX);
                return Ok((all, unreachable));
            }
        }
    }

    /// Refuses to remove what nobody could fetch again.
    fn refuse_published(&self, about: &About) -> Result<(), Fault> {
        let first = about.marked()?;
        let published = self.0.control.shared.read(|state| {
            let bindings = state.tables().bindings.range(first.clone()..);
            let mut of_module = bindings.take_while(|(of, _)| of.as_str().starts_with(first.as_str()));
            of_module
                .find(|(of, _)| {
                    of.module() == about.module.as_str() && about.is_of(of.version().unwrap_or_default())
                })
                .map(|(of, _)| of.clone())
        });
        published.map_or(Ok(()), |version| {
            Err(Fault::new(
                ErrorCode::WrongState,
                format!("{version} was published here, and can be fetched from nowhere else"),
            )
            .hint("take it down, if it is to go for good"))
        })
    }

    /// Removes it everywhere, and once more, since a node may have taken a copy from another one in between; what was `published` only if
    /// that is said.
    async fn purge(&self, about: &About, published: bool, until: Instant) -> Vec<pb::PurgeResult> {
        let nodes = &self.0.control.data_nodes;
        let mut results: Vec<pb::PurgeResult> = Vec::new();
        for _ in 0..2 {
            let told: Vec<Told<data::RemoveVersionsResponse>> = nodes
                .ask_all(nodes.names(), until, |mut node| {
                    let version = about.version.as_ref().map(ToString::to_string).unwrap_or_default();
                    let module_path = about.module.to_string();
                    let asked = data::RemoveVersionsRequest { module_path, version, published };
                    async move { node.remove_versions(asked).await }
                })
                .await;
            for (node, told) in told {
                let node = node.to_string();
                let at = results.iter().position(|result| result.node == node);
                let at = at.unwrap_or_else(|| {
                    results.push(pb::PurgeResult { node, ..Default::default() });
                    results.len() - 1
                });
                let Some(result) = results.get_mut(at) else { continue };
                match told {
                    Ok(removed) => {
                        result.version_count = result.version_count.max(removed.version_count);
                        result.freed_bytes += removed.freed_bytes;
                        result.problem.clear();
                    }
                    Err(fault) => result.problem = fault.to_string(),
                }
            }
        }
        results
    }

    fn mark_all(&self, versions: &mut [pb::ModuleVersion]) {
        self.0.control.shared.read(|state| {
            let marks = &state.tables().marks;
            if marks.is_empty() {
                return;
            }
            for version in versions {
                version.marks = marks_of(marks, &version.module_path, Some(&version.version));
                version.marks.extend(marks_of(marks, &version.module_path, None));
                versions::retain(version);
            }
        });
    }

    fn find(&self, about: &Marked, kind: MarkKind) -> Option<pb::Mark> {
        let key = (kind, about.clone());
        self.0.control.shared.read(|state| state.tables().marks.get(&key).map(versions::mark))
    }
}

/// Writes into the audit trail what data nodes are about to do, or only looks whether that may be.
pub(super) async fn note(
    desk: &Desk,
    operator: Operator,
    options: Options,
    deed: &str,
    subject: &str,
    until: Instant,
) -> Result<(), Fault> {
    let deed: Name = parse("deed", deed)?;
    let subject = Note::lossy(subject)
        .ok_or_else(|| Fault::new(ErrorCode::InvalidArgument, "there is nothing to do it to"))?;
    desk.carry_out(operator, options, Command::RecordDeed(RecordDeed { deed, subject }), until).await?;
    Ok(())
}

/// What a request is about: a module, or one version.
pub(super) struct About {
    pub(super) module: ModulePath,
    pub(super) version: Option<Version>,
}

impl About {
    pub(super) fn read(module: &str, version: &str) -> Result<Self, Fault> {
        let bad = |what: &str, text: &str, error: &dyn std::fmt::Display| {
            Fault::new(ErrorCode::InvalidArgument, format!("{what} {text:?}: {error}"))
        };
        let path = ModulePath::parse(module).map_err(|error| bad("module", module, &error))?;
        if version.is_empty() {
            return Ok(Self { module: path, version: None });
        }
        let parsed = Version::parse(version).map_err(|error| bad("version", version, &error))?;
        let whole = ModuleVersion::new(path, parsed).map_err(|error| bad("version", version, &error))?;
        Ok(Self { module: whole.module, version: Some(whole.version) })
    }

    fn is_of(&self, version: &str) -> bool {
        self.version.as_ref().is_none_or(|wanted| wanted.as_str() == version)
    }

    fn marked(&self) -> Result<Marked, Fault> {
        parse("module", &self.to_string())
    }
}

impl std::fmt::Display for About {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.version {
            Some(version) => write!(f, "{}@{version}", self.module),
            None => write!(f, "{}", self.module),
        }
    }
}

fn wanted_kind(kind: pb::MarkKind) -> Result<MarkKind, Fault> {
    asked_kind(kind).ok_or_else(|| Fault::new(ErrorCode::InvalidArgument, "kind is not set"))
}

const fn least_role(kind: MarkKind) -> Role {
    match kind {
        MarkKind::Pinned | MarkKind::Quarantined => Role::Operator,
        MarkKind::TakenDown => Role::Admin,
    }
}

/// Has the first node that can be asked fetch a version: who is to hold it first, then any.
async fn warm(nodes: &DataNodes, item: pb::WarmItem) -> pb::WarmVersionsResponse {
    let mut answer = pb::WarmVersionsResponse::default();
    if let Err(fault) = About::read(&item.module_path, &item.version) {
        return pb::WarmVersionsResponse { item: Some(item), problem: fault.to_string(), ..answer };
    }
    let name = data::VersionName { module_path: item.module_path.clone(), version: item.version.clone() };
    for node in nodes.near(&item.module_path) {
        let asked = data::WarmVersionRequest { name: Some(name.clone()), go_mod_only: item.go_mod_only };
        let until = Instant::now() + VERSION_TIMEOUT;
        let told = nodes.ask(&node, until, |mut node| async move { node.warm_version(asked).await }).await;
        answer.node = node.to_string();
        match told {
            Ok(warmed) => {
                answer.problem = mismatch(&item, &warmed).unwrap_or_default();
                (answer.was_held, answer.bytes) = (warmed.was_held, warmed.bytes);
                break;
            }
            Err(fault) => {
                let elsewhere = matches!(fault.code, ErrorCode::Unavailable | ErrorCode::Deadline);
                answer.problem = fault.to_string();
                if !elsewhere {
                    break;
                }
            }
        }
    }
    if answer.node.is_empty() {
        "there is no data node".clone_into(&mut answer.problem);
    }
    pb::WarmVersionsResponse { item: Some(item), ..answer }
}

/// What came, against what was said that it must be.
fn mismatch(item: &pb::WarmItem, warmed: &data::WarmVersionResponse) -> Option<String> {
    let compare = |what: &str, wanted: &str, found: &str| {
        let differ = !wanted.is_empty() && !found.is_empty() && wanted != found;
        differ.then(|| format!("its {what} is {found}, not {wanted}"))
    };
    compare("zip", &item.zip_h1, &warmed.zip_h1)
        .or_else(|| compare("go.mod", &item.go_mod_h1, &warmed.go_mod_h1))
}

async fn verify(nodes: &DataNodes, version: &pb::ModuleVersion, node: &str) -> pb::VerifyModuleResponse {
    let mut answer = pb::VerifyModuleResponse {
        node: node.to_owned(),
        version: version.version.clone(),
        ..Default::default()
    };
    let name =
        data::VersionName { module_path: version.module_path.clone(), version: version.version.clone() };
    let asked = data::VerifyVersionRequest { name: Some(name) };
    let Ok(node) = NodeName::parse(node) else { return answer };
    let until = Instant::now() + VERSION_TIMEOUT;
    match nodes.ask(&node, until, |mut node| async move { node.verify_version(asked).await }).await {
        Ok(found) => {
            answer.bytes = found.bytes;
            let verdict = match found.checksum_database() {
                data::ChecksumVerdict::Listed => "listed",
                data::ChecksumVerdict::NotAsked => "not-asked",
                data::ChecksumVerdict::Refused => "refused",
                data::ChecksumVerdict::Unavailable => "unavailable",
                data::ChecksumVerdict::Unspecified => "",
            };
            verdict.clone_into(&mut answer.checksum_database);
            answer.problems = found.problems;
        }
        Err(fault) => answer.problems.push(fault.to_string()),
    }
    answer
}

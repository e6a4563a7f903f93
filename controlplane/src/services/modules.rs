//! Modules on all data nodes together: shown, warmed, purged, verified, marked.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster::command::{ClearMark, PutMark, RecordDeed};
use cluster::record::{MarkKind, Marked};
use cluster::{Command, IdempotencyKey, Name, NodeName, Note, Role, Slot};
use futures_util::StreamExt as _;
use gomod::Version;
use proto::control::v1 as pb;
use proto::control::v1::module_service_server::ModuleService;
use proto::data::v1 as data;
use proto::limits::{PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX};
use proto::{ErrorCode, Fault};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::about::About;
use super::convert::{Options, options, parse, subject};
use super::heard::not_heard;
use super::page::page;
use super::publish;
use super::removal::Removal;
use super::stream::Answers;
use super::verify::{self, verify};
use super::versions::{self, NodePage, asked_kind, marks_of, merge};
use super::warm::warm;
use super::{Came, Desk, deadline};
use crate::authorize::Operator;
use crate::propose::Done;

/// Versions warmed at a time.
const WARM_AT_ONCE: usize = 8;
/// Versions that one request may ask to be warmed.
const WARM_MAX: usize = 20_000;
/// Versions that are looked at of one module.
const SHOWN_MAX: usize = 100_000;
/// How long one version may take, however large.
pub(super) const VERSION_TIMEOUT: Duration = Duration::from_mins(10);

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
        let results = if dry_run {
            Vec::new()
        } else {
            let mut removal = Removal::of(&self.0.control.data_nodes, &about, false);
            removal.begin(until).await;
            removal.make_sure(until).await
        };
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
        if versions.is_empty() && unreachable.is_empty() {
            let fault = Fault::new(ErrorCode::NotFound, format!("no node holds anything of {about}"));
            return Err(fault.about(subject("module", &about)).into());
        }
        let (answers, stream) = mpsc::channel(1);
        if !dry_run {
            let nodes = Arc::clone(&self.0.control.data_nodes);
            tokio::spawn(async move {
                for node in unreachable {
                    if answers.send(Ok(verify::unreachable(node))).await.is_err() {
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
        let key = options.key.clone();
        let command = Command::PutMark(PutMark { about: about.marked()?, kind });
        let came = self.0.carry_out(operator, options, command, until).await?;
        let (behind, results) = match came {
            Came::Made(done) => self.spread(&about, kind, self.made(done, key.as_ref()), until).await,
            Came::WouldBe(_) => (Vec::new(), Vec::new()),
        };
        Ok(Response::new(pb::MarkModuleResponse {
            mark: self.find(&about.marked()?, kind),
            behind_nodes: behind.iter().map(ToString::to_string).collect(),
            results,
        }))
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

    /// What all nodes hold of a module, or of one version of it; beside it the names of those that could not be asked for all of it.
    async fn versions_of(
        &self,
        about: &About,
        until: Instant,
    ) -> Result<(Vec<pb::ModuleVersion>, Vec<String>), Fault> {
        let pages = |page_token| {
            let asked = data::ListVersionsRequest {
                module_path: about.module.to_string(),
                page_size: PAGE_SIZE_MAX,
                page_token,
                ..Default::default()
            };
            self.pages(asked, until)
        };
        all_pages(about, pages).await
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

    /// The state that a change made. One that was asked for again was made before.
    fn made(&self, done: Done, key: Option<&IdempotencyKey>) -> u64 {
        let remembered = self.0.control.shared.read(|state| {
            let before = state.tables().remembered.get(key?)?;
            Some(before.revision.get())
        });
        remembered.unwrap_or(done.index)
    }

    /// Waits until data nodes have heard that something is not to be served, and has them remove what was taken down: those that have not
    /// heard, and what came of removing it.
    async fn spread(
        &self,
        about: &About,
        kind: MarkKind,
        revision: u64,
        until: Instant,
    ) -> (Vec<NodeName>, Vec<pb::PurgeResult>) {
        let control = &self.0.control;
        match kind {
            MarkKind::Pinned => (Vec::new(), Vec::new()),
            MarkKind::Quarantined => (not_heard(control, revision, until).await, Vec::new()),
            MarkKind::TakenDown => {
                let mut removal = Removal::of(&control.data_nodes, about, true);
                let (behind, ()) = tokio::join!(not_heard(control, revision, until), removal.begin(until));
                // Nobody who has heard takes a copy any more. What cannot be removed is only in the way: a node that hears of it later
                // removes it then.
                (behind, removal.make_sure(until).await)
            }
        }
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

/// Asks all nodes for page after page. A node that was not there for one of them is named, though it may be for the next.
async fn all_pages<F>(
    about: &About,
    pages: impl Fn(String) -> F,
) -> Result<(Vec<pb::ModuleVersion>, Vec<String>), Fault>
where
    F: Future<Output = Result<(Vec<NodePage>, Vec<String>), Fault>>,
{
    let (mut all, mut unreachable) = (Vec::new(), BTreeSet::new());
    let mut token = String::new();
    loop {
        let (pages, silent) = pages(token).await?;
        unreachable.extend(silent);
        let (versions, next) = merge(pages, PAGE_SIZE_MAX as usize);
        all.extend(versions.into_iter().filter(|version| about.is_of(&version.version)));
        token = next;
        if token.is_empty() || all.len() >= SHOWN_MAX {
            all.truncate(SHOWN_MAX);
            return Ok((all, unreachable.into_iter().collect()));
        }
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

fn wanted_kind(kind: pb::MarkKind) -> Result<MarkKind, Fault> {
    asked_kind(kind).ok_or_else(|| Fault::new(ErrorCode::InvalidArgument, "kind is not set"))
}

const fn least_role(kind: MarkKind) -> Role {
    match kind {
        MarkKind::Pinned | MarkKind::Quarantined => Role::Operator,
        MarkKind::TakenDown => Role::Admin,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_node_that_missed_one_page_is_named_though_it_gave_the_others() {
        let about = About::read("a.example/m", "").unwrap();
        let page = async |token: String| {
            let (version, next, silent) = match token.as_str() {
                "" => ("v1.0.0", "a.example/m@v1.0.0", vec!["data-3".to_owned(), "data-2".to_owned()]),
                "a.example/m@v1.0.0" => ("v1.1.0", "a.example/m@v1.1.0", vec!["data-2".to_owned()]),
                _ => ("v1.2.0", "", Vec::new()),
            };
            let name =
                data::VersionName { module_path: "a.example/m".to_owned(), version: version.to_owned() };
            let versions = vec![data::StoredVersion { name: Some(name), ..Default::default() }];
            let node = NodeName::parse("data-1").unwrap();
            Ok((vec![NodePage { node, versions, next: next.to_owned() }], silent))
        };
        let (versions, unreachable) = all_pages(&about, page).await.unwrap();
        let versions: Vec<_> = versions.iter().map(|version| version.version.as_str()).collect();
        assert_eq!(versions, ["v1.0.0", "v1.1.0", "v1.2.0"]);
        assert_eq!(unreachable, ["data-2", "data-3"]);
    }
}

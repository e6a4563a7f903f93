//! `module`.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::ops::ControlFlow;
use std::path::Path;

use proto::control::v1::module_service_client::ModuleServiceClient;
use proto::control::v1::{
    GetModuleRequest, ListMarksRequest, ListVersionsRequest, ListVersionsResponse, Mark, MarkKind,
    MarkModuleRequest, MarkModuleResponse, ModuleVersion, PurgeModuleRequest, UnmarkModuleRequest,
    VerifyModuleRequest, VerifyModuleResponse, WarmItem, WarmVersionsRequest, WarmVersionsResponse,
};
use serde::Serialize;

use super::context::{dry_run_note, options, pages};
use super::{Context, Outcome, rpc};
use crate::args::module::{Destroy, Say, Verb, Warm};
use crate::args::shared::Mutation;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::go_sum;
use crate::output::Answer;
use crate::view;

/// Bytes of a go.sum file that is read: a hundred times that of a large program.
const GO_SUM_BYTES_MAX: u64 = 16 << 20;

pub(super) async fn run(context: &Context, verb: Verb) -> Outcome {
    match verb {
        Verb::List { pattern, newest } => list(context, pattern, newest.limit).await.map(Some),
        Verb::Show { module } => show(context, &module).await.map(Some),
        Verb::Warm(warm) => self::warm(context, warm).await,
        Verb::Publish(publish) => super::publish::publish(context, publish).await,
        Verb::Purge(destroy) => purge(context, destroy).await.map(Some),
        Verb::Pin(say) => mark(context, say, MarkKind::Pinned).await.map(Some),
        Verb::Unpin(say) => unmark(context, say, MarkKind::Pinned).await.map(Some),
        Verb::Quarantine { lift: false, say } => mark(context, say, MarkKind::Quarantined).await.map(Some),
        Verb::Quarantine { lift: true, say } => unmark(context, say, MarkKind::Quarantined).await.map(Some),
        Verb::Verify { module, mutation } => verify(context, &module, &mutation).await.map(Some),
        Verb::Takedown { lift, destroy } => take_down(context, lift, destroy).await.map(Some),
        Verb::Marks { newest } => marks(context, newest.limit).await.map(Some),
    }
}

/// A module's path, and a version if one is named.
pub(super) fn split(text: &str) -> (String, String) {
    let (module, version) = text.split_once('@').unwrap_or((text, ""));
    (module.to_owned(), version.to_owned())
}

#[derive(Serialize)]
struct Versions {
    versions: Vec<ModuleVersion>,
    unreachable_nodes: Vec<String>,
}

async fn list(context: &Context, pattern: String, limit: usize) -> Result<Answer, Failure> {
    let listed = all_versions(limit, async |page_size, page_token| {
        let request = ListVersionsRequest { pattern: pattern.clone(), page_size, page_token };
        context.read(request, rpc!(ModuleServiceClient::list_versions)).await
    });
    let listed = listed.await?;
    let page = view::module::list(&listed.versions);
    let note = not_asked(&listed.unreachable_nodes);
    Ok(Answer::new(listed, page).notes(note))
}

/// The versions of all pages. A node that was not there for one of them is named, though it may be for the next.
async fn all_versions(
    limit: usize,
    ask: impl AsyncFn(u32, String) -> Result<ListVersionsResponse, Failure>,
) -> Result<Versions, Failure> {
    let unreachable = RefCell::new(BTreeSet::new());
    let versions = pages(limit, async |page_size, page_token| {
        let page = ask(page_size, page_token).await?;
        unreachable.borrow_mut().extend(page.unreachable_nodes);
        Ok((page.versions, page.next_page_token))
    });
    let versions = versions.await?;
    Ok(Versions { versions, unreachable_nodes: unreachable.into_inner().into_iter().collect() })
}

fn not_asked(nodes: &[String]) -> Option<String> {
    (!nodes.is_empty()).then(|| format!("not asked, since they cannot be reached: {}", nodes.join(", ")))
}

async fn show(context: &Context, module: &str) -> Result<Answer, Failure> {
    let (module_path, version) = split(module);
    let request = GetModuleRequest { module_path, version };
    let told = context.read(request, rpc!(ModuleServiceClient::get_module)).await?;
    let page = view::module::one(&told);
    let note = not_asked(&told.unreachable_nodes);
    let older = (told.left_out_count > 0)
        .then(|| format!("{} older versions are left out; `module list` has them all", told.left_out_count));
    Ok(Answer::new(told, page).notes(note).notes(older))
}

#[derive(Serialize)]
struct Warmed {
    results: Vec<WarmVersionsResponse>,
    failed: usize,
}

async fn warm(context: &Context, warm: Warm) -> Outcome {
    let mut items = Vec::new();
    for text in &warm.versions {
        let (module_path, version) = split(text);
        if version.is_empty() {
            return Err(Failure::usage(
                format!("{text} names no version"),
                "name one, as in `MODULE@v1.2.3`",
            ));
        }
        items.push(WarmItem { module_path, version, ..WarmItem::default() });
    }
    if let Some(path) = &warm.go_sum {
        items.extend(read_go_sum(path)?);
    }
    let total = items.iter().map(key_of).collect::<BTreeSet<_>>().len();
    let request = WarmVersionsRequest { options: Some(options(&warm.mutation)?), items };
    // By what each is about: when a stream breaks, all of it is asked for once more, and what is said then holds.
    let mut latest: BTreeMap<_, WarmVersionsResponse> = BTreeMap::new();
    let mut bytes = 0;
    let progress = context.screen.progress();
    let watched = context.watch(request, rpc!(ModuleServiceClient::warm_versions), |result| {
        let key = key_of(&result.item.clone().unwrap_or_default());
        let before = latest.insert(key, result.clone());
        bytes += result.bytes;
        bytes -= before.as_ref().map_or(0, |before| before.bytes);
        if warm.watch && before.is_none_or(|before| before.problem != result.problem) {
            let page = view::module::warmed(std::slice::from_ref(&result));
            context.screen.frame(&Answer::new(result, page))?;
        }
        progress.count("warm", latest.len() as u64, total as u64, &view::bytes(bytes));
        Ok(ControlFlow::Continue(()))
    });
    let watched = watched.await;
    progress.end();
    watched?;
    let results: Vec<_> = latest.into_values().collect();
    let failed = results.iter().filter(|result| !result.problem.is_empty()).count();
    let exit = ending(failed, results.len());
    if warm.watch {
        let all = Answer::new(Warmed { results: Vec::new(), failed }, view::module::count(failed, total));
        // The results were shown; how it ended is all that is left to say.
        return if failed == 0 { Ok(None) } else { Ok(Some(all.ending(exit))) };
    }
    let page = view::module::warmed(&results);
    let note = dry_run_note(&warm.mutation);
    Ok(Some(Answer::new(Warmed { results, failed }, page).notes(note).ending(exit)))
}

/// What a result is about.
fn key_of(item: &WarmItem) -> (String, String, bool) {
    (item.module_path.clone(), item.version.clone(), item.go_mod_only)
}

/// How a command ends some of whose parts failed.
pub(super) fn ending(failed: usize, all: usize) -> Exit {
    match failed {
        0 => Exit::Done,
        failed if failed == all => Exit::Failed,
        _ => Exit::Partial,
    }
}

fn read_go_sum(path: &Path) -> Result<Vec<WarmItem>, Failure> {
    let shown = path.display();
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(GO_SUM_BYTES_MAX).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(GO_SUM_BYTES_MAX).read_to_string(&mut text))
    };
    read.map_err(|error| Failure::usage(format!("{shown} cannot be read: {error}"), ""))?;
    go_sum::items(&text).map_err(|error| Failure::usage(format!("{shown}: {error}"), ""))
}

async fn purge(context: &Context, destroy: Destroy) -> Result<Answer, Failure> {
    confirm(context, "remove", &destroy).await?;
    let options = options(&destroy.mutation)?;
    let key = options.idempotency_key.clone();
    let (module_path, version) = split(&destroy.module);
    let request = PurgeModuleRequest { options: Some(options), module_path, version };
    let told = context.change(&key, request, rpc!(ModuleServiceClient::purge_module)).await?;
    let failed = told.results.iter().filter(|result| !result.problem.is_empty()).count();
    let exit = ending(failed, told.results.len());
    let page = view::module::purged(&told.results);
    Ok(Answer::new(told, page).notes(dry_run_note(&destroy.mutation)).ending(exit))
}

async fn confirm(context: &Context, verb: &str, destroy: &Destroy) -> Result<(), Failure> {
    let deed = format!("{verb} {} on all nodes", destroy.module);
    let yes = destroy.confirmation.yes || destroy.mutation.dry_run;
    context.screen.confirm(&deed, &destroy.module, yes).await
}

async fn mark(context: &Context, say: Say, kind: MarkKind) -> Result<Answer, Failure> {
    let options = options(&say.mutation)?;
    let key = options.idempotency_key.clone();
    let (module_path, version) = split(&say.module);
    let request = MarkModuleRequest { options: Some(options), module_path, version, kind: kind.into() };
    let told = context.change(&key, request, rpc!(ModuleServiceClient::mark_module)).await?;
    Ok(spread(told, &key).notes(dry_run_note(&say.mutation)))
}

/// A mark, who has not heard of it, and who still holds what it takes down.
fn spread(told: MarkModuleResponse, key: &str) -> Answer {
    let page = view::module::marks(told.mark.as_slice());
    let behind = (!told.behind_nodes.is_empty()).then(|| {
        format!(
            "not known to have heard of it: {}, which may serve it until then; the same command with `--idempotency-key {key}` looks again",
            told.behind_nodes.join(", ")
        )
    });
    let left = told.results.iter().filter(|result| !result.problem.is_empty());
    let left = left.map(|result| format!("{} has not removed it yet: {}", result.node, result.problem));
    let notes: Vec<_> = behind.into_iter().chain(left).collect();
    let exit = if notes.is_empty() { Exit::Done } else { Exit::Partial };
    Answer::new(told, page).notes(notes).ending(exit)
}

async fn unmark(context: &Context, say: Say, kind: MarkKind) -> Result<Answer, Failure> {
    let options = options(&say.mutation)?;
    let key = options.idempotency_key.clone();
    let (module_path, version) = split(&say.module);
    let request = UnmarkModuleRequest { options: Some(options), module_path, version, kind: kind.into() };
    let told = context.change(&key, request, rpc!(ModuleServiceClient::unmark_module)).await?;
    let page = view::module::marks(told.mark.as_slice());
    let answer = Answer::new(OneMark { mark: told.mark }, page).notes(dry_run_note(&say.mutation));
    Ok(if say.mutation.dry_run { answer } else { answer.note("that is said no more") })
}

#[derive(Serialize)]
struct OneMark {
    mark: Option<Mark>,
}

async fn take_down(context: &Context, lift: bool, destroy: Destroy) -> Result<Answer, Failure> {
    confirm(context, if lift { "serve again" } else { "take down" }, &destroy).await?;
    let say = Say { module: destroy.module, mutation: destroy.mutation };
    if lift {
        return unmark(context, say, MarkKind::TakenDown).await;
    }
    if say.mutation.reason.is_none() {
        return Err(Failure::usage(
            "taking down needs a reason, which developers are told",
            "add --reason 'TEXT'",
        ));
    }
    mark(context, say, MarkKind::TakenDown).await
}

#[derive(Serialize)]
struct Marks {
    marks: Vec<Mark>,
}

async fn marks(context: &Context, limit: usize) -> Result<Answer, Failure> {
    let marks = pages(limit, async |page_size, page_token| {
        let request = ListMarksRequest { page_size, page_token, kind: MarkKind::Unspecified.into() };
        let page = context.read(request, rpc!(ModuleServiceClient::list_marks)).await?;
        Ok((page.marks, page.next_page_token))
    });
    let marks = marks.await?;
    let page = view::module::marks(&marks);
    Ok(Answer::new(Marks { marks }, page))
}

#[derive(Serialize)]
struct Verified {
    results: Vec<VerifyModuleResponse>,
    bad: usize,
}

async fn verify(context: &Context, module: &str, mutation: &Mutation) -> Result<Answer, Failure> {
    let (module_path, version) = split(module);
    let request = VerifyModuleRequest { options: Some(options(mutation)?), module_path, version };
    // By copy: when a stream breaks, all of it is asked for once more, and what is said then holds.
    let mut latest: BTreeMap<_, VerifyModuleResponse> = BTreeMap::new();
    let mut bytes = 0;
    let progress = context.screen.progress();
    let watched = context.watch(request, rpc!(ModuleServiceClient::verify_module), |result| {
        bytes += result.bytes;
        let before = latest.insert((result.version.clone(), result.node.clone()), result);
        bytes -= before.map_or(0, |before| before.bytes);
        progress.count("verify", latest.len() as u64, 0, &view::bytes(bytes));
        Ok(ControlFlow::Continue(()))
    });
    let watched = watched.await;
    progress.end();
    watched?;
    let results: Vec<_> = latest.into_values().collect();
    let bad = results.iter().filter(|result| !result.problems.is_empty()).count();
    let is_nowhere = !results.is_empty() && results.iter().all(|result| result.not_held);
    let exit = match bad {
        0 if is_nowhere => Exit::Failed,
        0 => Exit::Done,
        _ => Exit::Partial,
    };
    let nowhere = is_nowhere.then(|| "no node holds anything of it any more".to_owned());
    let page = view::module::verified(&results);
    let answer = Answer::new(Verified { results, bad }, page);
    Ok(answer.notes(dry_run_note(mutation)).notes(nowhere).ending(exit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_node_that_missed_one_page_is_named_though_it_gave_the_others() {
        let listed = all_versions(0, async |_, token: String| {
            let (next_page_token, unreachable_nodes) = match token.as_str() {
                "" => ("1".to_owned(), vec!["data-3".to_owned(), "data-2".to_owned()]),
                "1" => ("2".to_owned(), vec!["data-2".to_owned()]),
                _ => (String::new(), Vec::new()),
            };
            let versions = vec![ModuleVersion::default()];
            Ok(ListVersionsResponse { versions, next_page_token, unreachable_nodes })
        });
        let Ok(listed) = listed.await else { panic!("all pages were given") };
        assert_eq!(listed.versions.len(), 3);
        assert_eq!(listed.unreachable_nodes, ["data-2", "data-3"]);
    }
}

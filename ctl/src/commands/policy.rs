//! `policy`.

use std::path::PathBuf;

use proto::control::v1::policy_service_client::PolicyServiceClient;
use proto::control::v1::{
    AccessCase, ApplyPolicyRequest, DeletePolicyRequest, DiffPolicyRequest, DiffPolicyResponse,
    ExplainAccessRequest, GetPolicyRequest, ListPoliciesRequest, ListPolicyRevisionsRequest, Policy,
    PolicyDifference, TestAccessRequest,
};
use serde::Serialize;

use super::context::{dry_run_note, options, pages, there};
use super::policy_file::{Text, cases, document};
use super::{Context, Outcome, rpc};
use crate::args::policy::{Apply, Document, Explain, Test, Verb};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Answer;
use crate::view;

pub(super) async fn run(context: &Context, verb: Verb) -> Outcome {
    let answer = match verb {
        Verb::Show { name: None, generation: _ } => list(context).await,
        Verb::Show { name: Some(name), generation } => {
            let request = GetPolicyRequest { name, generation: generation.unwrap_or_default() };
            let response = context.read(request, rpc!(PolicyServiceClient::get_policy)).await?;
            let policy = there(response.policy, "policy")?;
            let (page, note) = (view::policy::content(&policy), view::policy::about(&policy));
            Ok(Answer::new(policy, page).note(note))
        }
        Verb::Diff { document } => diff(context, document).await,
        Verb::Apply(apply) if apply.delete => delete(context, apply).await,
        Verb::Apply(apply) => self::apply(context, apply).await,
        Verb::Test(test) => self::test(context, test).await,
        Verb::Explain(explain) => self::explain(context, explain).await,
        Verb::History { name, newest } => history(context, name, newest.limit).await,
    };
    answer.map(Some)
}

#[derive(Serialize)]
struct Policies {
    policies: Vec<Policy>,
}

async fn list(context: &Context) -> Result<Answer, Failure> {
    let policies = all(context).await?;
    let page = view::policy::list(&policies, "no policy documents");
    Ok(Answer::new(Policies { policies }, page))
}

/// All documents without their content, by name.
pub(crate) async fn all(context: &Context) -> Result<Vec<Policy>, Failure> {
    let policies = pages(0, async |page_size, page_token| {
        let request = ListPoliciesRequest { page_size, page_token };
        let page = context.read(request, rpc!(PolicyServiceClient::list_policies)).await?;
        Ok((page.policies, page.next_page_token))
    });
    policies.await
}

async fn diff(context: &Context, given: Document) -> Result<Answer, Failure> {
    let text = document(&given.file, given.name)?;
    let difference = differences(context, &text).await?;
    let page = view::policy::differences(&difference.differences, "nothing would change");
    let exit = if difference.differences.is_empty() { Exit::Done } else { Exit::Changes };
    let note = format!("policy {}, generation {}", text.name, difference.generation);
    Ok(Answer::new(difference, page).note(note).ending(exit))
}

/// What applying would change; a text that is no document is a failure.
async fn differences(context: &Context, text: &Text) -> Result<DiffPolicyResponse, Failure> {
    let request = DiffPolicyRequest { name: text.name.clone(), content: text.content.clone() };
    let difference = context.read(request, rpc!(PolicyServiceClient::diff_policy)).await?;
    if difference.problems.is_empty() {
        return Ok(difference);
    }
    let problems = difference.problems.join("\n       ");
    Err(Failure::usage(format!("{} is no policy document: {problems}", text.path.display()), ""))
}

async fn apply(context: &Context, apply: Apply) -> Result<Answer, Failure> {
    let file = apply.file.unwrap_or_else(|| PathBuf::from("-"));
    let text = document(&file, apply.name)?;
    if !apply.confirmation.yes && !apply.mutation.dry_run {
        let difference = differences(context, &text).await?;
        let gone = difference.differences.iter().filter(|difference| takes_away(difference)).count();
        if gone > 0 {
            let parts = if gone == 1 { "part" } else { "parts" };
            let deed = format!(
                "take {gone} {parts} out of policy {} (`goproxyctl policy diff` shows which)",
                text.name
            );
            context.screen.confirm(&deed, &text.name, false).await?;
        }
    }
    let options = options(&apply.mutation)?;
    let key = options.idempotency_key.clone();
    let request = ApplyPolicyRequest {
        options: Some(options),
        name: text.name,
        content: text.content,
        expected_generation: apply.expect_generation,
    };
    let response = context.change(&key, request, rpc!(PolicyServiceClient::apply_policy)).await?;
    let about = view::policy::about(&there(response.policy.clone(), "policy")?);
    let page = view::policy::differences(&response.differences, "nothing changed");
    Ok(Answer::new(response, page).note(about).notes(dry_run_note(&apply.mutation)))
}

/// Whether something is there no more: the whole of a part, or an entry of a list.
fn takes_away(difference: &PolicyDifference) -> bool {
    let entries = |text: &str| serde_json::from_str::<Vec<serde_json::Value>>(text).ok();
    if difference.after.is_empty() {
        return !difference.before.is_empty();
    }
    let lists = entries(&difference.before).zip(entries(&difference.after));
    lists.is_some_and(|(before, after)| before.iter().any(|entry| !after.contains(entry)))
}

async fn delete(context: &Context, apply: Apply) -> Result<Answer, Failure> {
    let name = apply.name.unwrap_or_default();
    let deed = format!("take policy {name} out of force");
    context.screen.confirm(&deed, &name, apply.confirmation.yes || apply.mutation.dry_run).await?;
    let options = options(&apply.mutation)?;
    let key = options.idempotency_key.clone();
    let request = DeletePolicyRequest {
        options: Some(options),
        name,
        expected_generation: apply.expect_generation.unwrap_or_default(),
    };
    let response = context.change(&key, request, rpc!(PolicyServiceClient::delete_policy)).await?;
    let policy = there(response.policy.clone(), "policy")?;
    let page = view::policy::list(&[policy], "");
    Ok(Answer::new(response, page).notes(dry_run_note(&apply.mutation)))
}

async fn test(context: &Context, test: Test) -> Result<Answer, Failure> {
    let tests = cases(&test.file)?;
    let with = test.document.map(|file| document(&file, test.name)).transpose()?;
    let (name, content) = with.map_or_else(Default::default, |text| (text.name, text.content));
    let request = TestAccessRequest { tests, name, content };
    let response = context.read(request, rpc!(PolicyServiceClient::test_access)).await?;
    let page = view::policy::results(&response);
    let note = view::policy::tally(&response);
    let exit = if response.failed_count == 0 { Exit::Done } else { Exit::Failed };
    Ok(Answer::new(response, page).note(note).ending(exit))
}

async fn explain(context: &Context, explain: Explain) -> Result<Answer, Failure> {
    let case = AccessCase {
        principal: explain.principal,
        verb: explain.verb,
        module: explain.module,
        version: explain.module_version.unwrap_or_default(),
    };
    let request = ExplainAccessRequest { case: Some(case) };
    let response = context.read(request, rpc!(PolicyServiceClient::explain_access)).await?;
    let page = view::policy::explanation(&response);
    Ok(Answer::new(response, page))
}

async fn history(context: &Context, name: String, limit: usize) -> Result<Answer, Failure> {
    let policies = pages(limit, async |page_size, page_token| {
        let request = ListPolicyRevisionsRequest { name: name.clone(), page_size, page_token };
        let page = context.read(request, rpc!(PolicyServiceClient::list_policy_revisions)).await?;
        Ok((page.policies, page.next_page_token))
    });
    let policies = policies.await?;
    let page = view::policy::list(&policies, "the document was never there");
    Ok(Answer::new(Policies { policies }, page))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_no_more_is_taken_away() {
        let takes = |before: &str, after: &str| {
            let (path, before, after) = ("rules".to_owned(), before.to_owned(), after.to_owned());
            takes_away(&PolicyDifference { path, before, after })
        };
        assert!(takes(r#"["read"]"#, ""));
        assert!(takes(r#"["read","list"]"#, r#"["list","publish"]"#));
        assert!(!takes("", r#"["read"]"#));
        assert!(!takes(r#"["read"]"#, r#"["list","read"]"#));
        assert!(!takes(r#""deny""#, r#""allow""#));
    }
}

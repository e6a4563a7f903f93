//! `member`.

use proto::control::v1::member_service_client::MemberServiceClient;
use proto::control::v1::{
    AddMemberRequest, ListMembersRequest, Member, PromoteMemberRequest, RemoveMemberRequest,
};
use serde::Serialize;

use super::context::{dry_run_note, options, pages, there};
use super::{Context, Outcome, rpc};
use crate::args::member::{Add, Remove, Verb};
use crate::args::shared::Mutation;
use crate::failure::Failure;
use crate::output::Answer;
use crate::time::to_wire;
use crate::view;

pub(super) async fn run(context: &Context, verb: Verb) -> Outcome {
    let answer = match verb {
        Verb::Add(add) => self::add(context, add).await,
        Verb::List => list(context).await,
        Verb::Promote { name, mutation } => promote(context, name, &mutation).await,
        Verb::Remove(remove) => self::remove(context, remove).await,
    };
    answer.map(Some)
}

async fn add(context: &Context, add: Add) -> Result<Answer, Failure> {
    let options = options(&add.mutation)?;
    let key = options.idempotency_key.clone();
    let request = AddMemberRequest {
        options: Some(options),
        name: add.name,
        join_token_lifetime_duration: add.lifetime.token_lifetime.map(to_wire),
    };
    let response = context.change(&key, request, rpc!(MemberServiceClient::add_member)).await?;
    let page =
        view::joining(&response.name, &response.join_token, response.expire_time.as_ref(), &response.command);
    Ok(Answer::new(response, page).note(view::JOIN_NOTE).notes(dry_run_note(&add.mutation)))
}

#[derive(Serialize)]
struct List {
    members: Vec<Member>,
}

async fn list(context: &Context) -> Result<Answer, Failure> {
    let members = all(context).await?;
    let page = view::member::list(&members, "");
    Ok(Answer::new(List { members }, page))
}

/// All members, by name.
pub(crate) async fn all(context: &Context) -> Result<Vec<Member>, Failure> {
    let members = pages(0, async |page_size, page_token| {
        let request = ListMembersRequest { page_size, page_token };
        let page = context.read(request, rpc!(MemberServiceClient::list_members)).await?;
        Ok((page.members, page.next_page_token))
    });
    members.await
}

async fn promote(context: &Context, name: String, mutation: &Mutation) -> Result<Answer, Failure> {
    let options = options(mutation)?;
    let key = options.idempotency_key.clone();
    let request = PromoteMemberRequest { options: Some(options), name };
    let response = context.change(&key, request, rpc!(MemberServiceClient::promote_member)).await?;
    let page = view::member::one(&there(response.member.clone(), "member")?);
    Ok(Answer::new(response, page).notes(dry_run_note(mutation)))
}

async fn remove(context: &Context, remove: Remove) -> Result<Answer, Failure> {
    let deed = format!("take member {} out for good", remove.name);
    context.screen.confirm(&deed, &remove.name, remove.confirmation.yes || remove.mutation.dry_run).await?;
    let options = options(&remove.mutation)?;
    let key = options.idempotency_key.clone();
    let request = RemoveMemberRequest { options: Some(options), name: remove.name, force: remove.force };
    let response = context.change(&key, request, rpc!(MemberServiceClient::remove_member)).await?;
    let page = view::member::removed(&response);
    Ok(Answer::new(response, page).notes(dry_run_note(&remove.mutation)))
}

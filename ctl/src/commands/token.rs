//! `token`.

use std::path::Path;

use proto::control::v1::token_service_client::TokenServiceClient;
use proto::control::v1::{
    CreateTokenRequest, ListTokensRequest, OperatorRole, RevokeTokenRequest, RotateTokenRequest, Token,
    WhoAmIRequest,
};
use serde::Serialize;

use super::context::{dry_run_note, options, pages, there};
use super::{Context, Outcome, rpc};
use crate::args::shared::Mutation;
use crate::args::token::{Create, Rotate, Verb};
use crate::failure::Failure;
use crate::files;
use crate::output::Answer;
use crate::output::page::Page;
use crate::time::to_wire;
use crate::view;

pub(super) async fn run(context: &Context, verb: Verb) -> Outcome {
    let answer = match verb {
        Verb::Create(create) => self::create(context, create).await,
        Verb::List { all } => {
            let tokens = self::all(context, all).await?;
            let page = view::token::list(&tokens);
            Ok(Answer::new(Tokens { tokens }, page))
        }
        Verb::Rotate(rotate) => self::rotate(context, rotate).await,
        Verb::Revoke { token, confirmation, mutation } => {
            let deed = format!("end token {token} at once");
            context.screen.confirm(&deed, &token, confirmation.yes || mutation.dry_run).await?;
            revoke(context, token, &mutation).await
        }
        Verb::Whoami => {
            let who = context.read(WhoAmIRequest {}, rpc!(TokenServiceClient::who_am_i)).await?;
            let page = view::token::who(&who);
            Ok(Answer::new(who, page))
        }
    };
    answer.map(Some)
}

async fn create(context: &Context, create: Create) -> Result<Answer, Failure> {
    create.out.as_deref().map(files::check_writable).transpose()?;
    let options = options(&create.mutation)?;
    let key = options.idempotency_key.clone();
    let request = CreateTokenRequest {
        options: Some(options),
        name: create.name,
        role: OperatorRole::from(create.role).into(),
        groups: create.groups,
        lifetime_duration: create.lifetime.map(to_wire),
    };
    let mut response = context.change(&key, request, rpc!(TokenServiceClient::create_token)).await?;
    let token = there(response.token.clone(), "token")?;
    let (page, note) = give(&mut response.secret, &token, create.out.as_deref(), &create.mutation)?;
    Ok(Answer::new(response, page).note(note).notes(dry_run_note(&create.mutation)))
}

async fn rotate(context: &Context, rotate: Rotate) -> Result<Answer, Failure> {
    rotate.out.as_deref().map(files::check_writable).transpose()?;
    let options = options(&rotate.mutation)?;
    let key = options.idempotency_key.clone();
    let request = RotateTokenRequest {
        options: Some(options),
        id: rotate.token,
        grace_duration: rotate.grace.map(to_wire),
    };
    let mut response = context.change(&key, request, rpc!(TokenServiceClient::rotate_token)).await?;
    let token = there(response.token.clone(), "token")?;
    let (page, note) = give(&mut response.secret, &token, rotate.out.as_deref(), &rotate.mutation)?;
    Ok(Answer::new(response, page).note(note).notes(dry_run_note(&rotate.mutation)))
}

/// Gives the token's text away once: to a file if there is one, else to the page. A table has nothing but the text, so that
/// it can be redirected; what is known of the token is said beside it.
fn give(
    secret: &mut String,
    token: &Token,
    out: Option<&Path>,
    mutation: &Mutation,
) -> Result<(Page, String), Failure> {
    let about = view::token::about(token);
    match out {
        Some(path) if !mutation.dry_run => {
            files::write_secret(path, secret)?;
            secret.clear();
            Ok((Page::new(), format!("{about}; its text is in {}", path.display())))
        }
        Some(_) => {
            secret.clear();
            Ok((Page::new(), about))
        }
        None => Ok((Page::new().verbatim(secret.clone()), format!("{about}; its text is shown this once"))),
    }
}

#[derive(Serialize)]
struct Tokens {
    tokens: Vec<Token>,
}

/// All tokens that are good, by name.
pub(crate) async fn present(context: &Context) -> Result<Vec<Token>, Failure> {
    all(context, false).await
}

async fn all(context: &Context, include_ended: bool) -> Result<Vec<Token>, Failure> {
    let tokens = pages(0, async |page_size, page_token| {
        let request = ListTokensRequest { page_size, page_token, include_ended };
        let page = context.read(request, rpc!(TokenServiceClient::list_tokens)).await?;
        Ok((page.tokens, page.next_page_token))
    });
    tokens.await
}

async fn revoke(context: &Context, id: String, mutation: &Mutation) -> Result<Answer, Failure> {
    let options = options(mutation)?;
    let key = options.idempotency_key.clone();
    let request = RevokeTokenRequest { options: Some(options), id };
    let response = context.change(&key, request, rpc!(TokenServiceClient::revoke_token)).await?;
    let page = view::token::list(&[there(response.token.clone(), "token")?]);
    Ok(Answer::new(response, page).notes(dry_run_note(mutation)))
}

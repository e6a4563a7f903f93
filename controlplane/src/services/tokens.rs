//! Operators' credentials.

use std::time::SystemTime;

use cluster::command::{CreateToken, RevokeToken, RotateToken};
use cluster::record::Token;
use cluster::{Answer, Command, Hash, IdempotencyKey, Role, Tables, TokenId};
use identity::OperatorToken;
use proto::control::v1 as pb;
use proto::control::v1::token_service_server::TokenService;
use proto::{ErrorCode, Fault};
use tonic::{Request, Response, Status};

use super::convert::{self, Options, options, parse, subject, timestamp};
use super::page::page;
use super::{Desk, deadline};

pub(crate) struct Tokens(pub(crate) Desk);

#[tonic::async_trait]
impl TokenService for Tokens {
    async fn create_token(
        &self,
        request: Request<pb::CreateTokenRequest>,
    ) -> Result<Response<pb::CreateTokenResponse>, Status> {
        let operator = self.0.control.gate.operator(&request, Role::Admin)?;
        let until = deadline(&request);
        let request = request.into_inner();
        let role = match request.role() {
            pb::OperatorRole::Viewer => Role::Viewer,
            pb::OperatorRole::Operator => Role::Operator,
            pb::OperatorRole::Admin => Role::Admin,
            pb::OperatorRole::Unspecified => {
                return Err(Fault::new(ErrorCode::InvalidArgument, "role is not set").into());
            }
        };
        let lifetime = convert::duration("lifetime_duration", request.lifetime_duration)?;
        let expires = lifetime.map(|lifetime| timestamp(SystemTime::now()).after(lifetime));
        let options = options(request.options)?;
        let groups = request.groups.iter().map(|group| parse("groups", group)).collect::<Result<_, _>>()?;
        let name = parse("name", &request.name)?;
        let token = self.draw(&options, "create token", &request.name)?;
        let hash = Hash::from_bytes(*token.secret.hash().as_bytes());
        let command = Command::CreateToken(CreateToken { name, role, hash, expires, groups });
        let came = self.0.carry_out(operator, options, command, until).await?;
        let Answer::Token { id } = came.answer() else { return Err(unexpected()) };
        let shown = self.0.control.shared.read(|state| state.tables().tokens.get(&id).map(convert::token));
        // It may have been rotated since.
        let ours = self
            .0
            .control
            .shared
            .read(|state| state.tables().tokens.get(&id).is_some_and(|token| token.hash.matches(&hash)));
        let secret = if ours { token.text() } else { String::new() };
        Ok(Response::new(pb::CreateTokenResponse { token: shown, secret }))
    }

    async fn list_tokens(
        &self,
        request: Request<pb::ListTokensRequest>,
    ) -> Result<Response<pb::ListTokensResponse>, Status> {
        self.0.control.gate.operator(&request, Role::Operator)?;
        self.0.viewer(&request).await?;
        let request = request.into_inner();
        let now = timestamp(SystemTime::now());
        let page = self.0.control.shared.read(|state| {
            let tokens = state.tables().tokens.values();
            let wanted = tokens.filter(|token| request.include_ended || token.is_good(now));
            page(
                wanted.map(|token| (token.id, convert::token(token))),
                request.page_size,
                &request.page_token,
            )
        })?;
        Ok(Response::new(pb::ListTokensResponse { tokens: page.entries, next_page_token: page.next }))
    }

    async fn rotate_token(
        &self,
        request: Request<pb::RotateTokenRequest>,
    ) -> Result<Response<pb::RotateTokenResponse>, Status> {
        let operator = self.0.control.gate.operator(&request, Role::Viewer)?;
        let until = deadline(&request);
        let request = request.into_inner();
        let options = options(request.options)?;
        let id = self.find(&request.id, options.key.as_ref(), until).await?;
        // Everybody may rotate his own, an admin all.
        if operator.role < Role::Admin && operator.token != id {
            return Err(
                Fault::new(ErrorCode::PermissionDenied, "only an admin may rotate another's token").into()
            );
        }
        let grace = convert::duration("grace_duration", request.grace_duration)?;
        let previous_until = grace.map(|grace| timestamp(SystemTime::now()).after(grace));
        let drawn = self.draw(&options, "rotate token", &id.to_string())?;
        let hash = Hash::from_bytes(*drawn.secret.hash().as_bytes());
        let command = Command::RotateToken(RotateToken { id, hash, previous_until });
        self.0.carry_out(operator, options, command, until).await?;
        let token = self.0.control.shared.read(|state| state.tables().tokens.get(&id).map(convert::token));
        Ok(Response::new(pb::RotateTokenResponse { token, secret: drawn.text() }))
    }

    async fn revoke_token(
        &self,
        request: Request<pb::RevokeTokenRequest>,
    ) -> Result<Response<pb::RevokeTokenResponse>, Status> {
        let operator = self.0.control.gate.operator(&request, Role::Admin)?;
        let until = deadline(&request);
        let request = request.into_inner();
        let options = options(request.options)?;
        let id = self.find(&request.id, options.key.as_ref(), until).await?;
        let command = Command::RevokeToken(RevokeToken { id });
        self.0.carry_out(operator, options, command, until).await?;
        let token = self.0.control.shared.read(|state| state.tables().tokens.get(&id).map(convert::token));
        Ok(Response::new(pb::RevokeTokenResponse { token }))
    }

    async fn who_am_i(
        &self,
        request: Request<pb::WhoAmIRequest>,
    ) -> Result<Response<pb::WhoAmIResponse>, Status> {
        let operator = self.0.control.gate.operator(&request, Role::Viewer)?;
        let token = self.0.control.shared.read(|state| state.tables().tokens.get(&operator.token).cloned());
        Ok(Response::new(pb::WhoAmIResponse {
            kind: "token".to_owned(),
            name: operator.actor.name.to_string(),
            role: convert::role(operator.role).into(),
            groups: token.as_ref().map(convert::groups).unwrap_or_default(),
            expire_time: token.and_then(|token| token.expires).map(convert::time),
            cluster_id: self.0.control.cluster.to_string(),
        }))
    }
}

impl Tokens {
    /// What a credential is proved by, new or, under a key, the same again.
    fn draw(&self, options: &Options, what: &str, name: &str) -> Result<OperatorToken, Fault> {
        self.0.control.issuer.secret(options.key.as_ref(), &[what, name]).map(OperatorToken::of)
    }

    async fn find(
        &self,
        text: &str,
        key: Option<&IdempotencyKey>,
        until: std::time::Instant,
    ) -> Result<TokenId, Fault> {
        self.0.control.read_latest(until).await?;
        let found = self.0.control.shared.read(|state| find(state.tables(), text, key).map(|token| token.id));
        found.ok_or_else(|| {
            Fault::new(ErrorCode::NotFound, format!("there is no token {text}"))
                .about(subject("token", text))
                .hint("`goproxyctl token list` shows those that there are")
        })
    }
}

/// A credential by its number, or by the name of one that is not revoked. Asked again under a key, it is the one that the request was about
/// then: it may be revoked by now, and its name another's.
fn find<'a>(tables: &'a Tables, text: &str, key: Option<&IdempotencyKey>) -> Option<&'a Token> {
    let tokens = &tables.tokens;
    let by_number = || tokens.get(&text.parse::<TokenId>().ok()?);
    let by_key = || {
        let Answer::Token { id } = tables.remembered.get(key?)?.answer else { return None };
        tokens.get(&id).filter(|token| token.name.as_str() == text)
    };
    let by_name = || tokens.values().find(|token| token.name.as_str() == text && token.revoked.is_none());
    by_number().or_else(by_key).or_else(by_name)
}

fn unexpected() -> Status {
    Fault::new(ErrorCode::Internal, "the state machine gave an answer of another kind").into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use cluster::record::Remembered;
    use cluster::{Name, Revision, Timestamp, TokenName};

    use super::*;
    use crate::reconcile::bed;

    fn token(tables: &mut Tables, number: u64, revoked: Option<Timestamp>) -> TokenId {
        let id = TokenId::new(number);
        let token = Token {
            id,
            name: TokenName::parse("ci").unwrap(),
            role: Role::Viewer,
            hash: Hash::of(&number.to_be_bytes()),
            created: Timestamp::default(),
            by: Name::parse("ada").unwrap(),
            expires: None,
            previous: None,
            revoked,
            groups: BTreeSet::new(),
        };
        tables.tokens.insert(id, token);
        id
    }

    #[test]
    fn a_credential_that_was_revoked_under_a_key_is_found_by_it_again() {
        let mut tables = bed::tables();
        let revoked = token(&mut tables, 1, Some(Timestamp::default()));
        let found = |tables: &Tables, text: &str, key: Option<&IdempotencyKey>| {
            find(tables, text, key).map(|token| token.id)
        };
        let key = IdempotencyKey::parse("key-1").unwrap();
        assert_eq!(found(&tables, "ci", Some(&key)), None);
        assert_eq!(found(&tables, &revoked.to_string(), None), Some(revoked));
        let answered = Remembered {
            key: key.clone(),
            request: Hash::of(b"revoke"),
            revision: Revision::new(1),
            at: Timestamp::default(),
            answer: Answer::Token { id: revoked },
        };
        tables.remembered.insert(key.clone(), answered);
        assert_eq!(found(&tables, "ci", Some(&key)), Some(revoked));
        // Another has its name by now.
        let new = token(&mut tables, 2, None);
        assert_eq!(found(&tables, "ci", Some(&key)), Some(revoked));
        assert_eq!(found(&tables, "ci", None), Some(new));
        assert_eq!(found(&tables, &new.to_string(), Some(&key)), Some(new));
        assert_eq!(found(&tables, "other", Some(&key)), None);
    }
}

//! `AddAuthority`.

use serde::{Deserialize, Serialize};

use super::context::{Context, Effect};
use super::work::Work;
use crate::ids::JobKind;
use crate::outcome::{Answer, Kind, Refusal};
use crate::record::{
    AUTHORITIES_MAX, Authority, AuthorityState, CERTIFICATE_BYTES_MAX, Record, SEALED_KEY_BYTES_MAX,
};
use crate::text::Blob;

/// Adds the certificate authority that is to sign next. All trust it from now on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddAuthority {
    /// Its certificate (DER).
    pub certificate: Blob,
    /// Its private key, sealed.
    pub sealed_key: Blob,
}

impl AddAuthority {
    pub(super) fn apply(&self, context: &Context<'_>) -> Result<Effect, Refusal> {
        let problems = authority_problems(&self.certificate, &self.sealed_key);
        if !problems.is_empty() {
            return Err(Refusal::Invalid { problems });
        }
        let authorities = &context.tables.authorities;
        let there = authorities.values().find(|authority| {
            authority.state == AuthorityState::Next || authority.certificate == self.certificate
        });
        if let Some(there) = there {
            let name = there.generation.to_string();
            return Err(Refusal::AlreadyThere { kind: Kind::Authority, name, state: there.state.name() });
        }
        if authorities.len() >= AUTHORITIES_MAX {
            return Err(Refusal::Limit { kind: Kind::Authority, max: AUTHORITIES_MAX });
        }
        // The latest one is never retired, so that no generation comes twice.
        let generation = authorities.keys().next_back().copied().unwrap_or_default().next();
        let authority = Authority {
            generation,
            state: AuthorityState::Next,
            certificate: self.certificate.clone(),
            sealed_key: Some(self.sealed_key.clone()),
            created: context.now,
            since: context.now,
        };
        let mut work = Work::new(context);
        work.begin(JobKind::AUTHORITY, &generation.to_string());
        let effect = Effect::new(Answer::Authority { generation }, generation);
        Ok(effect.put(Record::Authority(authority)).working(&work).is("next"))
    }
}

/// What is wrong with the size of a certificate and its key; what is in them is not known here.
pub(super) fn authority_problems(certificate: &Blob, sealed_key: &Blob) -> Vec<String> {
    let mut problems = Vec::new();
    let sizes = [
        ("certificate", certificate.as_bytes().len(), CERTIFICATE_BYTES_MAX),
        ("sealed key", sealed_key.as_bytes().len(), SEALED_KEY_BYTES_MAX),
    ];
    for (what, bytes, max) in sizes {
        if bytes == 0 || bytes > max {
            problems.push(format!("{what} has {bytes} bytes, not 1 to {max}"));
        }
    }
    problems
}

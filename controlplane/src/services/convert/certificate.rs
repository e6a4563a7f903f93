//! Authorities and the certificates that they signed.

use cluster::Tables;
use cluster::record::{Authority, AuthorityState, Certificate};
use proto::control::v1 as pb;

use super::time;
use crate::issue;

pub(crate) fn authority(authority: &Authority) -> pb::Authority {
    let state = match authority.state {
        AuthorityState::Next => pb::AuthorityState::Staged,
        AuthorityState::Current => pb::AuthorityState::Active,
        AuthorityState::Retiring => pb::AuthorityState::Retiring,
    };
    let der = authority.certificate.as_bytes();
    pb::Authority {
        fingerprint: cluster::Hash::of(der).to_string(),
        state: state.into(),
        begin_time: Some(time(authority.created)),
        expire_time: issue::not_after(der).map(time),
        pem: issue::pem(der),
    }
}

pub(crate) fn certificate(tables: &Tables, subject: String, held: &Certificate) -> pb::Certificate {
    let signer = tables.authorities.get(&held.authority);
    pb::Certificate {
        subject,
        serial: held.serial.to_string(),
        expire_time: Some(time(held.expires)),
        authority: signer
            .map(|signer| cluster::Hash::of(signer.certificate.as_bytes()).to_string())
            .unwrap_or_default(),
    }
}

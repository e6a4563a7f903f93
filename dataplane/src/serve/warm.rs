//! Fetching a version before anybody asks for it.

use std::sync::Arc;

use gomod::{H1, ModuleVersion, Query, Request};

use super::error::ServeError;
use super::proxy::{Asker, Mode, Proxy};
use crate::store::VersionRecord;

/// What of a version is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Its go.mod, for whoever only resolves versions.
    GoMod,
    /// All three files.
    Everything,
}

/// What is held of a version after it was warmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warmed {
    /// Whether it was held before.
    pub was_held: bool,
    /// Bytes of what was wanted.
    pub bytes: u64,
    /// The hash of the zip, where that was wanted.
    pub zip_h1: Option<H1>,
    /// The hash of the go.mod.
    pub go_mod_h1: Option<H1>,
}

impl Proxy {
    /// Fetches what is not held of `version`, as if a client had asked for it.
    pub async fn warm(
        self: &Arc<Self>,
        version: &ModuleVersion,
        wanted: Wanted,
    ) -> Result<Warmed, ServeError> {
        let before = self.record(version).await?.unwrap_or_default();
        let was_held = holds(&before, wanted);
        let info = Request::Info(version.module.clone(), Query::Version(version.version.clone()));
        let requests = match wanted {
            Wanted::GoMod => vec![Request::Mod(version.clone())],
            Wanted::Everything => vec![info, Request::Mod(version.clone()), Request::Zip(version.clone())],
        };
        for request in requests {
            // Large enough for a place of its own, as in the router. A zip is waited for to its end.
            let _answer = Box::pin(self.answer(request, Mode::Fetch, true, Asker::Client)).await?;
        }
        let held = self.record(version).await?.unwrap_or_default();
        if !holds(&held, wanted) {
            return Err(ServeError::Unavailable {
                what: version.to_string().into(),
                why: "it was fetched, but there is no place to keep it".to_owned(),
                next: "make room on the disk of the node".into(),
            });
        }
        let length = |text: &Option<bytes::Bytes>| text.as_ref().map_or(0, |text| text.len() as u64);
        let zip = held.zip.as_ref().filter(|_| wanted == Wanted::Everything);
        Ok(Warmed {
            was_held,
            bytes: length(&held.go_mod) + zip.map_or(0, |zip| zip.size + length(&held.info)),
            zip_h1: zip.map(|zip| zip.h1),
            go_mod_h1: held.go_mod_h1,
        })
    }
}

fn holds(record: &VersionRecord, wanted: Wanted) -> bool {
    let zip = record.zip.is_some() && record.info.is_some();
    record.go_mod.is_some() && (wanted == Wanted::GoMod || zip)
}

//! What stands in for the small files of a version whose zip is held, while nobody can be had to say what its origin said: an `.info` that
//! this server writes, and the go.mod that is in the zip.
//!
//! Builds ask for no `.info`, and not for a `.mod` that is in the client's cache already, so that of what they leave here these may be missing.
//! When the origin has lost the version since, or may not be asked, it stays listed and its zip is served, and `go get` of it must not end
//! at a small file.
//!
//! Invariant: they are neither stored nor given to other nodes, so that the origin's own take their place once those can be had.

use std::sync::Arc;

use bytes::Bytes;
use gomod::dirhash::go_mod_h1;
use gomod::pseudo::PseudoVersion;
use gomod::{ModuleVersion, Query, Request, Version, zip};
use time::format_description::well_known::Rfc3339;

use super::checks::{Asked, Part};
use super::error::ServeError;
use super::meaning::Meaning;
use super::proxy::{Answer, Proxy};
use crate::store::VersionRecord;

impl Proxy {
    /// Answers `request` with what follows from the zip that is held; `error` where there is none, or where it is not for want of an
    /// origin.
    pub(super) async fn stand_in(
        self: &Arc<Self>,
        request: &Request,
        error: ServeError,
    ) -> Result<Answer, ServeError> {
        if !stands_in_after(error.meaning()) {
            return Err(error);
        }
        let body = match request {
            Request::Info(module, Query::Version(version)) => {
                let version = ModuleVersion { module: module.clone(), version: version.clone() };
                self.with_zip(&version)
                    .await
                    .filter(|record| record.info.is_none())
                    .map(|_| written(&version.version))
            }
            Request::Mod(version) => self.go_mod_in_zip(version).await,
            Request::Info(..) | Request::List(_) | Request::Latest(_) | Request::Zip(_) => None,
        };
        body.map(|body| self.as_held(self.as_derived(request, body))).ok_or(error)
    }

    /// The record of a version whose zip is held.
    async fn with_zip(&self, version: &ModuleVersion) -> Option<VersionRecord> {
        self.record(version).await.ok().flatten().filter(|record| record.zip.is_some())
    }

    /// The go.mod of a version whose zip is held and whose `.mod` is not, unless the version is bound to another one, or whoever vouches for
    /// the zip knows the go.mod by another hash: proxies may serve one that is not in the zip.
    async fn go_mod_in_zip(self: &Arc<Self>, version: &ModuleVersion) -> Option<Bytes> {
        let record = self.with_zip(version).await.filter(|record| record.go_mod.is_none())?;
        let mut expected = Asked::begin(self, version);
        let wanted = version.clone();
        let reading = move |store: &crate::store::Store| match store.open_zip(&wanted)? {
            // What cannot be read is told by whoever is asked for the zip.
            Some(reader) => Ok(zip::go_mod(&reader, &wanted).ok()),
            None => Ok(None),
        };
        let go_mod = self.with_store("read the go.mod in a zip", reading).await.ok().flatten()?;
        let h1 = go_mod_h1(&go_mod);
        expected.get().await.ok()?.check(version, Part::GoMod, &h1).ok()?;
        record.go_mod_h1.is_none_or(|bound| bound == h1).then_some(go_mod)
    }
}

/// Whether it is only that nobody has the file, or that nobody can be asked for it. To a client an origin's 410 means what 404 means, and what
/// operators took down has been refused before.
fn stands_in_after(meaning: Meaning) -> bool {
    match meaning {
        Meaning::Absent | Meaning::Gone | Meaning::NotHeld | Meaning::Trouble { .. } => true,
        Meaning::Forbidden | Meaning::Distrusted | Meaning::NotNow | Meaning::Failed | Meaning::NoRequest => {
            false
        }
    }
}

/// The version, which is all that the protocol requires, and the time of the commit where the version has it in it
/// (golang.org/ref/mod#goproxy-protocol).
pub(super) fn written(version: &Version) -> Bytes {
    let time = PseudoVersion::parse(version).ok().and_then(|pseudo| pseudo.time.format(&Rfc3339).ok());
    let info = match time {
        Some(time) => serde_json::json!({ "Version": version.as_str(), "Time": time }),
        None => serde_json::json!({ "Version": version.as_str() }),
    };
    info.to_string().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_where_it_is_known() {
        let written = |version| written(&Version::parse(version).unwrap());
        assert_eq!(written("v1.2.3"), r#"{"Version":"v1.2.3"}"#);
        assert_eq!(
            written("v0.0.0-20210102030405-abcdefabcdef"),
            r#"{"Time":"2021-01-02T03:04:05Z","Version":"v0.0.0-20210102030405-abcdefabcdef"}"#
        );
    }

    #[test]
    fn it_takes_the_place_of_no_refusal() {
        assert!(stands_in_after(Meaning::Absent) && stands_in_after(Meaning::Trouble { elsewhere: true }));
        assert!(stands_in_after(Meaning::Gone) && !stands_in_after(Meaning::Forbidden));
    }
}

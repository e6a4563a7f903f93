//! An `.info` that this server writes, of a version whose zip is held while nobody can be had to say what its origin said.
//!
//! Builds ask for no `.info`, so that of what they leave here it may be missing. When the origin has lost the version since, or may not
//! be asked, it stays listed and its zip is served, and `go get` of it must not end at the one small file.
//!
//! Invariant: it is neither stored nor given to other nodes, so that the origin's own takes its place once that can be had.

use std::sync::Arc;

use bytes::Bytes;
use gomod::pseudo::PseudoVersion;
use gomod::{ModuleVersion, Query, Request, Version};
use time::format_description::well_known::Rfc3339;

use super::error::ServeError;
use super::meaning::Meaning;
use super::proxy::{Answer, Proxy};

impl Proxy {
    /// Answers `request` with what follows from the zip that is held; `error` where there is none, or where it is not for want of an
    /// origin.
    pub(super) async fn written_info(
        self: &Arc<Self>,
        request: &Request,
        error: ServeError,
    ) -> Result<Answer, ServeError> {
        let Request::Info(module, Query::Version(version)) = request else { return Err(error) };
        if !stands_in_after(error.meaning()) {
            return Err(error);
        }
        let version = ModuleVersion { module: module.clone(), version: version.clone() };
        match self.record(&version).await {
            Ok(Some(record)) if record.zip.is_some() && record.info.is_none() => {
                Ok(self.as_held(self.as_derived(request, written(&version.version))))
            }
            Ok(_) | Err(_) => Err(error),
        }
    }
}

/// Whether it is only that nobody has the file, or that nobody can be asked for it.
fn stands_in_after(meaning: Meaning) -> bool {
    match meaning {
        Meaning::Absent | Meaning::NotHeld | Meaning::Trouble { .. } => true,
        Meaning::Gone
        | Meaning::Forbidden
        | Meaning::Distrusted
        | Meaning::NotNow
        | Meaning::Failed
        | Meaning::NoRequest => false,
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
        assert!(!stands_in_after(Meaning::Gone) && !stands_in_after(Meaning::Forbidden));
    }
}

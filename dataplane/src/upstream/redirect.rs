//! Owns which redirects are followed. Where the names in them lead to is judged when they are resolved (see
//! `inward`).

use std::sync::Arc;

use reqwest::redirect::Policy;
use url::Url;

use super::inward::Reach;

/// Redirects followed for one request, as the go command does.
pub const REDIRECTS_MAX: usize = 10;

/// Why a redirect is not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RedirectRefused {
    /// A loop, or close enough.
    #[error("more than {REDIRECTS_MAX} redirects")]
    TooMany,
    /// The answer would no longer be protected.
    #[error("from https to http")]
    Downgrade,
    /// An origin elsewhere must not have us read what only this machine, or its network, can reach.
    #[error(
        "to an address further inward than its own: this machine, its network or its cloud's metadata service"
    )]
    Inward,
    /// A redirect must not make us authenticate as somebody.
    #[error("to an address with credentials in it")]
    Credentials,
}

/// The rules for redirects of the origin that leads as far as `reach`.
pub(super) fn policy(reach: Arc<Reach>) -> Policy {
    Policy::custom(move |attempt| match judge(&reach, attempt.previous(), attempt.url()) {
        Ok(()) => attempt.follow(),
        Err(refused) => attempt.error(refused),
    })
}

/// Whether to go on to `next` after `previous` (the first of them is the request itself). The HTTP client drops
/// credentials itself when host, port or scheme change.
fn judge(reach: &Reach, previous: &[Url], next: &Url) -> Result<(), RedirectRefused> {
    if previous.len() > REDIRECTS_MAX {
        return Err(RedirectRefused::TooMany);
    }
    if previous.last().is_some_and(|last| last.scheme() == "https") && next.scheme() != "https" {
        return Err(RedirectRefused::Downgrade);
    }
    if !reach.permits(next) {
        return Err(RedirectRefused::Inward);
    }
    if !next.username().is_empty() || next.password().is_some() {
        return Err(RedirectRefused::Credentials);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    fn judge_from(previous: &[Url], next: &str) -> Result<(), RedirectRefused> {
        judge(&Reach::new(&previous[0], Arc::new([])), previous, &url(next))
    }

    #[test]
    fn redirects_never_leave_https_nor_go_on_for_ever() {
        let (https, http) = ("https://a.example/x", "http://a.example/x");
        assert_eq!(judge_from(&[url(http)], https), Ok(()));
        assert_eq!(judge_from(&[url(http)], http), Ok(()));
        assert_eq!(judge_from(&[url(https)], http), Err(RedirectRefused::Downgrade));
        assert_eq!(judge_from(&[url(https)], "https://me:pw@b.example/"), Err(RedirectRefused::Credentials));
        assert_eq!(judge_from(&vec![url(https); REDIRECTS_MAX], https), Ok(()));
        assert_eq!(judge_from(&vec![url(https); REDIRECTS_MAX + 1], https), Err(RedirectRefused::TooMany));
    }

    #[test]
    fn redirects_do_not_lead_inward() {
        let (outside, inside) = (url("http://192.0.2.1/x"), url("http://127.0.0.1:3000/x"));
        for next in [
            "http://127.0.0.1:8082/metrics",
            "http://2130706433/",
            "http://0.0.0.0/",
            "http://LOCALHOST/",
            "http://db.localhost./",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://10.1.2.3/",
        ] {
            assert_eq!(
                judge_from(std::slice::from_ref(&outside), next),
                Err(RedirectRefused::Inward),
                "{next}"
            );
            assert_eq!(judge_from(std::slice::from_ref(&inside), next), Ok(()), "{next}");
        }
        for next in ["http://169.254.169.254/latest/meta-data/", "http://[fe80::1]/"] {
            for origin in [&outside, &inside] {
                assert_eq!(
                    judge_from(std::slice::from_ref(origin), next),
                    Err(RedirectRefused::Inward),
                    "{next}"
                );
            }
        }
        // A mirror in a private network keeps its zips on a host in that network.
        assert_eq!(judge_from(&[url("http://10.0.0.1/")], "http://192.168.1.1/"), Ok(()));
        // Going out first does not help.
        assert_eq!(judge_from(&[outside, inside.clone()], inside.as_str()), Err(RedirectRefused::Inward));
    }
}

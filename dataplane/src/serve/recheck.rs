//! What nobody vouched for when it came is held against the checksum database once that can be asked: it could not be reached then and
//! was to be done without, or there was none.
//!
//! Content that the database lists otherwise is set aside with all that its version is bound to. Where the database has no record
//! nothing contradicts what is held, and it stays as it is; whoever asks for one version by name hears otherwise (`verify`).

use std::sync::Arc;
use std::time::Duration;

use gomod::ModuleVersion;
use tokio_util::sync::CancellationToken;

use super::error::ServeError;
use super::metrics::RefusedContent;
use super::proxy::{Proxy, forget};
use crate::store::Unvouched;

/// Records that are looked at before others have their turn.
const PAGE_RECORDS: usize = 512;
/// After a start.
const FIRST_PAUSE: Duration = Duration::from_mins(2);
/// Between two looks for which there was no reason.
const PAUSE: Duration = Duration::from_hours(6);
/// After one in which something could not be asked about, and twice as long each time up to the other.
const AGAIN_MIN: Duration = Duration::from_secs(5);
const AGAIN_MAX: Duration = Duration::from_mins(30);
/// Between two looks, whatever the reason: each reads all records. Twice as long, up to the other, after each that finds nothing to do: the
/// database has no record of what still comes.
const PAUSE_MIN: Duration = Duration::from_secs(30);
const IDLE_MAX: Duration = Duration::from_mins(5);
/// After so many versions, one after the other, that cannot be asked about, it is the database and not they.
const IN_VAIN_MAX: u32 = 8;

/// What a look came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Rechecked {
    /// Versions that the database vouches for now.
    vouched: u64,
    /// Versions that it contradicts.
    set_aside: u64,
    /// Versions that it could not be asked about.
    in_vain: u64,
}

/// What came of one version.
enum Outcome {
    Vouched,
    SetAside,
    /// The database says nothing of it, or it is another one by now.
    Stays,
    InVain,
}

impl Proxy {
    /// Looks again and again until `stop`: soon after the database can be asked again, else every few hours.
    pub(crate) async fn keep_rechecking(self: Arc<Self>, stop: CancellationToken) {
        if self.settings.offline || self.layers.checks.sumdb().is_none() {
            return;
        }
        let (mut pause, mut again, mut after) = (FIRST_PAUSE, AGAIN_MIN, None);
        let mut idle = PAUSE_MIN;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.layers.checks.is_back() => {}
                () = tokio::time::sleep(pause) => {}
            }
            let begins_in_the_middle = after.is_some();
            let Some(done) = stop.run_until_cancelled(self.recheck(&mut after)).await else { return };
            let Rechecked { vouched, set_aside, in_vain } = done;
            if vouched + set_aside > 0 {
                tracing::info!(vouched, set_aside, "what nobody had vouched for was checked");
            }
            if in_vain > 0 {
                pause = again;
                again = (again * 2).min(AGAIN_MAX);
            } else {
                pause = if begins_in_the_middle { AGAIN_MIN } else { PAUSE };
                again = AGAIN_MIN;
            }
            idle = if vouched + set_aside > 0 { PAUSE_MIN } else { (idle * 2).min(IDLE_MAX) };
            let at_least = if in_vain > 0 { pause.min(PAUSE_MIN) } else { pause.min(idle) };
            if stop.run_until_cancelled(tokio::time::sleep(at_least)).await.is_none() {
                return;
            }
        }
    }

    /// Looks at all records behind `after`, or, where the database cannot be asked, at some; the next look begins where this one ended.
    async fn recheck(self: &Arc<Self>, after: &mut Option<ModuleVersion>) -> Rechecked {
        let (mut done, mut in_a_row) = (Rechecked::default(), 0);
        loop {
            let from = after.clone();
            let read = move |store: &crate::store::Store| store.unvouched(from.as_ref(), PAGE_RECORDS);
            let (page, last) = match self.with_store("read what is stored", read).await {
                Ok(page) => page,
                Err(error) => {
                    tracing::debug!(%error, "what nobody vouched for cannot be read");
                    done.in_vain += 1;
                    return done;
                }
            };
            for unvouched in page {
                let outcome = self.recheck_one(&unvouched).await.unwrap_or_else(|error| {
                    tracing::debug!(%error, "what nobody vouched for stays as it is");
                    Outcome::InVain
                });
                in_a_row = if matches!(outcome, Outcome::InVain) { in_a_row + 1 } else { 0 };
                match outcome {
                    Outcome::Vouched => done.vouched += 1,
                    Outcome::SetAside => done.set_aside += 1,
                    Outcome::InVain => done.in_vain += 1,
                    Outcome::Stays => {}
                }
                if in_a_row >= IN_VAIN_MAX {
                    *after = Some(unvouched.version);
                    return done;
                }
            }
            *after = last;
            if after.is_none() {
                return done;
            }
        }
    }

    async fn recheck_one(self: &Arc<Self>, unvouched: &Unvouched) -> Result<Outcome, ServeError> {
        let version = &unvouched.version;
        if !self.layers.checks.asks_about(&version.module) {
            return Ok(Outcome::Stays);
        }
        let expected = match self.layers.checks.listed(version).await {
            Ok(expected) => expected,
            // It has no record of it, or says what cannot be believed, which is told where it is met.
            Err(error) => return Ok(if error.is_outage() { Outcome::InVain } else { Outcome::Stays }),
        };
        if let Some(error) = expected.contradiction(unvouched) {
            let is_out = self.disown(unvouched, &error.to_string()).await?;
            return Ok(if is_out { Outcome::SetAside } else { Outcome::Stays });
        }
        let of = unvouched.clone();
        let vouched = self.with_store("note who vouches", move |store| store.vouch(&of)).await?;
        Ok(if vouched { Outcome::Vouched } else { Outcome::Stays })
    }

    /// Sets aside what the checksum database lists otherwise, if it is still what was looked at; whether it was.
    pub(super) async fn disown(&self, of: &Unvouched, reason: &str) -> Result<bool, ServeError> {
        let (bound, told) = (of.clone(), reason.to_owned());
        let is_out = self
            .with_store("set aside what nobody vouches for", move |store| store.disown(&bound, &told))
            .await?;
        if is_out {
            let version = &of.version;
            let shown = |what| self.shown(&version.module, what);
            tracing::error!(
                version = %shown(version),
                reason = %shown(&reason),
                "what was held is not what the checksum database lists, and is set aside"
            );
            self.layers.metrics.refused(RefusedContent::Held);
            forget(&self.layers.memory, version);
            // Who sent what did not agree with it may have been in the right.
            self.avoided.forgive(version);
            self.layers.upstream.zip_may_be_right(version);
        }
        Ok(is_out)
    }
}

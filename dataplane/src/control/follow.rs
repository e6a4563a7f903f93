//! Following what the cluster agrees on: a stream of changes from the revision that is in use, or of the whole.

use std::sync::Arc;
use std::time::Duration;

use cluster::view::ViewError;
use cluster::{Change, Key, Record, RecordError, Revision, StateDigest, View};
use common::error_chain::ErrorChain;
use proto::Fault;
use proto::node::v1 as pb;
use proto::node::v1::watch_records_response::Event;
use tokio_util::sync::CancellationToken;

use super::link::Link;
use super::metrics::ControlFamilies;
use super::views::{Views, ViewsError};

/// Pauses after a stream broke.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// A stream on which nothing comes for so long is given up; there is a bookmark every 5 seconds.
const SILENCE_MAX: Duration = Duration::from_secs(15);
/// Records of a whole state that are taken.
const RECORDS_MAX: u64 = 100_000;

/// Why a stream is given up.
#[derive(Debug, thiserror::Error)]
enum FollowError {
    /// The other side ended it.
    #[error("the control node ended the stream")]
    Ended,
    /// The other side refused or broke off.
    #[error("the control node says")]
    Refused(#[from] Fault),
    /// Nothing came.
    #[error("nothing was heard for {} s", SILENCE_MAX.as_secs())]
    Silence,
    /// What came is no record.
    #[error("read a record")]
    Record(#[from] RecordError),
    /// What came is no key.
    #[error("read a key")]
    Key(#[from] cluster::record::KeyError),
    /// What came does not fit together, or could not be written.
    #[error("take it up")]
    Views(#[from] ViewsError),
    /// What came is not what was announced.
    #[error("the whole state is not what was announced: {0}")]
    Whole(&'static str),
}

/// Follows until `stop`.
pub(super) struct Follower {
    pub(super) link: Arc<Link>,
    pub(super) views: Arc<Views>,
    pub(super) families: Arc<ControlFamilies>,
}

/// A whole state as it comes in.
#[derive(Default)]
struct Whole {
    revision: u64,
    announced: u64,
    records: Vec<Record>,
}

impl Follower {
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut pause = PAUSE_MIN;
        // Each node begins with another member, so that they do not all follow the same.
        let mut turn = usize::from(rand::random::<u16>());
        // What was refused is asked for as a whole: a change that is missing shows in what comes after it.
        let mut from_scratch = false;
        loop {
            let Some(followed) = stop.run_until_cancelled(self.follow(turn, from_scratch, &mut pause)).await
            else {
                return;
            };
            self.families.connected.set(0);
            from_scratch = match &followed {
                FollowError::Record(_) | FollowError::Key(_) | FollowError::Whole(_) => true,
                FollowError::Views(error) => {
                    self.families.refused.inc();
                    matches!(error, ViewsError::View(error) if !matches!(error, ViewError::Older { .. }))
                }
                FollowError::Ended | FollowError::Refused(_) | FollowError::Silence => false,
            };
            tracing::debug!(error = %ErrorChain::new(&followed), "following the control plane broke off");
            turn += 1;
            if stop.run_until_cancelled(tokio::time::sleep(jittered(pause))).await.is_none() {
                return;
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn follow(&self, turn: usize, from_scratch: bool, pause: &mut Duration) -> FollowError {
        match self.stream(turn, from_scratch, pause).await {
            Ok(()) => FollowError::Ended,
            Err(error) => error,
        }
    }

    async fn stream(&self, turn: usize, from_scratch: bool, pause: &mut Duration) -> Result<(), FollowError> {
        let mut members = self.link.members(turn).into_iter();
        let Some(mut client) = members.next().and_then(|address| self.link.client(&address)) else {
            return Ok(());
        };
        let revision = self.views.current().filter(|_| !from_scratch).map_or(0, |view| view.revision().get());
        let request = pb::WatchRecordsRequest { after_revision: revision };
        let opening = tokio::time::timeout(SILENCE_MAX, client.watch_records(request));
        let opened = opening.await.map_err(|_| FollowError::Silence)?;
        let mut stream = opened.map_err(|status| Fault::of_status(&status))?.into_inner();
        let mut whole: Option<Whole> = None;
        loop {
            let next = tokio::time::timeout(SILENCE_MAX, stream.message());
            let answer = next.await.map_err(|_| FollowError::Silence)?;
            let Some(answer) = answer.map_err(|status| Fault::of_status(&status))? else { return Ok(()) };
            *pause = PAUSE_MIN;
            self.families.connected.set(1);
            match answer.event {
                Some(Event::Changes(changes)) => self.change(&changes)?,
                Some(Event::ResyncBegin(begin)) => {
                    if begin.record_count > RECORDS_MAX {
                        return Err(FollowError::Whole("it has too many records"));
                    }
                    whole = Some(Whole {
                        revision: begin.revision,
                        announced: begin.record_count,
                        records: Vec::new(),
                    });
                }
                Some(Event::ResyncPart(part)) => {
                    let whole = whole.as_mut().ok_or(FollowError::Whole("a part without a beginning"))?;
                    for record in part.records {
                        whole.records.push(Record::decode(&record.key, &record.value)?);
                    }
                    if whole.records.len() as u64 > whole.announced {
                        return Err(FollowError::Whole("it has more records than announced"));
                    }
                }
                Some(Event::ResyncEnd(end)) => {
                    let whole = whole.take().ok_or(FollowError::Whole("an end without a beginning"))?;
                    self.take_whole(whole, &end)?;
                }
                // Nothing, or something from a later release.
                Some(Event::Bookmark(_)) | None => {}
            }
            if whole.is_none() {
                self.views.confirm(self.link.clock.monotonic());
            }
        }
    }

    fn change(&self, told: &pb::RecordChanges) -> Result<(), FollowError> {
        let view = self.views.current().ok_or(FollowError::Whole("changes before a whole state"))?;
        let mut changes = Vec::with_capacity(told.puts.len() + told.deletes.len());
        for key in &told.deletes {
            changes.push(Change::Delete(Key::decode(key)?));
        }
        for record in &told.puts {
            changes.push(Change::Put(Record::decode(&record.key, &record.value)?));
        }
        let next = view.with_changes(Revision::new(told.revision), changes).map_err(ViewsError::from)?;
        self.use_view(next)
    }

    fn take_whole(&self, whole: Whole, end: &pb::ResyncEnd) -> Result<(), FollowError> {
        if whole.records.len() as u64 != whole.announced || end.revision != whole.revision {
            return Err(FollowError::Whole("records are missing"));
        }
        if StateDigest::of(whole.records.iter().cloned()).to_bytes().as_slice() != end.digest {
            return Err(FollowError::Whole("its digest is another one"));
        }
        let view = View::load(Revision::new(whole.revision), whole.records).map_err(ViewsError::from)?;
        if let Some(current) = self.views.current() {
            current.check_successor(&view).map_err(ViewsError::from)?;
        }
        self.use_view(view)
    }

    fn use_view(&self, view: View) -> Result<(), FollowError> {
        let (revision, epoch) = (view.revision(), view.transition().current);
        // A file of some kilobytes, a few times a minute at most: not worth another thread.
        tokio::task::block_in_place(|| self.views.replace(view))?;
        self.families.revision.set(i64::try_from(revision.get()).unwrap_or(i64::MAX));
        self.families.epoch.set(i64::try_from(epoch.get()).unwrap_or(i64::MAX));
        tracing::info!(%revision, %epoch, "took up what the cluster agrees on");
        Ok(())
    }
}

/// Three quarters to five quarters of a pause, so that nodes that lost the same control node do not come back as one.
pub(super) fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(rand::random_range(0.75..1.25))
}

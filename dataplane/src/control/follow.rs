//! Following what the cluster agrees on: a stream of changes from the revision that is in use, or of the whole.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use cluster::view::ViewError;
use cluster::{Address, Change, Key, Record, RecordError, Revision, StateDigest, View};
use common::error_chain::ErrorChain;
use proto::node::v1 as pb;
use proto::node::v1::watch_records_response::Event;
use proto::{ErrorCode, Fault};
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

/// How it goes, from one attempt to the next.
struct Course {
    /// Before the next attempt.
    pause: Duration,
    /// Control nodes that said, since one was followed, that this node does not belong to the cluster.
    refused_by: BTreeSet<Address>,
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
        let mut course = Course { pause: PAUSE_MIN, refused_by: BTreeSet::new() };
        // Each node begins with another member, so that they do not all follow the same.
        let mut turn = usize::from(rand::random::<u16>());
        // What was refused is asked for as a whole: a change that is missing shows in what comes after it.
        let mut from_scratch = false;
        loop {
            let target = self.link.members(turn).into_iter().next();
            let following = self.follow(target.as_ref(), from_scratch, &mut course);
            let Some(followed) = stop.run_until_cancelled(following).await else { return };
            self.families.connected.set(0);
            self.families.view_age.broke_off();
            if let (Some(target), FollowError::Refused(fault)) = (target, &followed)
                && fault.code == ErrorCode::PermissionDenied
            {
                self.sent_away_by(target, &mut course.refused_by);
            }
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
            if stop.run_until_cancelled(tokio::time::sleep(jittered(course.pause))).await.is_none() {
                return;
            }
            course.pause = (course.pause * 2).min(PAUSE_MAX);
        }
    }

    async fn follow(&self, target: Option<&Address>, from_scratch: bool, course: &mut Course) -> FollowError {
        match self.stream(target, from_scratch, course).await {
            Ok(()) => FollowError::Ended,
            Err(error) => error,
        }
    }

    /// A control node said that this node does not belong to the cluster. One alone may not have heard yet that it does; most of them have.
    fn sent_away_by(&self, member: Address, refused_by: &mut BTreeSet<Address>) {
        let Some(view) = self.views.current() else { return };
        let members: Vec<Address> = view.members().filter_map(|member| member.rpc.clone()).collect();
        refused_by.insert(member);
        if most_refuse(&members, refused_by) && !self.views.set_sent_away(true) {
            tracing::error!(
                "this node was removed from its cluster: stop it, and render the balancer's configuration again; it is not ready any more"
            );
        }
    }

    /// A control node is followed.
    fn is_followed(&self, course: &mut Course) {
        course.pause = PAUSE_MIN;
        course.refused_by.clear();
        self.families.connected.set(1);
        if self.views.set_sent_away(false) {
            tracing::info!("this node belongs to its cluster again");
        }
    }

    async fn stream(
        &self,
        target: Option<&Address>,
        from_scratch: bool,
        course: &mut Course,
    ) -> Result<(), FollowError> {
        let Some(mut client) = target.and_then(|address| self.link.client(address)) else { return Ok(()) };
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
            self.is_followed(course);
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
                self.families.view_age.confirm();
                tokio::task::block_in_place(|| self.views.write_again());
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
        self.use_view(next);
        Ok(())
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
        self.use_view(view);
        Ok(())
    }

    fn use_view(&self, view: View) {
        let (revision, epoch) = (view.revision(), view.transition().current);
        // A file of some kilobytes, a few times a minute at most: not worth another thread.
        tokio::task::block_in_place(|| self.views.replace(view));
        self.families.revision.set(i64::try_from(revision.get()).unwrap_or(i64::MAX));
        self.families.epoch.set(i64::try_from(epoch.get()).unwrap_or(i64::MAX));
        tracing::info!(%revision, %epoch, "took up what the cluster agrees on");
    }
}

/// Whether most of `members` are among those that refused. Who is no member any more, or known by another address as well, does not count.
fn most_refuse(members: &[Address], refused_by: &mut BTreeSet<Address>) -> bool {
    refused_by.retain(|address| members.contains(address));
    refused_by.len() * 2 > members.len()
}

/// Three quarters to five quarters of a pause, so that nodes that lost the same control node do not come back as one.
pub(super) fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(rand::random_range(0.75..1.25))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_control_node_of_several_removes_nobody() {
        let address = |number: u16| Address::parse(&format!("10.0.0.{number}:8083")).unwrap();
        let members = [1, 2, 3].map(address);
        let mut refused_by = BTreeSet::from([address(1)]);
        assert!(!most_refuse(&members, &mut refused_by));
        // The same one, by another address.
        refused_by.insert(address(9));
        assert!(!most_refuse(&members, &mut refused_by));
        refused_by.insert(address(3));
        assert!(most_refuse(&members, &mut refused_by));
        assert!(most_refuse(&members[..1], &mut BTreeSet::from([address(1)])));
        assert!(!most_refuse(&[], &mut refused_by));
    }
}

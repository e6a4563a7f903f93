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
            self.views.age().broke_off();
            if let (Some(target), FollowError::Refused(fault)) = (target, &followed)
                && fault.code == ErrorCode::PermissionDenied
            {
                self.sent_away_by(target, &mut course.refused_by);
            }
            from_scratch = match &followed {
                FollowError::Record(_) | FollowError::Key(_) | FollowError::Whole(_) => true,
                FollowError::Views(error) => {
                    self.families.refused.inc();
                    match error {
                        // This one is behind; the next one may have what is wanted.
                        ViewsError::View(ViewError::Older { .. }) => from_scratch,
                        ViewsError::View(_) => true,
                        ViewsError::Io { .. } | ViewsError::Damaged { .. } | ViewsError::Record(_) => false,
                    }
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

    /// A control node is followed: something of it was taken up.
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
            // Whether the control node says by it that what is in use is the latest.
            let is_word = match answer.event {
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
                    false
                }
                Some(Event::ResyncPart(part)) => {
                    let whole = whole.as_mut().ok_or(FollowError::Whole("a part without a beginning"))?;
                    for record in part.records {
                        whole.records.push(Record::decode(&record.key, &record.value)?);
                    }
                    if whole.records.len() as u64 > whole.announced {
                        return Err(FollowError::Whole("it has more records than announced"));
                    }
                    false
                }
                Some(Event::ResyncEnd(end)) => {
                    let whole = whole.take().ok_or(FollowError::Whole("an end without a beginning"))?;
                    self.take_whole(whole, &end)?;
                    // Who sends everything has not made sure of anything; a bookmark comes if he can.
                    false
                }
                Some(Event::Bookmark(_)) => true,
                // Something from a later release.
                None => false,
            };
            if whole.is_none() {
                self.is_followed(course);
                if is_word && let Some(now_us) = self.views.age().confirm() {
                    let views = Arc::clone(&self.views);
                    tokio::task::spawn_blocking(move || views.note_heard(now_us));
                }
                self.write_view();
            }
        }
    }

    /// Tells whether they lead to something newer.
    fn change(&self, told: &pb::RecordChanges) -> Result<bool, FollowError> {
        let view = self.views.current().ok_or(FollowError::Whole("changes before a whole state"))?;
        let mut changes = Vec::with_capacity(told.puts.len() + told.deletes.len());
        for key in &told.deletes {
            changes.push(Change::Delete(Key::decode(key)?));
        }
        for record in &told.puts {
            changes.push(Change::Put(Record::decode(&record.key, &record.value)?));
        }
        let next = view.with_changes(Revision::new(told.revision), changes).map_err(ViewsError::from)?;
        let is_newer = next.revision() > view.revision();
        self.use_view(next);
        Ok(is_newer)
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
            check_whole(&current, &view).map_err(ViewsError::from)?;
        }
        self.use_view(view);
        Ok(())
    }

    /// Has the view in use written. What comes next does not wait for a disk that hangs.
    fn write_view(&self) {
        if self.views.has_to_be_written() {
            let views = Arc::clone(&self.views);
            tokio::task::spawn_blocking(move || views.write());
        }
    }

    fn use_view(&self, view: View) {
        let (revision, epoch) = (view.revision(), view.transition().current);
        self.views.take_up(view);
        self.write_view();
        self.families.revision.set(i64::try_from(revision.get()).unwrap_or(i64::MAX));
        self.families.epoch.set(i64::try_from(epoch.get()).unwrap_or(i64::MAX));
        tracing::info!(%revision, %epoch, "took up what the cluster agrees on");
    }
}

/// Refuses a whole state that must not take the place of the one in use. A control node that is cut off or lags sends all that it has to a
/// node that knows more: a takedown would be undone. After a recovery the revisions of before mean nothing.
fn check_whole(current: &View, next: &View) -> Result<(), ViewError> {
    current.check_successor(next)?;
    let is_recovered = next.cluster().recovery > current.cluster().recovery;
    let (offered, current) = (next.revision(), current.revision());
    if offered < current && !is_recovered { Err(ViewError::Older { offered, current }) } else { Ok(()) }
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
    use cluster::record::{Authority, AuthorityState, Cluster, Settings, TransitionRecord};
    use cluster::{Blob, ClusterId, Datacenter, Epoch, Generation, Timestamp};
    use common::clock::{Clock, ManualClock, SystemClock};

    use super::*;
    use crate::control::ViewAge;

    fn whole(id: u8, recovery: u64, revision: u64) -> View {
        let (created, since) = (Timestamp::default(), Timestamp::default());
        let cluster = Cluster {
            id: ClusterId::from_bytes([id; 16]),
            datacenter: Datacenter::parse("default").unwrap(),
            created,
            settings: Settings::DEFAULT,
            recovery: Generation::new(recovery),
        };
        let transition = TransitionRecord { current: Epoch::default(), previous: None, paused: false, since };
        let authority = Authority {
            generation: Generation::new(1),
            state: AuthorityState::Current,
            certificate: Blob::new(b"certificate"),
            sealed_key: None,
            created,
            since,
        };
        let records =
            [Record::Cluster(cluster), Record::Transition(transition), Record::Authority(authority)];
        View::load(Revision::new(revision), records).unwrap()
    }

    #[test]
    fn a_whole_state_that_is_older_is_refused_unless_the_cluster_was_recovered() {
        let current = whole(1, 1, 100);
        let check = |id, recovery, revision| check_whole(&current, &whole(id, recovery, revision));
        assert_eq!(check(1, 1, 100), Ok(()));
        assert_eq!(check(1, 1, 101), Ok(()));
        let older = ViewError::Older { offered: Revision::new(90), current: Revision::new(100) };
        assert_eq!(check(1, 1, 90), Err(older));
        assert_eq!(check(1, 2, 90), Ok(()));
        let left_behind = ViewError::LeftBehind { offered: Generation::new(0), current: Generation::new(1) };
        assert_eq!(check(1, 0, 110), Err(left_behind));
        assert_eq!(check(2, 1, 110), Err(ViewError::OtherCluster));
    }

    #[test]
    fn a_view_is_used_before_it_is_on_disk_and_however_that_goes() {
        let folder = tempfile::tempdir().unwrap();
        let gone = folder.path().join("views");
        let age = ViewAge::new(Arc::new(SystemClock));
        let views = Views::empty(&gone, age.clone());
        let revision = |views: &Views| views.look(View::revision);
        views.take_up(whole(1, 1, 100));
        assert_eq!(revision(&views), Some(Revision::new(100)));
        views.write();
        assert!(views.has_to_be_written(), "there is no such folder");
        std::fs::create_dir(&gone).unwrap();
        views.write();
        assert!(!views.has_to_be_written());
        views.take_up(whole(1, 1, 101));
        assert_eq!(revision(&Views::open(&gone, age.clone()).unwrap()), Some(Revision::new(100)));
        views.write();
        assert_eq!(revision(&Views::open(&gone, age).unwrap()), Some(Revision::new(101)));
    }

    #[test]
    fn how_old_a_view_is_outlasts_the_process() {
        const HOUR_US: i64 = 3_600_000_000;
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(100 * HOUR_US));
        let new_age = || ViewAge::new(Arc::clone(&clock) as Arc<dyn Clock>);
        let opened = || Views::open(folder.path(), new_age()).unwrap().age().age();
        assert_eq!(opened(), Duration::ZERO, "it belongs to no cluster");
        let views = Views::empty(folder.path(), new_age());
        views.take_up(whole(1, 1, 100));
        views.write();
        assert_eq!(opened(), Duration::ZERO, "nothing was written down yet");
        views.note_heard(views.age().confirm().unwrap());
        clock.advance(Duration::from_hours(2));
        assert_eq!(opened(), Duration::from_hours(2));
        std::fs::write(folder.path().join("view-heard"), "99999999999999999999999").unwrap();
        assert_eq!(opened(), Duration::ZERO);
    }

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

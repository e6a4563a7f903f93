//! What the cluster agrees on, as this node knows it, and how old that may be: in memory for serving, on disk for the next start.
//!
//! The file has a head, the revision, the records, and a SHA-256 over all of it. Invariants: what is in use was validated as a
//! whole; what is on disk is never newer. On a disk that takes no writes, or hangs, a view is used all the same: what was taken down is not to
//! be served by a node that serves what it holds.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use arc_swap::ArcSwapOption;
use cluster::view::ViewError;
use cluster::{Record, RecordError, Revision, View};
use sha2::{Digest as _, Sha256};

use super::view_age::ViewAge;

/// The file's name.
const FILE: &str = "view";
/// Where the time of the last word is written down.
const HEARD_FILE: &str = "view-heard";
/// Bytes of that file that are read: a number.
const HEARD_BYTES_MAX: u64 = 20;
/// What it begins with; the last byte is the version of its form.
const MAGIC: &[u8; 8] = b"gpview\0\x01";
/// Bytes of a file that is read: layouts of a thousand nodes and all else take less than a tenth.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// Why there is no view, or not this one.
#[derive(Debug, thiserror::Error)]
pub enum ViewsError {
    /// The file cannot be read or written.
    #[error("access {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file is damaged.
    #[error("{} is damaged: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A record is none.
    #[error("read a record of the cluster")]
    Record(#[from] RecordError),
    /// The records make no view.
    #[error("take up what the cluster agrees on")]
    View(#[from] ViewError),
}

/// The view in use, and its file.
#[derive(Debug)]
pub struct Views {
    path: PathBuf,
    heard_path: PathBuf,
    age: ViewAge,
    /// Somebody is writing down when a control node last spoke.
    noting: AtomicBool,
    current: ArcSwapOption<View>,
    /// The view in use is not on disk.
    unwritten: AtomicBool,
    /// Somebody is about to write it.
    writing: AtomicBool,
    /// The last attempt to write one failed.
    failing: AtomicBool,
    sent_away: AtomicBool,
}

impl Views {
    /// Takes up what is in `folder`. A file that is damaged is an error; one that is not there is none. The age of what is there is `age`, which
    /// goes on from where it was.
    pub fn open(folder: &Path, age: ViewAge) -> Result<Self, ViewsError> {
        let views = Self::empty(folder, age);
        if let Some(bytes) = read(&views.path)? {
            views.current.store(Some(Arc::new(decode(&views.path, &bytes)?)));
            views.age.begin(read_heard(&views.heard_path));
        }
        Ok(views)
    }

    /// Begins without a view: the next one is asked for as a whole.
    pub fn empty(folder: &Path, age: ViewAge) -> Self {
        Self {
            path: folder.join(FILE),
            heard_path: folder.join(HEARD_FILE),
            age,
            noting: AtomicBool::default(),
            current: ArcSwapOption::empty(),
            unwritten: AtomicBool::default(),
            writing: AtomicBool::default(),
            failing: AtomicBool::default(),
            sent_away: AtomicBool::default(),
        }
    }

    /// The view in use; none before the first.
    pub fn current(&self) -> Option<Arc<View>> {
        self.current.load_full()
    }

    /// Looks at the view in use, without taking hold of it; nothing before the first.
    pub fn look<T>(&self, at: impl FnOnce(&View) -> T) -> Option<T> {
        self.current.load().as_ref().map(|view| at(view))
    }

    /// How old the view in use may be.
    pub fn age(&self) -> &ViewAge {
        &self.age
    }

    /// Writes down when a control node said that the view in use is the latest, as [`ViewAge::confirm`] gave it. Where that fails the node takes
    /// the view for older than it is, after its next start. Blocks for as long as the disk does.
    pub fn note_heard(&self, at_us: i64) {
        if self.noting.swap(true, SeqCst) {
            return;
        }
        if let Err(error) = common::durable_file::replace(&self.heard_path, at_us.to_string().as_bytes()) {
            tracing::debug!(%error, "when a control node last spoke cannot be written down");
        }
        self.noting.store(false, SeqCst);
    }

    /// Uses a view from now on; [`Self::write`] brings it onto disk.
    pub fn take_up(&self, view: View) {
        self.current.store(Some(Arc::new(view)));
        self.unwritten.store(true, SeqCst);
    }

    /// Whether the view in use is not on disk, and nobody is about to write it.
    pub fn has_to_be_written(&self) -> bool {
        self.unwritten.load(SeqCst) && !self.writing.load(SeqCst)
    }

    /// Writes the view in use unless it is on disk, or somebody else writes it. One that fails to be written is left for the next call. Blocks
    /// for as long as the disk does.
    pub fn write(&self) {
        // Looked at again after each one: whoever took a view up meanwhile left it to this.
        while self.unwritten.load(SeqCst) && !self.writing.swap(true, SeqCst) {
            let failed = self.unwritten.swap(false, SeqCst) && !self.write_current();
            if failed {
                self.unwritten.store(true, SeqCst);
            }
            self.writing.store(false, SeqCst);
            if failed {
                return;
            }
        }
    }

    /// Tells whether it was written.
    fn write_current(&self) -> bool {
        let Some(view) = self.current() else { return true };
        let written = common::durable_file::replace(&self.path, &encode(&view));
        let failed_before = self.failing.swap(written.is_err(), Relaxed);
        match &written {
            Err(error) if !failed_before => tracing::warn!(
                %error,
                "what the cluster agrees on cannot be written; it is in use, and written when that succeeds"
            ),
            Ok(()) if failed_before => tracing::info!("what the cluster agrees on is written again"),
            Ok(()) | Err(_) => {}
        }
        written.is_ok()
    }

    /// The control plane sends this node away, which was removed, or has it back. Tells how it was.
    pub fn set_sent_away(&self, sent_away: bool) -> bool {
        self.sent_away.swap(sent_away, Relaxed)
    }

    /// Whether the control plane sends this node away. What it knows of the cluster is of the time before.
    pub fn is_sent_away(&self) -> bool {
        self.sent_away.load(Relaxed)
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, ViewsError> {
    let wrong = |source| ViewsError::Io { path: path.to_owned(), source };
    match std::fs::metadata(path) {
        Ok(found) if found.len() > FILE_BYTES_MAX => {
            Err(ViewsError::Damaged { path: path.to_owned(), what: "it is far too long" })
        }
        Ok(_) => std::fs::read(path).map(Some).map_err(wrong),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(wrong(error)),
    }
}

/// None if nothing can be read there.
fn read_heard(path: &Path) -> Option<i64> {
    let mut text = String::new();
    std::fs::File::open(path).ok()?.take(HEARD_BYTES_MAX).read_to_string(&mut text).ok()?;
    text.parse().ok()
}

fn encode(view: &View) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(view.revision().get().to_be_bytes());
    for record in view.records() {
        for part in [record.key().encode(), record.encode()] {
            bytes.extend(u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
            bytes.extend(part);
        }
    }
    let sum = Sha256::digest(&bytes);
    bytes.extend(sum);
    bytes
}

fn decode(path: &Path, bytes: &[u8]) -> Result<View, ViewsError> {
    let damaged = |what| ViewsError::Damaged { path: path.to_owned(), what };
    let (content, sum) = bytes.split_last_chunk::<32>().ok_or_else(|| damaged("it is too short"))?;
    if Sha256::digest(content).as_slice() != sum {
        return Err(damaged("its checksum does not match"));
    }
    let rest = content.strip_prefix(MAGIC).ok_or_else(|| damaged("it is of another kind or version"))?;
    let (revision, mut rest) = rest.split_first_chunk::<8>().ok_or_else(|| damaged("it has no revision"))?;
    let mut records = Vec::new();
    while !rest.is_empty() {
        let (key, value);
        (key, rest) = part(rest).ok_or_else(|| damaged("it ends within a record"))?;
        (value, rest) = part(rest).ok_or_else(|| damaged("it ends within a record"))?;
        records.push(Record::decode(key, value)?);
    }
    Ok(View::load(Revision::new(u64::from_be_bytes(*revision)), records)?)
}

fn part(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_be_bytes(*length) as usize)
}

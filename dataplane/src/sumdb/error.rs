//! Owns what can go wrong with the checksum database, one variant for each decision and metric.

use std::sync::Arc;

use gomod::ModuleVersion;
use gomod::sumdb::{LookupError, Refusal};

use super::store::SumStoreError;
use crate::upstream::{FetchError, OriginId};

/// Why there is no answer. Texts are for the Go developer whose build they stop.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SumDbError {
    /// The path under `/sumdb/` names a database that this server does not know.
    #[error("this server does not serve the checksum database of that name")]
    UnknownDatabase,
    /// The path under `/sumdb/` is none of those there are.
    #[error("no such path in the checksum database")]
    UnknownPath,
    /// The database does not know the module version.
    #[error("the checksum database has no record of {what}{}", if detail.is_empty() { String::new() } else { format!(": {detail}") })]
    NotFound {
        /// What was asked for.
        what: String,
        /// What the database said; may be empty.
        detail: String,
    },
    /// A tree head that the configured key has not signed.
    #[error("the checksum database's tree head is not signed by its key")]
    BadSignature(#[source] Refusal),
    /// Two signed tree heads contradict each other; nothing new is believed until an operator has looked into it.
    #[error(
        "the checksum database contradicts itself; nothing new is accepted until this server's operator has looked into it (`goproxyd sumdb fork`)"
    )]
    Fork,
    /// A tile that does not lead to the tree head.
    #[error("the checksum database sent a tile that does not belong to its tree")]
    TileMismatch(#[source] Refusal),
    /// The log has another record at that number.
    #[error("the checksum database sent a record that is not in its log")]
    RecordMismatch(#[source] Refusal),
    /// A record about something else.
    #[error("the checksum database answered about another module version than {asked}")]
    Unrelated {
        /// What was asked for.
        asked: ModuleVersion,
    },
    /// An answer that is empty or not in the database's format.
    #[error("the checksum database sent a malformed answer")]
    Malformed(#[source] Refusal),
    /// The database, or the way to it, does not answer.
    #[error("the checksum database cannot be asked: {0}")]
    Unavailable(FetchError),
    /// Not held, and this server fetches nothing.
    #[error(
        "{what} of the checksum database is not held here and this server is offline; fetch the module once while it is online, or set GONOSUMDB for it"
    )]
    Offline {
        /// What was asked for.
        what: String,
    },
    /// Not held, and not to be asked for on behalf of this client.
    #[error("{what} of the checksum database is not held here, and the request forbids fetching")]
    NotHeld {
        /// What was asked for.
        what: String,
    },
    /// The module is not to be named to the public database.
    #[error(
        "the checksum database is not asked about this module because it is private here; add its prefix to GONOSUMDB"
    )]
    Private,
    /// The store below failed.
    #[error("read or write the store of the checksum database")]
    Store(#[source] Arc<SumStoreError>),
}

/// Why the checksum database cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum SumDbOpenError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] SumStoreError),
    /// The tree head held is not signed by the configured key: another database of the same name was used before.
    #[error("read the stored tree head of {name}; is the database's key right?")]
    Head {
        /// The database's name.
        name: String,
        /// What is wrong with the head.
        #[source]
        source: Box<Refusal>,
    },
}

impl SumDbError {
    /// Sorts what a proof refused; `asked` is the module version, if it is about one.
    pub(super) fn refused(refusal: Refusal, asked: Option<&ModuleVersion>) -> Self {
        match (refusal, asked) {
            (refusal @ (Refusal::Note(_) | Refusal::Head(_)), _) => Self::BadSignature(refusal),
            (Refusal::Lookup(LookupError::Unrelated(_)), Some(asked)) => {
                Self::Unrelated { asked: asked.clone() }
            }
            (refusal @ (Refusal::Lookup(_) | Refusal::Order { .. }), _) => Self::Malformed(refusal),
            (
                refusal @ (Refusal::TileLength { .. } | Refusal::Tile { .. } | Refusal::EdgeTiles { .. }),
                _,
            ) => Self::TileMismatch(refusal),
            (refusal @ (Refusal::RecordOutside { .. } | Refusal::Record { .. }), _) => {
                Self::RecordMismatch(refusal)
            }
            (Refusal::Fork { .. }, _) => Self::Fork,
        }
    }

    /// A tile that must be there is not: that says nothing about the module, so it is trouble and not absence.
    pub(super) fn tile_missing(self, database: &str) -> Self {
        if let Self::NotFound { detail, .. } = self {
            let origin = OriginId::new(u16::MAX, database);
            return Self::Unavailable(FetchError::NotFound { gone: false, detail, origin });
        }
        self
    }

    /// Sorts a failed fetch of `what`.
    pub(super) fn fetch(error: FetchError, what: &str) -> Self {
        if let FetchError::NotFound { detail, .. } = error {
            return Self::NotFound { what: what.to_owned(), detail };
        }
        Self::Unavailable(error)
    }

    /// Whether the database could not be asked, so that it says nothing of what was asked.
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Offline { .. })
    }

    /// Whether it was not asked because too much is asked of it through here: no outage of its own.
    pub fn is_own_limit(&self) -> bool {
        matches!(self, Self::Unavailable(error) if error.is_own_limit())
    }

    /// For metrics and logs.
    pub fn label(&self) -> &'static str {
        match self {
            Self::UnknownDatabase => "unknown_database",
            Self::UnknownPath => "unknown_path",
            Self::NotFound { .. } => "not_found",
            Self::BadSignature(_) => "bad_signature",
            Self::Fork => "fork",
            Self::TileMismatch(_) => "tile_mismatch",
            Self::RecordMismatch(_) => "record_mismatch",
            Self::Unrelated { .. } => "unrelated",
            Self::Malformed(_) => "malformed",
            Self::Unavailable(_) => "unavailable",
            Self::Offline { .. } => "offline",
            Self::NotHeld { .. } => "not_held",
            Self::Private => "private",
            Self::Store(_) => "store",
        }
    }
}

impl From<SumStoreError> for SumDbError {
    fn from(error: SumStoreError) -> Self {
        Self::Store(Arc::new(error))
    }
}

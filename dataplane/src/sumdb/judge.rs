//! Owns what is made of a proof that came to nothing: a broken answer that may be a good one next time, or a fork.
//!
//! Invariant: a fork is called only on two signed heads and on tiles that contradict each other, each proven under its
//! head. Tiles that lead nowhere are worth nothing, whoever sends them, and cannot raise the alarm.

use std::sync::Arc;

use gomod::ModuleVersion;
use gomod::sumdb::{Refusal, SignedHead, TreeHead, check_consistency};

use super::error::SumDbError;
use super::tiles::{Tiles, Unproven, blocking};

impl Tiles {
    /// Sorts why `note`, the signed head of an answer about `asked`, is not accepted besides `known`; a fork raises the
    /// alarm.
    ///
    /// A proof uses held tiles as far as they go. If the head leads to another history they fit it no better than a tile
    /// that was garbled on the way, so that a refusal alone does not tell which of them it is.
    pub(super) async fn judge(
        &self,
        unproven: Unproven,
        asked: Option<&ModuleVersion>,
        known: Option<Arc<SignedHead>>,
        note: &[u8],
    ) -> SumDbError {
        let forked = match &unproven {
            Unproven::Refused(Refusal::Fork { .. }) => true,
            // Nobody was asked.
            Unproven::Failed(error) if error.is_own_limit() => false,
            Unproven::Refused(
                Refusal::TileLength { .. }
                | Refusal::Tile { .. }
                | Refusal::EdgeTiles { .. }
                | Refusal::RecordOutside { .. }
                | Refusal::Record { .. },
            )
            | Unproven::Failed(SumDbError::Unavailable(_)) => match (&known, self.open(note)) {
                (Some(known), Some(new)) => self.contradict(*known.head(), new).await,
                _ => false,
            },
            Unproven::Refused(_) | Unproven::Failed(_) => false,
        };
        if forked {
            let timeline = Arc::clone(self.timeline());
            let theirs = String::from_utf8_lossy(note).into_owned();
            let raised = blocking(move || Ok(timeline.raise(known.as_deref(), &theirs))).await;
            return raised.unwrap_or_else(|error| error);
        }
        match unproven {
            Unproven::Refused(refusal) => SumDbError::refused(refusal, asked),
            Unproven::Failed(error) => error,
        }
    }

    fn open(&self, note: &[u8]) -> Option<TreeHead> {
        SignedHead::open(note, self.timeline().key()).ok().map(|signed| *signed.head())
    }

    /// Whether it can be shown that two signed heads have different histories.
    async fn contradict(&self, known: TreeHead, new: TreeHead) -> bool {
        let (older, newer) = if new.size > known.size { (known, new) } else { (new, known) };
        // The two heads alone: the record may have been what was wrong.
        match self.settle(move |source| check_consistency(&older, &newer, source)).await {
            Ok(_) => return false,
            Err(Unproven::Refused(Refusal::Fork { .. })) => return true,
            Err(_) => {}
        }
        if new.size > known.size {
            // Held tiles are those of our history, so the other one is asked for all of its own.
            let anew = self.settle_anew(move |source| check_consistency(&older, &newer, source)).await;
            return matches!(anew, Err(Unproven::Refused(Refusal::Fork { .. })));
        }
        // Whoever has another history cannot have the tiles of ours, which is the longer one; but its own can be compared.
        self.edge_differs(new).await.unwrap_or_else(|error| {
            tracing::debug!(%error, size = new.size, "the tiles of a shorter tree tell nothing");
            false
        })
    }

    /// Whether a tile on the right edge of a tree no longer than ours, proven under its head, is not the one held.
    async fn edge_differs(&self, shorter: TreeHead) -> Result<bool, SumDbError> {
        for theirs in self.prove_edge_anew(shorter).await? {
            if self.held(theirs.tile).await?.is_some_and(|ours| ours != theirs.hashes) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

//! Layouts, and which of them are in force.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ids::Epoch;
use crate::layout::{Layout, ReplicationFactor};
use crate::text::{Name, Note};
use crate::time::Timestamp;

/// Layouts that are kept after they were in force, to look at and to go back to.
pub const LAYOUT_HISTORY_MAX: usize = 50;

/// A layout and how it came about.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayoutRecord {
    /// The layout, with its epoch.
    #[serde(with = "in_base64")]
    pub layout: Arc<Layout>,
    /// When it was applied.
    pub made: Timestamp,
    /// Who applied it.
    pub by: Name,
    /// The layout that it was planned from; 0 for the first.
    pub base: Epoch,
    /// What was said about it.
    pub note: Option<Note>,
}

/// Which layouts are in force.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransitionRecord {
    /// The latest layout; 0 before the first.
    pub current: Epoch,
    /// The layout that slots still move from. Everything that is stored is where this one says.
    pub previous: Option<Epoch>,
    /// Whether moving is halted.
    pub paused: bool,
    /// Since when it is so.
    pub since: Timestamp,
}

/// A layout as its own bytes in base64.
pub(crate) mod in_base64 {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize as _, Deserializer, Serializer};

    use super::{Arc, Layout};

    pub(crate) fn serialize<S: Serializer>(layout: &Arc<Layout>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(layout.encode()))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<Layout>, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        let bytes = STANDARD.decode(text.as_bytes()).map_err(serde::de::Error::custom)?;
        Layout::decode(&bytes).map(Arc::new).map_err(serde::de::Error::custom)
    }
}

impl Serialize for ReplicationFactor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(self.get())
    }
}

impl<'de> Deserialize<'de> for ReplicationFactor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let replicas = u8::deserialize(deserializer)?;
        Self::new(replicas).ok_or_else(|| serde::de::Error::custom("no replication factor"))
    }
}

//! Keeping copies where the layout wants them: of what was just stored, and of what slots that come here hold elsewhere.
//!
//! | file | idea |
//! |---|---|
//! | `slots` | a set of slots, as bits (pure) |
//! | `missing` | what this node has still to fetch for a layout, and from whom (pure) |
//! | `waiting` | what is to be done about versions, in a moment or later again (pure) |
//! | `offers` | telling replicas of versions, and handing over the last of them when this node ends |
//! | `take` | taking copies |
//! | `holdings` | what is held of some slots |
//! | `digests` | where two replicas differ in that (pure) |
//! | `synced` | which slots are in sync, on disk |
//! | `strays` | what is to be kept and should be elsewhere |
//! | `sync`, `pass` | bringing slots into sync, and saying how far that has come; one attempt |

mod digests;
mod holdings;
mod missing;
mod offers;
mod pass;
mod slots;
mod strays;
mod sync;
mod synced;
mod take;
mod waiting;

pub use digests::Digests;
pub use holdings::{Holding, digests_of, page};
pub use offers::{OfferQueue, Offers};
pub use slots::SlotSet;
pub use sync::{Progress, Repaired, SlotSync};
pub use take::{Taker, Wanted};

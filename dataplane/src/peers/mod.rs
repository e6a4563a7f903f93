//! The other data nodes, as those who ask: which of them holds or fetches what is missing here, and talking to them.
//!
//! | file | idea |
//! |---|---|
//! | `route` | who is asked, in which order (pure) |
//! | `health` | who is left alone for a while (pure) |
//! | `pace` | who is slow, and when a second one is asked (pure) |
//! | `load` | who has enough to do, and who shares it (pure) |
//! | `directory` | where they are, and a channel to each |
//! | `heard` | when something last came over a connection (pure) |
//! | `budget` | how many requests there may be beyond the first ones (pure) |
//! | `again` | having a second node fetch what the first one could not |
//! | `said` | what operators say of modules |
//! | `greet` | saying that one is there |
//! | `copies` | what was just stored, and what is held, as nodes tell each other |
//! | `exchange` | one file asked of one node |
//!
//! Does not own what is done with what they send. What they are answered with is in [`crate::rpc`].

mod again;
mod budget;
mod copies;
mod directory;
mod exchange;
mod greet;
mod health;
mod heard;
mod load;
mod metrics;
mod pace;
mod route;
mod said;

pub use budget::{Budget, Share, Stake};
pub use copies::{HELD_MAX, HoldingPages, OFFER_MAX, of_name, to_name};
pub use directory::Peers;
pub(crate) use exchange::epoch_of;
pub use exchange::{Effort, Exchange, Part, Unreachable};
pub use health::Health;
pub use load::Load;
pub use metrics::PeerFamilies;
pub use pace::Pace;
pub use route::Route;

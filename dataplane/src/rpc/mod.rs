//! What other nodes ask of this one, over gRPC and mutual TLS.
//!
//! | file | idea |
//! |---|---|
//! | `content` | who asks for what, and whether it is for this node to answer |
//! | `answering` | an answer of the ladder as parts of a stream |
//! | `listing` | what is held of some slots, page by page |
//! | `staging` | what is published |
//! | `scrubbing` | a scrub as a stream of answers |
//! | `upkeep` | what control nodes have this node do with its store |
//! | `server` | accepting, limits, draining |

mod answering;
mod content;
mod listing;
mod scrubbing;
mod server;
mod staging;
mod upkeep;

pub use content::Content;
pub use server::serve;
pub use upkeep::Upkeep;

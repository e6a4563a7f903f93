//! What other nodes ask of this one, over gRPC and mutual TLS.
//!
//! | file | idea |
//! |---|---|
//! | `content` | who asks for what, and whether it is for this node to answer |
//! | `answering` | an answer of the ladder as parts of a stream |
//! | `server` | accepting, limits, draining |

mod answering;
mod content;
mod server;

pub use content::Content;
pub use server::serve;

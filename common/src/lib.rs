//! What both planes need and neither owns. Every file is a noun; a thing moves here when a second crate needs it.

pub mod clock;

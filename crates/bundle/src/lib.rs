//! Bundle files: the lines that [`cofferdam_core::BundleCheck`] demands, in zstd frames.
//!
//! - [`Writer`] packs lines so that every reader's bounds are kept.
//! - [`verify`] reads a file once, front to back: one thread inflates, as many as there are cores hash,
//!   and one sees that nothing is missing. Memory is flat at any size.
//!
//! A file is hostile input: how much it inflates to, how long a line is and how much memory a frame
//! needs are bounded before any of it is believed.

mod stream;
mod text;

pub use stream::{StreamError, Verified, verify};
pub use text::{MAGIC, Writer};

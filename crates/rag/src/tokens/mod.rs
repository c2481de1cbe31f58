//! Token ids of a tenant's texts, prepared ahead of whoever asks, and kept on disk between runs.
//!
//! ```text
//!            new: cache file fits ──────────────► all texts there, no thread runs
//!             │ no
//!             ▼
//!   named threads tokenise: first what was announced, then the rest
//!             │ every text is there, none failed
//!             ▼
//!   one thread writes the cache file to a temporary name and renames it
//! ```
//! Whoever asks for a text that no thread has begun tokenises it itself, so nothing can wait for
//! ever; a text that is being tokenised is waited for.

mod cache;
mod store;

pub use store::{CacheStatus, Encode, TokenOptions, TokenStore};

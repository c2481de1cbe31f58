//! How a gradient changes an adapter: clipping, learning rate, AdamW.

mod adamw;
mod schedule;

pub use adamw::{AdamW, clip};
pub use schedule::Schedule;

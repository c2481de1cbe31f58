//! The compute limit in virtual time: tenants' programs, a card that serves them in time slices,
//! and the very meters that the library uses, against what the card says each tenant got.
//!
//! What the library measures here has the errors of the real thing: a mark costs time of its own,
//! and while the card serves others, time passes that is not the tenant's.

#![allow(clippy::unwrap_used, reason = "the helpers are tests too")]

mod bars;
mod world;

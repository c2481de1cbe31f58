//! The real server as its clients see it: a tiny model, a few adapters, HTTP over loopback.

#![cfg(unix)]
#![allow(clippy::unwrap_used)]

mod common;
mod serving;

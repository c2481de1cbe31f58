//! Reading and writing model folders and adapters, over tiny models made on the spot.
#![allow(clippy::unwrap_used, reason = "a helper of a test fails by panicking too")]

mod adapter;
mod config;
mod export;
mod fixture;
mod folder;
mod hostile;
mod reranker;
mod round_trip;
mod tokenizer;
mod weights;

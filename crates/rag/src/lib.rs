//! From what people have on disk to trained adapters and answers: readers, models, retrieval.
//!
//! The crate works on a laptop with no daemon: it knows nothing of SQLite, NVML or Kubernetes.
//! Begin with [`workspace::Workspace`] (what a user asks for), then [`data::read`] (a tenant's
//! texts, examples and held-out judgements), [`models::Store`] (base models in the user's cache),
//! [`tokens::TokenStore`] (token ids ahead of the trainer) and [`bm25::Bm25`].
//!
//! # Invariants
//! - Nothing held out for measuring is ever trained on or chosen by.
//! - The same files give the same splits, passages and order on every machine.
//! - Bad input is an error that names file and line and says what to do; nothing here prints.
//! - Every file that is read has a bound on its lines, texts and number.

pub mod bm25;
pub mod data;
pub mod job;
pub mod measures;
pub mod mining;
pub mod models;
pub mod report;
pub mod retrieval;
pub mod tokens;
pub mod tracking;
pub mod workspace;

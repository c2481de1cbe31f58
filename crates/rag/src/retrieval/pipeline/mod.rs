//! Retrieval that spends only what a query needs.
//!
//! A [`Pipeline`] answers a query by words first, which cost little, and goes on to vectors, more
//! candidates and a reranker only as far as the query needs. Whether it does is foretold from
//! hints (gaps between scores, rarity, agreement) by a rule that [`Calibration`] found on the tenant's
//! judged queries and keeps as [`Tuned`]: how lists are mixed, what each stage loses and costs.
//! [`Tuned::effort`] picks the rule for a floor of quality and the load of the server. Work is
//! counted ([`Work`]) and priced ([`Prices`]), so that a rule does not depend on how busy the
//! machine was. What is retrieved from ([`Retrievers`]) is a [`Collection`] in memory, or a view of
//! a namespace of the index.

mod blend;
mod calibrate;
mod cost;
mod error;
mod forecast;
mod hints;
mod mean;
mod mix;
mod namespace;
mod remembered;
mod search;
mod source;
#[cfg(test)]
mod tests;
mod tuned;

pub use blend::Blend;
pub(crate) use blend::{FOUND_DEPTH, Scored, found_scores, put_in_order};
pub(crate) use calibrate::spread;
pub use calibrate::{Calibration, DEV_QUERIES_MAX, DevQuery, Learnt, StageBuys};
pub use cost::{Prices, Work};
pub use error::RetrievalError;
pub use forecast::Forecast;
pub use mix::{Lists, Mix, Way};
pub use namespace::{FULL_VECTORS_MAX, Live};
pub(crate) use remembered::Remembered;
pub(crate) use search::READ_FIRST;
pub use search::{Answered, Asked, Begun, Pipeline, RERANKED_MAX, Reached, Reranker, Underway};
pub use source::{Collection, Near, Probe, Retrievers};
pub use tuned::{BadTuned, Effort, Rule, Tuned};

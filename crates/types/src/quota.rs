//! What a tenant is entitled to, and what it may borrow.

use serde::{Deserialize, Serialize};

use crate::{Amount, TenantName};

/// A tenant's place among the others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// The tenant whose share this one lives on; none at the top.
    pub parent: Option<TenantName>,
    /// Its part among those with the same parent when all want more than there is; at least 1.
    pub weight: u32,
    /// What it has first: others may borrow it, and give it back when it is wanted.
    pub guaranteed: Amount,
    /// The most that it may hold at a time, borrowed or not; none for all there is.
    pub limit: Option<Amount>,
}

impl Default for Quota {
    fn default() -> Self {
        Self { parent: None, weight: 1, guaranteed: Amount::default(), limit: None }
    }
}

//! From what an operator wrote of a tenant to its quota.

use cotenant_types::{Amount, Mebibytes, Quota};

use crate::amounts::parse_total_share;
use crate::request::TenantRequest;
use crate::resolve::{RequestError, plain_memory};

const WEIGHT_MAX: u32 = 1_000_000;

impl TenantRequest {
    /// The quota that is meant.
    pub fn resolve(&self) -> Result<Quota, RequestError> {
        let wrong = |key, problem: String| RequestError { key, problem };
        let parent = match &self.parent {
            Some(name) => Some(name.parse().map_err(|error| wrong("parent", format!("{error}")))?),
            None => None,
        };
        let weight = self.weight.unwrap_or(1);
        if !(1..=WEIGHT_MAX).contains(&weight) {
            return Err(wrong("weight", format!("{weight} is not within 1 and {WEIGHT_MAX}")));
        }
        let guaranteed = Amount {
            compute_milli: cards("guaranteed_compute", &self.guaranteed_compute)?.unwrap_or(0),
            memory: memory("guaranteed_memory", &self.guaranteed_memory)?.unwrap_or_default(),
        };
        let compute = cards("limit_compute", &self.limit_compute)?;
        let most = memory("limit_memory", &self.limit_memory)?;
        let limit = match (compute, most) {
            (None, None) => None,
            (compute, memory) => Some(Amount {
                compute_milli: compute.unwrap_or(u64::MAX),
                memory: memory.unwrap_or(Mebibytes(u64::MAX)),
            }),
        };
        if limit.is_some_and(|limit| !guaranteed.is_within(limit)) {
            let problem = "is less than what is guaranteed".to_owned();
            return Err(wrong("limit_compute", problem));
        }
        Ok(Quota { parent, weight, guaranteed, limit })
    }
}

fn cards(key: &'static str, text: &Option<String>) -> Result<Option<u64>, RequestError> {
    let wrong = |problem| RequestError { key, problem };
    let parse = |text: &String| parse_total_share(text).map_err(|error| wrong(error.to_string()));
    text.as_ref().map(parse).transpose()
}

fn memory(key: &'static str, text: &Option<String>) -> Result<Option<Mebibytes>, RequestError> {
    text.as_ref().map(|text| plain_memory(key, text)).transpose()
}

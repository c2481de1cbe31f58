//! A tenant's adapter has the same bits whoever else is there, and each time.

use std::collections::BTreeMap;

use cotenant_train::TenantSpec;

use super::super::place::{Place, Stage};
use super::super::report::Rows;
use super::super::scene::{Amount, ragged_tenant};
use super::super::work::{Ended, Run, in_each_format, train};

const SEED: u64 = 13;
const TENANTS: u64 = 4;

pub(super) fn run<P: Place>(stage: &Stage<'_, P>, rows: &mut Rows) -> Result<(), String> {
    let amount = stage.pick(
        Amount { pairs: 300, batch: 32, steps: 20 },
        Amount { pairs: 20, batch: 4, steps: 6 },
    );
    let vocab = stage.shape().vocab;
    let tenants = |seed: u64| -> Vec<TenantSpec> {
        (0..TENANTS).map(|number| ragged_tenant(number, vocab, amount, seed)).collect()
    };
    let (subjects, others) = (tenants(SEED), tenants(SEED + stage.spoilt()));
    in_each_format((stage, rows), SEED, |rows, format, opened| {
        let (encoder, limits) = (&opened.encoder, &opened.limits);
        let mut alone = BTreeMap::new();
        for subject in &subjects {
            alone.extend(train(encoder, limits, std::slice::from_ref(subject))?);
        }
        let again = train(encoder, limits, &others[..1])?;
        let claim = |rows: &mut Rows, what: &str, found: &BTreeMap<String, Ended>| {
            rows.claim(&format!("{format}: {what}"), same(found, &alone));
        };
        claim(rows, "the same seed gives the same bits", &again);
        let fused = train(encoder, limits, &others)?;
        claim(rows, "fused with others is alone", &fused);
        let mut run = Run::new(encoder, limits)?;
        others[1..].iter().try_for_each(|other| run.add(other.clone()))?;
        (0..amount.steps / 3).try_for_each(|_| run.round())?;
        run.add(others[0].clone())?;
        claim(rows, "added late is alone", &run.finish()?);
        Ok(())
    })
}

/// Whether all that is found is as expected, bit for bit.
pub(super) fn same(
    found: &BTreeMap<String, Ended>,
    expected: &BTreeMap<String, Ended>,
) -> Result<(), String> {
    let differs = |(name, ended): &(&String, &Ended)| !ended.is_same_as(&expected[*name]);
    let names: Vec<&str> = found.iter().filter(differs).map(|(name, _)| name.as_str()).collect();
    match names[..] {
        [] => Ok(()),
        _ => Err(format!("other bits: {}", names.join(", "))),
    }
}

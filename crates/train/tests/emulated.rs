//! Tenants of every loss on the kernels of cards, which the processor runs: near what its own backend
//! gives, and to the bit the same alone and together.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use common::{Ended, FINGERPRINT, config, encoder, encoder_on, finish, join, limits, tenant};
use cotenant_train::{Base, Length, Limits, Loss, TenantSpec, Trainer};
use cotenant_transformer::{Backend, Encoder, Fault, Precision, open_emulated};

/// The first tenant of each loss, without evaluations, whose outcome hangs on the last bit.
fn specs() -> Vec<TenantSpec> {
    let first = |is_it: fn(Loss) -> bool| {
        let mut spec = (40..64).map(tenant).find(|spec| is_it(spec.settings.loss)).unwrap();
        spec.settings.evaluation = None;
        spec.settings.length = Length::Steps(3);
        spec
    };
    vec![
        first(|loss| matches!(loss, Loss::Mnrl { .. })),
        first(|loss| matches!(loss, Loss::CoSent { .. })),
        first(|loss| loss == Loss::Lce),
    ]
}

fn run<B: Backend>(
    encoder: &Arc<Encoder<B>>,
    specs: impl IntoIterator<Item = TenantSpec>,
) -> BTreeMap<String, Ended> {
    let base = Base { encoder: Arc::clone(encoder), fingerprint: FINGERPRINT };
    let limits = Limits { threads: 1, kept_bytes_max: 1 << 30, ..limits() };
    let mut trainer = Trainer::new(base, limits).unwrap();
    join(&mut trainer, specs);
    finish(&mut trainer)
}

#[test]
fn tenants_of_every_loss_train_on_kernels() {
    let expected = run(&encoder(), specs());
    for (precision, tolerance) in [(Precision::F32, 1e-3), (Precision::Bf16, 0.1)] {
        let device = match open_emulated(precision) {
            Ok((device, _)) => device,
            Err(Fault::Refused(why)) => return eprintln!("skipped: {why}"),
            Err(fault) => panic!("{fault}"),
        };
        let encoder = encoder_on(device, config());
        let together = run(&encoder, specs());
        for (name, ended) in &together {
            let expected = &expected[name];
            assert_eq!(ended.losses.len(), expected.losses.len(), "{name}");
            for (found, expected) in ended.losses.iter().zip(&expected.losses) {
                let (found, expected) = (f32::from_bits(*found), f32::from_bits(*expected));
                let error = (found - expected).abs() / expected.abs().max(0.1);
                assert!(error < tolerance, "{precision:?} {name}: {found}, not {expected}");
            }
        }
        for spec in specs() {
            let name = spec.name.clone();
            let alone = run(&encoder, [spec]);
            assert!(alone[&name] == together[&name], "{precision:?} {name} alone");
        }
    }
}

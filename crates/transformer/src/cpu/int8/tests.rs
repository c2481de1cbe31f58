//! Every kernel against the plain one, bit for bit, and that one against real numbers.

use super::*;
use crate::random::{mix, unit};

fn random(len: usize, seed: u64) -> Vec<f32> {
    (0..len).map(|i| unit(mix(&[seed, i as u64])) - 0.3).collect()
}

fn panels(k: usize, n: usize, w: &[f32]) -> Panels8 {
    Panels8::new(k, n, |p, j| w[p * n + j])
}

fn product(isa: Int8Isa, panels: &Panels8, x: &[f32], bias: &[f32]) -> Vec<f32> {
    // What an earlier product leaves behind is longer than what this one needs.
    let row = Row { step: f32::NAN, zero: 77 };
    let mut rounded = Rounded { bytes: vec![255; x.len() + 999], rows: vec![row; 99] };
    let mut y = vec![f32::NAN; x.len() / panels.k * panels.n];
    panels.multiply(isa, &mut rounded, (x, bias, &mut y));
    y
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn check_product(m: usize, k: usize, n: usize) {
    let (x, w, bias) = (random(m * k, 1), random(k * n, 2), random(n, 3));
    let panels = panels(k, n, &w);
    let expected = product(Int8Isa::Plain(Isa::Baseline), &panels, &x, &bias);
    for isa in Int8Isa::every() {
        let found = product(isa, &panels, &x, &bias);
        assert_eq!(bits(&found), bits(&expected), "{isa:?}, {m}x{k}x{n}");
    }
    for (i, found) in expected.iter().enumerate() {
        let (x, column) = (&x[i / n * k..][..k], i % n);
        let exact: f64 =
            (0..k).map(|p| f64::from(x[p]) * f64::from(w[p * n + column])).sum::<f64>();
        let exact = exact + f64::from(bias[column]);
        // Each factor is off by half a step at most: 0.5 / 255 of 1, and 0.5 / 127 of 0.7.
        let worst = k as f64 * (0.0021 * 0.7 + 0.0029 * 0.7 + 1e-5) + 1e-6;
        assert!((f64::from(*found) - exact).abs() < worst, "{m}x{k}x{n}: {found}, not {exact}");
    }
}

#[test]
fn every_kernel_gives_the_same_bits_in_any_shape_and_they_are_near() {
    eprintln!("tested: {:?}", Int8Isa::every());
    for (m, k, n) in [(1, 3, 2), (2, 40, 33), (13, 32, 40), (29, 384, 96), (5, 7, 100)] {
        check_product(m, k, n);
    }
    (1..=40).for_each(|m| check_product(m, 40, 33));
    [1, 2, 3, 4, 5, 63, 64, 65, 1536].into_iter().for_each(|k| check_product(7, k, 34));
    [1, 15, 16, 17, 31, 32, 33, 47, 48, 49, 64, 65]
        .into_iter()
        .for_each(|n| check_product(5, 9, n));
    // More rows than stay in the cache.
    check_product(70, 16384, 2);
}

#[test]
fn rows_do_not_depend_on_their_neighbours() {
    let (m, k, n) = (70, 44, 40);
    let (mut x, w, bias) = (random(m * k, 3), random(k * n, 4), random(n, 5));
    // Not even on ones that are no numbers, or very large.
    x[20 * k..21 * k].fill(f32::NAN);
    x[21 * k..22 * k].fill(f32::INFINITY);
    x[22 * k] = 1e30;
    let panels = panels(k, n, &w);
    for isa in Int8Isa::every() {
        let whole = bits(&product(isa, &panels, &x, &bias));
        for (first, rows) in [(0, 1), (69, 1), (5, 2), (13, 7), (1, 33), (0, 63), (37, 27)] {
            let part = product(isa, &panels, &x[first * k..(first + rows) * k], &bias);
            let same = bits(&part) == whole[first * n..(first + rows) * n];
            assert!(same, "{isa:?}: {rows} rows from {first} differ");
        }
    }
}

#[test]
fn rows_are_rounded_to_the_nearest_step_between_their_extremes() {
    let check = |x: &[f32], step: f32, zero: i32, bytes: &[u8]| {
        let mut rounded = Rounded::default();
        rounded.round(Isa::detect(), x, x.len());
        let row = rounded.rows[0];
        assert!((row.step / step - 1.0).abs() < 1e-6, "{x:?}: {row:?}");
        assert_eq!((row.zero, &rounded.bytes[..x.len()]), (zero, bytes), "{x:?}");
    };
    check(&[0.0, 1.0, 2.0, 255.0], 1.0, 0, &[0, 1, 2, 255]);
    check(&[-51.0, 0.4, 0.6, 204.0, 10.4], 1.0, 51, &[0, 51, 52, 255, 61]);
    // All of one sign still has a zero, so that what is zero stays so.
    check(&[5.1, 2.55], 0.02, 0, &[255, 128]);
    check(&[-5.1, -2.55], 0.02, 255, &[0, 128]);
    check(&[0.0, 0.0], 1.0, 0, &[0, 0]);
    // Half a step from the lowest and the highest; neither leaves the bytes.
    check(&[-101.5, 153.5], 1.0, 102, &[0, 255]);
}

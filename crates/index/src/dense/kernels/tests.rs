//! Each kernel that this processor can run against its plain twin, on lengths around each step.

use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, proptest};

use super::{BLOCK, PLAIN, Table, candidates};

fn pair<T: Clone + std::fmt::Debug>(
    element: impl Strategy<Value = T> + Clone,
) -> impl Strategy<Value = (Vec<T>, Vec<T>)> {
    (0usize..300).prop_flat_map(move |len| (vec(element.clone(), len), vec(element.clone(), len)))
}

proptest! {
    #[test]
    fn floats_agree_with_the_plain_twin((a, b) in pair(-2.0f32..2.0)) {
        let half: Vec<u16> = b.iter().map(|b| (b.to_bits() >> 16) as u16).collect();
        let tolerance = 1e-5 * (1 + a.len()) as f32;
        for kernels in candidates() {
            prop_assert!((kernels.dot_f32(&a, &b) - PLAIN.dot_f32(&a, &b)).abs() <= tolerance);
            let (found, plain) = (kernels.dot_bf16(&a, &half), PLAIN.dot_bf16(&a, &half));
            prop_assert!((found - plain).abs() <= tolerance);
        }
        let exact: f64 = a.iter().zip(&b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
        prop_assert!((f64::from(PLAIN.dot_f32(&a, &b)) - exact).abs() <= f64::from(tolerance));
    }

    #[test]
    fn bytes_agree_with_the_plain_twin((a, b) in pair(any::<i8>())) {
        for kernels in candidates() {
            prop_assert_eq!(kernels.dot_i8(&a, &b), PLAIN.dot_i8(&a, &b));
        }
    }

    #[test]
    fn half_bytes_agree_with_the_plain_twin(
        (query, rows) in (1usize..5).prop_flat_map(|blocks| {
            (vec(any::<i8>(), blocks * BLOCK), vec(any::<u8>(), 7 * blocks * BLOCK / 2))
        })
    ) {
        let mut table = Table::new(query.len() / 2);
        for row in rows.chunks(query.len() / 2) {
            table.push(row);
        }
        let ids = [3, 0, 6, 6, 1];
        let mut expected = [0; 5];
        PLAIN.dot_u4_rows(&query, &table, &ids, &mut expected);
        for (&id, &sum) in ids.iter().zip(&expected) {
            prop_assert_eq!(sum, naive_u4(&query, table.row(id as usize)));
        }
        for kernels in candidates() {
            let mut sums = [0; 5];
            kernels.dot_u4_rows(&query, &table, &ids, &mut sums);
            prop_assert_eq!(sums, expected);
            prop_assert_eq!(kernels.dot_u4(&query, table.row(3)), expected[0]);
        }
    }

    #[test]
    fn bits_agree_with_the_plain_twin(
        (query, rows) in (1usize..9).prop_flat_map(|words| {
            (vec(any::<i8>(), words * 64), vec(any::<u8>(), 3 * words * 8))
        })
    ) {
        let mut expected = [0; 3];
        PLAIN.dot_bits(&query, &rows, &mut expected);
        for kernels in candidates() {
            let mut sums = [0; 3];
            kernels.dot_bits(&query, &rows, &mut sums);
            prop_assert_eq!(sums, expected);
        }
    }

    /// A table against a plain vector of rows, through the size at which memory becomes mapped.
    #[test]
    fn tables_keep_their_rows(width in 1usize..40, sizes in vec(0usize..60_000, 1..6)) {
        let mut table = Table::<u32>::new(width);
        let mut model: Vec<u32> = Vec::new();
        for (step, rows) in sizes.into_iter().enumerate() {
            table.resize(rows);
            model.resize(rows * width, 0);
            prop_assert!(table.elements() == model);
            for (at, element) in model.iter_mut().enumerate().step_by(97) {
                *element = (at * step) as u32 | 1;
                table.elements_mut()[at] = *element;
            }
            if rows > 1 {
                table.swap_remove(rows / 2);
                let last = model.split_off((rows - 1) * width);
                if rows / 2 < rows - 1 {
                    model[rows / 2 * width..][..width].copy_from_slice(&last);
                }
            }
        }
        prop_assert!(table.elements() == model);
    }
}

fn naive_u4(query: &[i8], row: &[u8]) -> i32 {
    let element = |at: usize| {
        let byte = row[at / BLOCK * 64 + at % 64];
        i32::from(if at % BLOCK < 64 { byte & 15 } else { byte >> 4 })
    };
    (0..query.len()).map(|at| i32::from(query[at]) * element(at)).sum()
}

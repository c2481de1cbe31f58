//! Copies between formats, and sums of rows in a given order.

use super::{Memory, on_host, random};
use crate::cuda::launch::PlanError;
use crate::cuda::plan::rows::{
    Gather, NarrowArgs, SumRowsArgs, WidenArgs, narrow, sum_rows, widen,
};

/// Halves between two bf16, which go to the even one, and the ends of the format.
const SPECIAL: [f32; 8] = [
    1.0 + 1.0 / 256.0,
    1.0 + 3.0 / 256.0,
    -1.0 - 1.0 / 256.0,
    3.3e38,
    1e-40,
    0.0,
    -0.0,
    f32::MIN_POSITIVE,
];

fn check_copies(memory: &Memory, count: usize) {
    let values: Vec<f32> = SPECIAL.into_iter().chain(random(count, 1)).take(count).collect();
    let (from, to) = (memory.floats(&values), memory.blank_reals(count));
    let count = count as u64;
    memory.run(narrow(NarrowArgs { from: from.address(), to: to.address(), count }));
    let (_, expected) = memory.reals(&values);
    let bits: Vec<u32> = expected.iter().map(|value| value.to_bits()).collect();
    assert_eq!(to.bits(), bits, "rounded as the host rounds");
    let back = memory.blank_floats(values.len());
    memory.run(widen(WidenArgs { from: to.address(), to: back.address(), count }));
    assert_eq!(back.bits(), bits);
}

fn check_sums(memory: &Memory, width: usize) {
    let targets = [3, 0, 3, 3, 4, 0];
    let gather = Gather::new(6, &targets).unwrap();
    let terms = random(targets.len() * width, 2);
    let from = memory.floats(&terms);
    let (starts, sources) = (memory.numbers(&gather.starts), memory.numbers(&gather.sources));
    let to = memory.blank_floats(6 * width);
    let args = SumRowsArgs {
        from: from.address(),
        starts: starts.address(),
        sources: sources.address(),
        to: to.address(),
        rows: 6,
        width: width as u32,
    };
    memory.run(sum_rows(args, targets.len()));
    let mut expected = vec![0.0; 6 * width];
    for (&target, term) in targets.iter().zip(terms.chunks(width)) {
        let row = &mut expected[target as usize * width..][..width];
        row.iter_mut().zip(term).for_each(|(sum, value)| *sum += value);
    }
    assert_eq!(to.values(), expected);
}

#[test]
fn values_are_rounded_to_the_nearest_and_come_back() {
    on_host(|memory| [1, 8, 300].into_iter().for_each(|count| check_copies(memory, count)));
}

#[test]
fn rows_are_summed_in_the_order_of_their_terms() {
    on_host(|memory| [1, 7, 100].into_iter().for_each(|width| check_sums(memory, width)));
}

#[test]
fn a_sum_into_a_row_that_is_not_there_is_refused() {
    let refused = Gather::new(2, &[0, 2]).unwrap_err();
    let expected = PlanError::NoRow { subject: "a sum", what: "target", found: 2, rows: 2 };
    assert_eq!(refused, expected);
}

//! Activation.

use super::{Memory, assert_near, on_host, random};
use crate::backend::{Backend, Precision};
use crate::cpu::Cpu;
use crate::cuda::plan::gelu::{GeluArgs, GeluBackwardArgs, gelu_backward, gelu_forward};
use crate::cuda::source::Real;

fn check(memory: &Memory, count: usize) {
    let cpu = Cpu::new(Precision::F32).unwrap();
    let wide: Vec<f32> = random(count, 1).iter().map(|x| x * 8.0).collect();
    let (x, held) = memory.reals(&wide);
    let y = memory.blank_reals(count);
    memory.run(gelu_forward(GeluArgs { x: x.address(), y: y.address(), count: count as u64 }));
    let mut expected = vec![0.0; count];
    cpu.gelu(&held, &mut expected);
    assert_near(memory, "y", &y.values(), &expected);

    let (dy, mut slopes) = memory.reals(&random(count, 2));
    memory.run(gelu_backward(GeluBackwardArgs {
        x: x.address(),
        dy: dy.address(),
        count: count as u64,
    }));
    cpu.gelu_backward(&held, &mut slopes);
    assert_near(memory, "dx", &dy.values(), &slopes);
    if memory.real() == Real::Float {
        assert_eq!(y.values(), expected, "the twins have one arithmetic");
        assert_eq!(dy.values(), slopes);
    }
}

#[test]
fn values_and_slopes_are_those_of_the_cpu() {
    on_host(|memory| [1, 255, 256, 1000].into_iter().for_each(|count| check(memory, count)));
}

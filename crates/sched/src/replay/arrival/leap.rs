//! Many steps of the lagged Fibonacci generator at once.
//!
//! The state after n steps is a linear function of the state now. With x standing for one step, the
//! recurrence says that x^607 = x^334 + 1, so x^n is a polynomial of degree below 607 whose
//! coefficients say how a word n steps on is the sum of words now. x^n comes by squaring, modulo
//! that trinomial and 2^64.

/// Words of the state.
pub(super) const LENGTH: usize = 607;

/// How far back the nearer of the two words is that are added.
pub(super) const TAP: usize = 273;

/// A polynomial of degree below [`LENGTH`], constant term first.
type Polynomial = Vec<u64>;

/// The generator's words after so many steps, in the places where it would have left them.
pub(super) fn after(words: &[u64], steps: u64) -> Vec<u64> {
    // Before the first step, the word at the feed is the newest; older ones follow it.
    let place = |step: u64| (LENGTH - TAP + LENGTH - (step % LENGTH as u64) as usize) % LENGTH;
    let mut sequence: Vec<u64> = (1..=LENGTH as u64).map(|step| words[place(step)]).collect();
    for at in LENGTH..2 * LENGTH {
        let word = sequence[at - LENGTH].wrapping_add(sequence[at - TAP]);
        sequence.push(word);
    }
    let power = power_of_x(steps);
    let mut left = vec![0; LENGTH];
    for at in 0..LENGTH {
        let sum = power.iter().zip(&sequence[at..]).fold(0u64, |sum, (coefficient, word)| {
            sum.wrapping_add(coefficient.wrapping_mul(*word))
        });
        left[place(at as u64 + 1 + steps)] = sum;
    }
    left
}

fn power_of_x(steps: u64) -> Polynomial {
    let mut power = vec![0; LENGTH];
    power[0] = 1;
    for bit in (0..64 - steps.leading_zeros()).rev() {
        power = reduced(&square(&power));
        if steps >> bit & 1 == 1 {
            power.insert(0, 0);
            power = reduced(&power);
        }
    }
    power
}

fn square(polynomial: &[u64]) -> Vec<u64> {
    let mut product = vec![0u64; 2 * LENGTH - 1];
    for (at, one) in polynomial.iter().enumerate().filter(|(_, one)| **one != 0) {
        for (sum, other) in product[at..].iter_mut().zip(polynomial) {
            *sum = sum.wrapping_add(one.wrapping_mul(*other));
        }
    }
    product
}

/// The remainder modulo x^607 - x^334 - 1.
fn reduced(polynomial: &[u64]) -> Polynomial {
    let mut left = polynomial.to_vec();
    for at in (LENGTH..left.len()).rev() {
        let coefficient = left[at];
        for lower in [at - LENGTH, at - TAP] {
            left[lower] = left[lower].wrapping_add(coefficient);
        }
    }
    left.truncate(LENGTH);
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leap_is_as_many_steps() {
        let words: Vec<u64> = (0..LENGTH as u64).map(|at| crate::keyed::keyed(&[at])).collect();
        let (mut walked, mut tap, mut feed) = (words.clone(), 0, LENGTH - TAP);
        for step in 0..=2000 {
            if [0, 1, 2, 333, 606, 607, 608, 1999, 2000].contains(&step) {
                assert_eq!(after(&words, step), walked, "{step}");
            }
            (tap, feed) = ((tap + LENGTH - 1) % LENGTH, (feed + LENGTH - 1) % LENGTH);
            walked[feed] = walked[feed].wrapping_add(walked[tap]);
        }
    }
}

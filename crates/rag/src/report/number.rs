//! Numbers as people read them: three significant digits, a unit, and a dash for what is no number.

/// Stands for a value that is missing, infinite or not a number.
pub(super) const DASH: &str = "–";

/// The blank before a unit, at which no line ends.
const UNBROKEN: char = '\u{a0}';

/// Three significant digits, with commas between thousands.
pub fn significant(value: f64) -> String {
    if !value.is_finite() {
        return DASH.to_owned();
    }
    if value == 0.0 {
        return "0".to_owned();
    }
    // The exponent after rounding: 9.996 is 10.0, not 10.00.
    let rounded = format!("{value:.2e}");
    let (_, exponent) = rounded.split_once('e').expect("`e` notation has an e");
    let exponent: i32 = exponent.parse().expect("`e` notation ends in an exponent");
    let plain = match exponent {
        -4..=2 => format!("{value:.*}", usize::try_from(2 - exponent).unwrap_or(0)),
        3..=14 => grouped(&format!("{value:.0}")),
        _ => rounded,
    };
    with_minus(plain)
}

/// A whole number with commas between thousands.
pub fn count(value: u64) -> String {
    grouped(&value.to_string())
}

/// A score from 0 to 1.
pub(super) fn score(value: f64) -> String {
    decimals(value, 3)
}

/// A value with a fixed number of decimals.
pub fn decimals(value: f64, digits: usize) -> String {
    if !value.is_finite() {
        return DASH.to_owned();
    }
    let plain = format!("{value:.digits$}");
    let is_zero = plain.chars().all(|c| "-0.".contains(c));
    with_minus(if is_zero { plain.replace('-', "") } else { plain })
}

/// A difference of scores, with its sign.
pub(super) fn change(value: f64) -> String {
    let plain = score(value);
    let is_zero = plain.chars().all(|c| "0.".contains(c));
    if value > 0.0 && value.is_finite() && !is_zero { format!("+{plain}") } else { plain }
}

/// A p-value after its letter: `p = 0.031`, `p < 0.001`.
pub(super) fn p_value(value: f64) -> String {
    if value < 0.001 { "p < 0.001".to_owned() } else { format!("p = {}", score(value)) }
}

/// Memory, from MiB.
pub(super) fn memory(mib: f64) -> String {
    if !mib.is_finite() {
        return DASH.to_owned();
    }
    match mib.abs() {
        size if size >= 1023.5 => with_unit(&significant(mib / 1024.0), "GiB"),
        size if size >= 1.0 || size == 0.0 => with_unit(&significant(mib), "MiB"),
        _ => with_unit(&significant(mib * 1024.0), "KiB"),
    }
}

/// Time, from seconds.
pub(super) fn time(seconds: f64) -> String {
    if !seconds.is_finite() {
        return DASH.to_owned();
    }
    if seconds.abs() < 0.9995 && seconds != 0.0 {
        return with_unit(&significant(seconds * 1000.0), "ms");
    }
    if seconds < 119.95 {
        return with_unit(&significant(seconds), "s");
    }
    let whole = seconds.round();
    if whole < 3600.0 {
        return joined([(whole / 60.0).floor(), whole % 60.0], ["min", "s"]);
    }
    let minutes = (whole / 60.0).round();
    joined([(minutes / 60.0).floor(), minutes % 60.0], ["h", "min"])
}

/// A part of a whole, from per cent.
pub(super) fn percent(value: f64) -> String {
    if !value.is_finite() {
        return DASH.to_owned();
    }
    with_unit(&decimals(value, usize::from(value.abs() < 9.95)), "%")
}

fn joined(amounts: [f64; 2], units: [&str; 2]) -> String {
    let word = |place: usize| with_unit(&grouped(&format!("{:.0}", amounts[place])), units[place]);
    if amounts[1] == 0.0 { word(0) } else { format!("{}{UNBROKEN}{}", word(0), word(1)) }
}

fn with_unit(amount: &str, unit: &str) -> String {
    format!("{amount}{UNBROKEN}{unit}")
}

/// A row of digits, perhaps after a sign, with commas between thousands.
fn grouped(digits: &str) -> String {
    let length = digits.trim_start_matches('-').len();
    let skipped = digits.len() - length;
    let mut out = digits[..skipped].to_owned();
    for (at, digit) in digits[skipped..].chars().enumerate() {
        if at > 0 && (length - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn with_minus(plain: String) -> String {
    match plain.strip_prefix('-') {
        Some(rest) => format!("−{rest}"),
        None => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(write: fn(f64) -> String, cases: &[(f64, &str)]) {
        for (value, expected) in cases {
            assert_eq!(write(*value).replace(UNBROKEN, " "), *expected, "{value}");
        }
    }

    #[test]
    fn three_digits_count() {
        let cases = [
            (0.0, "0"),
            (9.996, "10.0"),
            (0.012_345, "0.0123"),
            (-1.5, "−1.50"),
            (99.95, "100"),
            (412.4, "412"),
            (999.6, "1,000"),
            (-1_234_567.0, "−1,234,567"),
            (1e-9, "1.00e-9"),
            (1e300, "1.00e300"),
        ];
        check(significant, &cases);
    }

    #[test]
    fn units_follow_the_size() {
        let sizes = [
            (0.25, "256 KiB"),
            (0.0, "0 MiB"),
            (1.5, "1.50 MiB"),
            (1023.4, "1,023 MiB"),
            (1023.9, "1.00 GiB"),
            (3000.0, "2.93 GiB"),
        ];
        check(memory, &sizes);
        let times = [
            (0.0, "0 s"),
            (0.42, "420 ms"),
            (93.44, "93.4 s"),
            (119.96, "2 min"),
            (271.2, "4 min 31 s"),
            (3599.7, "1 h"),
            (5025.0, "1 h 24 min"),
            (7_200_000.0, "2,000 h"),
        ];
        check(time, &times);
        check(percent, &[(0.0, "0.0 %"), (1.26, "1.3 %"), (9.96, "10 %"), (100.0, "100 %")]);
    }

    #[test]
    fn scores_keep_three_decimals() {
        check(score, &[(0.6444, "0.644"), (1.0, "1.000"), (-0.0001, "0.000")]);
        check(
            change,
            &[(0.0271, "+0.027"), (-0.0271, "−0.027"), (0.0001, "0.000"), (0.0, "0.000")],
        );
        check(p_value, &[(0.0001, "p < 0.001"), (0.0314, "p = 0.031"), (1.0, "p = 1.000")]);
        assert_eq!(count(12_345), "12,345");
    }

    #[test]
    fn what_is_no_number_is_a_dash() {
        for write in [significant, score, change, memory, time, percent] {
            check(write, &[(f64::NAN, "–"), (f64::INFINITY, "–"), (f64::NEG_INFINITY, "–")]);
        }
        check(p_value, &[(f64::NAN, "p = –"), (f64::INFINITY, "p = –")]);
    }
}

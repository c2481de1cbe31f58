//! Rows shared out to tiles, for kernels whose tile height is a constant of the code.

/// `rows` in tiles of at most `most`, as `(first row, height)`: as few as can be, and as equal. A
/// remainder of one or two rows would keep too few sums in flight to hide their latency.
pub(super) fn tiles(rows: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
    let count = rows.div_ceil(most);
    let mut first = 0;
    (0..count).map(move |at| {
        let height = (rows - first).div_ceil(count - at);
        first += height;
        (first - height, height)
    })
}

/// Calls a function of a constant height with the height at hand, from 1 to 12; others do nothing.
macro_rules! of_height {
    ($height:expr, $function:ident::<_ $(, $more:ident)?>($($argument:expr),*)) => {
        match $height {
            1 => $function::<1 $(, $more)?>($($argument),*),
            2 => $function::<2 $(, $more)?>($($argument),*),
            3 => $function::<3 $(, $more)?>($($argument),*),
            4 => $function::<4 $(, $more)?>($($argument),*),
            5 => $function::<5 $(, $more)?>($($argument),*),
            6 => $function::<6 $(, $more)?>($($argument),*),
            7 => $function::<7 $(, $more)?>($($argument),*),
            8 => $function::<8 $(, $more)?>($($argument),*),
            9 => $function::<9 $(, $more)?>($($argument),*),
            10 => $function::<10 $(, $more)?>($($argument),*),
            11 => $function::<11 $(, $more)?>($($argument),*),
            12 => $function::<12 $(, $more)?>($($argument),*),
            _ => {}
        }
    };
}
pub(super) use of_height;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_every_row_once_and_none_is_thin() {
        for rows in 0..200 {
            let mut next = 0;
            for (first, height) in tiles(rows, 12) {
                assert_eq!(first, next);
                assert!((1..=12).contains(&height));
                assert!(rows <= 12 || height >= 6, "{height} of {rows}");
                next += height;
            }
            assert_eq!(next, rows);
        }
    }
}

//! A table for a terminal: words to the left, numbers to the right.

use console::measure_text_width;

use crate::words::plain;

/// To which side of its column a cell goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Lays out rows below a header, the first column to the left and the others to the right; every
/// row has as many cells.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let side = |at| if at == 0 { Side::Left } else { Side::Right };
    let columns: Vec<_> = header.iter().enumerate().map(|(at, name)| (*name, side(at))).collect();
    table_of(&columns, rows)
}

/// Lays out rows below named columns; every row has as many cells.
pub(crate) fn table_of(columns: &[(&str, Side)], rows: &[Vec<String>]) -> String {
    let header: Vec<String> = columns.iter().map(|(name, _)| (*name).to_owned()).collect();
    let all: Vec<Vec<String>> = std::iter::once(&header)
        .chain(rows)
        .map(|row| row.iter().map(|cell| plain(cell).into_owned()).collect())
        .collect();
    let width =
        |column: usize| all.iter().map(|row| measure_text_width(&row[column])).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).zip(columns).map(|((cell, &width), &(_, side))| {
            let gap = " ".repeat(width - measure_text_width(cell));
            match side {
                Side::Left => format!("{cell}{gap}"),
                Side::Right => format!("{gap}{cell}"),
            }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    all.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Four decimals, or a dash for what was not measured.
pub(crate) fn score(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.4}"))
}

/// A chance to four decimals, or that it is smaller than those show.
pub(crate) fn chance(value: Option<f64>) -> String {
    match value {
        Some(value) if value < 0.0001 => "<0.0001".to_owned(),
        value => score(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = vec![vec!["science".into(), score(Some(0.5))], vec!["é".into(), score(None)]];
        assert_eq!(
            table(&["tenant", "nDCG@10"], &rows),
            "tenant   nDCG@10\nscience   0.5000\né              –"
        );
    }

    #[test]
    fn a_small_chance_is_not_none() {
        assert_eq!([Some(0.05), Some(1e-9), None].map(chance), ["0.0500", "<0.0001", "–"]);
    }

    #[test]
    fn wide_and_hostile_names_keep_the_columns() {
        let rows = vec![
            vec!["1".into(), "法律".into(), "x".into()],
            vec!["20".into(), "a\n\x1b".into(), "y".into()],
        ];
        assert_eq!(
            table_of(&[("id", Side::Right), ("name", Side::Left), ("z", Side::Left)], &rows),
            "id  name       z\n 1  法律       x\n20  a\\n\\u{1b}  y"
        );
    }
}

//! Tables that become cards on a narrow page.
//!
//! Roles are spelled out because some browsers forget that a table is one once it is laid out in
//! another way.

use crate::report::html::Html;

/// A column: its name and what it holds.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub holds: Holds,
}

/// What a column holds, which decides how it is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// Words, from the left.
    Words,
    /// Numbers, from the right.
    Numbers,
}

/// A table's caption and columns; the first column names the row.
#[derive(Clone, Copy, Debug)]
pub struct Table<'a> {
    /// What the table shows.
    pub caption: &'a str,
    /// Its columns.
    pub columns: &'a [Column],
    /// How many rows there are.
    pub rows: usize,
}

impl Table<'_> {
    /// Writes the table; `cell` writes what stands in a row and a column, counted from 0.
    pub fn draw(&self, html: &mut Html, cell: impl Fn(&mut Html, usize, usize)) {
        html.element("table", &[("role", "table")], |table| {
            table.word("caption", &[], self.caption);
            table.element("thead", &[("role", "rowgroup")], |head| {
                head.element("tr", &[("role", "row")], |row| self.draw_heads(row));
            });
            table.element("tbody", &[("role", "rowgroup")], |body| {
                for row in 0..self.rows {
                    body.element("tr", &[("role", "row")], |line| {
                        for (place, column) in self.columns.iter().enumerate() {
                            draw_cell(line, place, column, |html| cell(html, row, place));
                        }
                    });
                }
            });
        });
    }

    fn draw_heads(&self, html: &mut Html) {
        for column in self.columns {
            let attributes =
                [("role", "columnheader"), ("scope", "col"), ("class", class(column.holds))];
            html.word("th", &attributes, column.name);
        }
    }
}

fn draw_cell(html: &mut Html, place: usize, column: &Column, cell: impl FnOnce(&mut Html)) {
    if place == 0 {
        html.element("th", &[("role", "rowheader"), ("scope", "row")], cell);
        return;
    }
    let attributes =
        [("role", "cell"), ("class", class(column.holds)), ("data-label", column.name)];
    html.element("td", &attributes, |html| html.element("div", &[], cell));
}

fn class(holds: Holds) -> &'static str {
    match holds {
        Holds::Words => "words",
        Holds::Numbers => "numbers",
    }
}

//! A table of comma-separated cells with a header. Cells have no quotes: names and numbers need
//! none, and a reader that guesses at quotes reads something else than what was written.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::TraceError;

/// Rows of a table at most.
pub(super) const ROWS_MAX: usize = 1_000_000;

/// A table's columns by name, and its rows as text.
pub(super) struct Table<'a> {
    columns: BTreeMap<&'a str, usize>,
    text: &'a str,
}

/// A line of a table.
pub(super) struct Row<'a, 't> {
    table: &'t Table<'a>,
    cells: Vec<&'a str>,
    /// Counted from 1.
    pub(super) line: usize,
}

/// The numbers that a column may hold.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    pub(super) column: &'static str,
    pub(super) least: u64,
    pub(super) most: u64,
}

impl<'a> Table<'a> {
    /// Reads the header, and finds the columns that have to be there.
    pub(super) fn new(text: &'a str, required: &[&'static str]) -> Result<Self, TraceError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let header = text.lines().next().filter(|line| !line.trim().is_empty());
        let header = header.ok_or(TraceError::Empty("there is no header"))?;
        let names: Vec<&str> = header.split(',').map(str::trim).collect();
        let mut columns = BTreeMap::new();
        for (at, name) in names.iter().enumerate() {
            if columns.insert(*name, at).is_some() {
                return Err(TraceError::ColumnTwice((*name).to_owned()));
            }
        }
        if let Some(column) = required.iter().find(|name| !columns.contains_key(*name)) {
            return Err(TraceError::Column { column, found: names.join(", ") });
        }
        Ok(Self { columns, text })
    }

    /// Its rows; empty lines are passed over.
    pub(super) fn rows(&self) -> impl Iterator<Item = Result<Row<'a, '_>, TraceError>> {
        let lines = self.text.lines().enumerate().skip(1);
        let lines = lines.filter(|(_, line)| !line.trim().is_empty()).enumerate();
        lines.map(|(row, (at, text))| {
            let line = at + 1;
            if row >= ROWS_MAX {
                return Err(TraceError::Rows { line, most: ROWS_MAX });
            }
            if text.contains('"') {
                return Err(TraceError::Quote(line));
            }
            let cells: Vec<&str> = text.split(',').map(str::trim).collect();
            let (expected, found) = (self.columns.len(), cells.len());
            if found != expected {
                return Err(TraceError::Cells { line, expected, found });
            }
            Ok(Row { table: self, cells, line })
        })
    }
}

impl<'a> Row<'a, '_> {
    /// The text of a column; none if the table has no such column.
    pub(super) fn text(&self, column: &str) -> Option<&'a str> {
        self.table.columns.get(column).map(|&at| self.cells[at])
    }

    /// The number of a column; none if the table has no such column.
    pub(super) fn number<T: FromStr + Into<u64> + Copy>(
        &self,
        bounds: Bounds,
    ) -> Result<Option<T>, TraceError> {
        let Bounds { column, least, most } = bounds;
        let Some(value) = self.text(column) else { return Ok(None) };
        // The standard library takes a sign, which no amount has.
        let number = value.parse::<T>().ok().filter(|_| !value.starts_with('+'));
        let number = number.filter(|number| (least..=most).contains(&(*number).into()));
        number.map(Some).ok_or_else(|| TraceError::Number {
            line: self.line,
            column,
            value: value.to_owned(),
            least,
            most,
        })
    }
}

/// Names that were read, by their lines, so that none comes twice.
#[derive(Default)]
pub(super) struct Names<'a>(BTreeMap<&'a str, usize>);

impl<'a> Names<'a> {
    /// Takes the name of a row.
    pub(super) fn take(&mut self, name: &'a str, line: usize) -> Result<String, TraceError> {
        let what = match name {
            "" => "is empty",
            name if self.0.insert(name, line).is_some() => "came before",
            name => return Ok(name.to_owned()),
        };
        Err(TraceError::Name { line, name: name.to_owned(), what })
    }
}

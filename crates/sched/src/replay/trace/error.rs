//! Why a trace is refused.

use thiserror::Error;

/// Why a trace is refused. Lines are counted from 1, the header among them.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum TraceError {
    /// No header, or nothing below it.
    #[error("find anything in the table: {0}\nhint: give a CSV file with a header and rows")]
    Empty(&'static str),
    /// A column that every table of the kind has.
    #[error("find the column '{column}': the table has {found}\nhint: {WANTED}")]
    Column {
        /// The column.
        column: &'static str,
        /// The columns that are there.
        found: String,
    },
    /// Two columns of one name.
    #[error("tell columns apart: two are named '{0}'\nhint: remove one of them")]
    ColumnTwice(String),
    /// More or fewer cells than the header.
    #[error("read line {line}: it has {found} cells and the header {expected}\nhint: {NO_QUOTES}")]
    Cells {
        /// The line.
        line: usize,
        /// Cells of the header.
        expected: usize,
        /// Cells of the line.
        found: usize,
    },
    /// A cell in quotes.
    #[error("read line {0}: it has a quote\nhint: {NO_QUOTES}")]
    Quote(usize),
    /// No whole number, or one out of range.
    #[error(
        "read line {line}: {column} is '{value}'\nhint: write a whole number from {least} to {most}"
    )]
    Number {
        /// The line.
        line: usize,
        /// The column.
        column: &'static str,
        /// What stands there.
        value: String,
        /// The smallest that is allowed.
        least: u64,
        /// The largest that is allowed.
        most: u64,
    },
    /// A name that is none, or that an earlier line has.
    #[error("read line {line}: the name '{name}' {what}\nhint: give each row a name of its own")]
    Name {
        /// The line.
        line: usize,
        /// The name.
        name: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Wishes that no node can meet together.
    #[error(
        "read line {line}: '{name}' wants {cards} cards and {compute} thousandths of each\nhint: {SHARES}"
    )]
    Shares {
        /// The line.
        line: usize,
        /// The pod.
        name: String,
        /// Cards.
        cards: u32,
        /// Thousandths of each.
        compute: u32,
    },
    /// Times that run backwards.
    #[error("read line {line}: its times run backwards\nhint: {TIMES}")]
    Times {
        /// The line.
        line: usize,
    },
    /// No row has times.
    #[error("find times: no row has a creation_time and a deletion_time\nhint: {TIMES}")]
    NoTimes,
    /// More rows than are taken.
    #[error("read line {line}: more than {most} rows\nhint: cut the trace into parts")]
    Rows {
        /// The first line too many.
        line: usize,
        /// What is allowed.
        most: usize,
    },
    /// More models of cards than a set of them holds.
    #[error("read line {line}: more than {most} models of cards\nhint: leave out the rarest")]
    Models {
        /// The line of the first model too many.
        line: usize,
        /// What is allowed.
        most: usize,
    },
}

const WANTED: &str = "nodes have sn, cpu_milli, memory_mib, gpu and model; pods have name, \
     cpu_milli, memory_mib, num_gpu and gpu_milli, and may have gpu_spec";

const NO_QUOTES: &str = "write cells without quotes and commas";

const SHARES: &str = "num_gpu is 0 with gpu_milli 0, 1 with 1 to 1000, or more with 1000";

const TIMES: &str = "give seconds as creation_time, scheduled_time (or nothing if it never ran) and \
     deletion_time, in this order";

//! The whole terminal, drawn again and again, and given back in the end.

use console::Term;

use crate::console::{Console, Reader};

/// To the screen that programs use for themselves, without a cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";

/// Back to what was there before.
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// Rows and columns of a terminal that does not say.
const SIZE: (u16, u16) = (24, 80);

/// A terminal that is taken whole until this is dropped, which errors do too.
pub(super) struct Screen<'a> {
    console: &'a Console,
}

impl<'a> Screen<'a> {
    /// Takes the terminal.
    pub(super) fn enter(console: &'a Console) -> Result<Self, String> {
        console.raw(ENTER.as_bytes())?;
        Ok(Self { console })
    }

    /// Rows and columns to write in, as they are now. The last column stays free: what is cleared
    /// behind a full line would be its last letter.
    pub(super) fn size(&self) -> (usize, usize) {
        let size = Term::stdout().size_checked().filter(|&(rows, columns)| rows > 0 && columns > 0);
        let (rows, columns) = size.unwrap_or(SIZE);
        (rows.into(), usize::from(columns) - 1)
    }

    /// Draws these lines in place of what is there; those below the last row are left out.
    pub(super) fn draw(&self, lines: &[String]) -> Result<Reader, String> {
        let (rows, _) = self.size();
        self.console.raw(drawn(lines, rows).as_bytes())
    }
}

impl Drop for Screen<'_> {
    fn drop(&mut self) {
        leave(self.console);
    }
}

/// Gives the terminal back; where that fails there is nobody to tell.
pub(super) fn leave(console: &Console) {
    let _ = console.raw(LEAVE.as_bytes());
}

/// What draws lines over what was there: each is cut where it ended before, and so is the last row.
fn drawn(lines: &[String], rows: usize) -> String {
    let shown = lines.iter().take(rows).map(|line| format!("{line}\x1b[K"));
    format!("\x1b[H{}\x1b[J", shown.collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_not_drawn() {
        let lines = ["a", "b", "c"].map(str::to_owned);
        assert_eq!(drawn(&lines, 9), "\x1b[Ha\x1b[K\nb\x1b[K\nc\x1b[K\x1b[J");
        assert_eq!(drawn(&lines, 2), "\x1b[Ha\x1b[K\nb\x1b[K\x1b[J");
        assert_eq!(drawn(&[], 2), "\x1b[H\x1b[J");
    }
}

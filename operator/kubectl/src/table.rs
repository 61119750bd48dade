//! Formats tables, ages and sizes as text.

use std::fmt::Write as _;

use k8s_openapi::jiff::Timestamp;

const GAP: &str = "  ";
const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Maximum number of characters of a message in a table or an error.
pub(super) const MESSAGE_CHARS: usize = 160;
/// Maximum number of characters of a key, a name or a value in a table.
pub(super) const VALUE_CHARS: usize = 80;

pub(super) const UNKNOWN: &str = "-";

/// A table with a heading. Each column is as wide as its widest cell.
#[derive(Debug)]
pub(super) struct Table<const N: usize> {
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    pub(super) fn new(heading: [&str; N]) -> Self {
        Self { rows: vec![heading.map(str::to_owned)] }
    }

    /// Adds a row. Escapes control characters in cells, because a key or value that moves the cursor could hide other rows.
    pub(super) fn row(&mut self, cells: [String; N]) {
        self.rows
            .push(cells.map(|cell| cell.chars().map(printable).collect()));
    }

    /// Returns the table as text; `None` if it has no rows below the heading.
    pub(super) fn text(&self) -> Option<String> {
        (self.rows.len() > 1).then(|| self.to_string())
    }
}

impl<const N: usize> std::fmt::Display for Table<N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let wide = |column: usize| {
            self.rows
                .iter()
                .map(|row| row[column].chars().count())
                .max()
        };
        let widths: Vec<_> = (0..N).map(|column| wide(column).unwrap_or(0)).collect();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                write!(line, "{cell:width$}{GAP}")?;
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// Returns the text of a value, or [`UNKNOWN`] for `None`.
pub(super) fn or_unknown(known: Option<impl ToString>) -> String {
    known.map_or_else(|| UNKNOWN.to_owned(), |known| known.to_string())
}

/// Returns `yes` if `holds`, otherwise `no`.
pub(super) fn yes(holds: bool) -> String {
    if holds { "yes" } else { "no" }.to_owned()
}

/// Formats a duration in the largest unit with a value of at least two, such as `90s`, `5m`, `30h` or `12d`. A negative
/// duration is `0s`.
pub(super) fn span(seconds: i64) -> String {
    let (unit, name) = match seconds {
        _ if seconds < 2 * MINUTE => (1, 's'),
        _ if seconds < 2 * HOUR => (MINUTE, 'm'),
        _ if seconds < 2 * DAY => (HOUR, 'h'),
        _ => (DAY, 'd'),
    };
    format!("{}{name}", seconds.max(0) / unit)
}

/// Formats the time from `of` to `now` like [`span`].
pub(super) fn age(of: Timestamp, now: Timestamp) -> String {
    span(now.as_second() - of.as_second())
}

/// Returns the number of whole days until a time; negative if the time has passed.
pub(super) fn days_until(time: Timestamp, now: Timestamp) -> i64 {
    (time.as_second() - now.as_second()).div_euclid(DAY)
}

/// Formats a number of bytes, such as `17 B` or `1.5 KiB`.
pub(super) fn bytes(of: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (of as f64, 0);
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.*} {}", usize::from(unit > 0), UNITS[unit])
}

/// Returns a number with its noun, such as `1 key` or `2 keys`.
pub(super) fn counted(number: u64, noun: &str) -> String {
    let end = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{end}")
}

/// Returns the text as one escaped line of at most `max` characters, followed by an ellipsis if it is cut.
pub(super) fn clipped(text: &str, max: usize) -> String {
    let mut line = String::new();
    let mut length = 0;
    for c in text.chars() {
        let shown = printable(c);
        length += shown.chars().count();
        if length > max {
            line.push('…');
            break;
        }
        line.push_str(&shown);
    }
    line
}

/// Returns the text with unprintable characters escaped in each line, because an error can quote untrusted input.
pub(super) fn printed(text: &str) -> String {
    let lines = text.split('\n');
    let lines: Vec<String> = lines
        .map(|line| line.chars().map(printable).collect())
        .collect();
    lines.join("\n")
}

/// Returns the character, or its escape sequence if the character is a control character or changes the direction of text.
fn printable(c: char) -> String {
    match c {
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            c.escape_unicode().to_string()
        }
        _ if c.is_control() => c.escape_default().to_string(),
        _ => c.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_cannot_move_the_cursor() {
        let mut table = Table::new(["KEY"]);
        table.row(["a\u{1b}[2K\r\nb\u{202e}c".to_owned()]);
        assert_eq!(table.to_string(), "KEY\na\\u{1b}[2K\\r\\nb\\u{202e}c\n");
        assert_eq!(printed("a\nb\u{1b}[2K\n"), "a\nb\\u{1b}[2K\n");
    }

    #[test]
    fn days_are_whole() {
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(days_until(at(3 * DAY - 1), at(0)), 2);
        assert_eq!(days_until(at(0), at(1)), -1);
    }

    #[test]
    fn clipped_text_is_one_line() {
        assert_eq!(clipped("a\nb", 9), "a\\nb");
        assert_eq!(clipped("abcdef", 3), "abc…");
    }
}

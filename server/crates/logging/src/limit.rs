//! Limits log lines that any client can trigger: logs a few per second, counts the suppressed lines, and shortens names.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Maximum number of lines of one kind in each [`WINDOW`]; further lines are counted in the next line.
const LINES_MAX: u32 = 10;

/// Period for which lines of one kind are counted.
const WINDOW: Duration = Duration::from_secs(1);

/// Size in bytes of a client's text in a line; the rest of a longer text is not logged.
const SHOWN_BYTES: usize = 256;

/// Returns the beginning of a client's text, for a log line: at most 256 bytes, cut between two characters.
pub fn shorten(text: &str) -> &str {
    &text[..text.floor_char_boundary(SHOWN_BYTES)]
}

/// The limit for one kind of line.
#[derive(Debug, Default)]
pub struct LogLimit(Mutex<Option<LineWindow>>);

#[derive(Debug)]
struct LineWindow {
    began: Instant,
    logged: u32,
    left_out: u64,
}

impl LogLimit {
    /// Creates a limit that has admitted no line.
    pub const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// Returns the number of lines suppressed since the last admitted line if a line can be logged now. After `LINES_MAX`
    /// lines in this `WINDOW`, counts the line as suppressed and returns `None`.
    pub fn admit(&self) -> Option<u64> {
        self.admit_at(Instant::now())
    }

    /// Like [`LogLimit::admit`], with `now` as the current time.
    fn admit_at(&self, now: Instant) -> Option<u64> {
        // A panic cannot leave the window inconsistent.
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let window = window.get_or_insert(LineWindow { began: now, logged: 0, left_out: 0 });
        if now.saturating_duration_since(window.began) >= WINDOW {
            (window.began, window.logged) = (now, 0);
        }
        if window.logged == LINES_MAX {
            window.left_out += 1;
            return None;
        }
        window.logged += 1;
        Some(std::mem::take(&mut window.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_shortened_between_characters() {
        assert_eq!(shorten("root"), "root");
        let long = ["x", &"é".repeat(SHOWN_BYTES)].concat();
        assert_eq!(shorten(&long), &long[..SHOWN_BYTES - 1]);
    }

    #[test]
    fn lines_beyond_the_limit_are_counted() {
        let limit = LogLimit::new();
        let begun = Instant::now();
        for _ in 0..LINES_MAX {
            assert_eq!(limit.admit_at(begun), Some(0));
        }
        for _ in 0..7 {
            assert_eq!(limit.admit_at(begun + WINDOW / 2), None);
        }
        let later = begun + WINDOW;
        assert_eq!(limit.admit_at(later), Some(7));
        for _ in 1..LINES_MAX {
            assert_eq!(limit.admit_at(later), Some(0));
        }
        assert_eq!(limit.admit_at(later), None);
        // Two threads can read the clock in one order and take the lock in the other order.
        assert_eq!(limit.admit_at(begun), None);
        assert_eq!(limit.admit_at(later + WINDOW), Some(2));
    }
}

//! Panics that tests plant at a chosen moment. Each boundary that contains panics also raises the planted panic. Only the
//! binary `witan-planted` contains this module.
//!
//! The environment variable [`FILE`] names a file with a boundary, a moment and a number N. The process panics when the moment
//! occurs for the Nth time. The first boundary that finds the file reads and removes it. A new file replaces a pending panic.
//!
//! - `SOURCE poll N`: a poll has returned, ready or pending. `SOURCE` is a label of the metrics.
//! - `SOURCE item N`: a poll has returned ready, with a future's result or a part of a stream.
//! - `SOURCE call N`: a function is about to run and owns its arguments.
//! - `library THREAD N`: the thread with this name is about to call a storage library.
//! - `thread NAME N`: the thread with this name starts.

use std::{env, fs};

use crate::sync::Mutex;

/// Environment variable with the path of the file.
const FILE: &str = "WITAN_PLANTED_PANIC";

/// The panic that the latest file named.
static PLANTED: Mutex<Option<PlantedPanic>> = Mutex::new(None);

#[derive(Debug)]
struct PlantedPanic {
    boundary: String,
    moment: String,
    /// Number of times that the moment must still occur.
    left: usize,
}

impl PlantedPanic {
    /// Parses the boundary, the moment and the number in the file. Returns `None` if one is missing or the number is invalid,
    /// for example because a newline follows it.
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ').map(str::to_owned);
        let (boundary, moment) = (words.next()?, words.next()?);
        let left = words.next()?.parse().ok()?;
        Some(Self { boundary, moment, left })
    }
}

/// Reads and removes the file. Returns `None` if the variable is not set, or if the file does not exist or cannot be removed.
fn take_file() -> Option<String> {
    let path = env::var_os(FILE)?;
    let text = fs::read_to_string(&path).ok()?;
    fs::remove_file(&path).ok()?;
    Some(text)
}

/// Reads a new file, if any; an invalid file removes a pending panic. Counts this moment and panics at the Nth occurrence of
/// the planted moment.
pub(super) fn reached(boundary: &str, moment: &str) {
    let mut planted = PLANTED.lock();
    if let Some(text) = take_file() {
        *planted = PlantedPanic::parse(&text);
    }
    let due = planted.as_mut().is_some_and(|panic| {
        let is_it = panic.boundary == boundary && panic.moment == moment;
        panic.left = panic.left.saturating_sub(usize::from(is_it));
        is_it && panic.left == 0
    });
    if due {
        *planted = None;
        drop(planted);
        panic!("planted: {boundary} {moment}");
    }
}

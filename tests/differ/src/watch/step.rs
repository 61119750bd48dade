//! The steps of a sequence, and the results that each can have.

use std::fmt;

use crate::coverage::{Coverage, Row};

/// Everything that a run must reach.
pub(super) const TABLE: &[Row] = &[
    ("create", "created empty duplicate compacted"),
    ("cancel", "asked compacted"),
    ("events", "one several deletion previous many-revisions"),
    ("progress", "told"),
];

/// Which revision a request names; the present one is looked up when the step is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// 0, or for a compaction the present one.
    Now,
    /// So many before the present one.
    Back(i64),
    /// So many after it.
    Ahead(i64),
    /// As it is.
    Exactly(i64),
}

/// One thing done on both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Put {
        key: String,
        value: String,
    },
    Delete {
        key: String,
        end: String,
    },
    /// Puts of some keys and a deletion of another one, in one revision.
    Txn {
        puts: Vec<String>,
        delete: Option<String>,
    },
    Compact(At),
    Create {
        stream: usize,
        key: String,
        end: String,
        start: At,
        id: i64,
        no_put: bool,
        no_delete: bool,
        prev_kv: bool,
        fragment: bool,
    },
    Cancel {
        stream: usize,
        id: i64,
    },
    Progress {
        stream: usize,
    },
    /// Closes a stream and opens a new one.
    Reopen {
        stream: usize,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// Notes what a line of an answer shows to have been reached.
pub(super) fn reached(line: &str, coverage: &mut Coverage) {
    let has = |text: &str| line.contains(text);
    if has("created: true") {
        coverage.hit(
            "create",
            match () {
                () if has("range is empty") => "empty",
                () if has("duplicate watch ID") => "duplicate",
                () if has("has been compacted") => "compacted",
                () => "created",
            },
        );
    } else if has("canceled: true") {
        let asked = has("compact_revision: 0");
        coverage.hit("cancel", if asked { "asked" } else { "compacted" });
    } else if has("events: []") {
        coverage.hit("progress", "told");
    } else {
        let events = line.matches("Event {").count();
        coverage.hit("events", if events > 1 { "several" } else { "one" });
        for (text, code) in [("type: Delete", "deletion"), ("prev_kv: Some", "previous")] {
            if has(text) {
                coverage.hit("events", code);
            }
        }
        let mut revisions: Vec<&str> = line
            .split("kv: Some(KeyValue {")
            .filter_map(|kv| kv.split_once("mod_revision: "))
            .filter_map(|(_, rest)| rest.split([',', ' ']).next())
            .collect();
        revisions.dedup();
        if revisions.len() > 2 {
            coverage.hit("events", "many-revisions");
        }
    }
}

//! The steps of a sequence and their possible results.

use std::fmt;

use crate::coverage::{Coverage, Row};

/// The cells that a run must cover.
pub(super) const TABLE: &[Row] = &[
    ("create", "created empty duplicate compacted"),
    ("cancel", "requested compacted"),
    ("events", "one several deletion previous many-revisions"),
    ("progress", "received"),
];

/// A revision in a request, relative to the revision at the time of the step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// Revision 0; for a compaction, the current revision.
    Now,
    /// This many revisions before the current one.
    Back(i64),
    /// This many revisions after the current one.
    Ahead(i64),
    /// Exactly this revision.
    Exactly(i64),
}

/// An action on both servers.
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
    /// Puts some keys and deletes another key in one revision.
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

/// Records the cells that a line of an answer covers.
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
        let requested = has("compact_revision: 0");
        coverage.hit("cancel", if requested { "requested" } else { "compacted" });
    } else if has("events: []") {
        coverage.hit("progress", "received");
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

//! The actions that the record omits: the writes that its watches report, and the times of the watches. They are derived from
//! the indexes in the responses, and a replay on etcd itself verifies them.

/// An action around a pair.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    /// A request whose response is not recorded: method, key, form.
    Send(&'static str, &'static str, &'static str),
    /// Writes that push all older events out of the history: `/spam` is set to 0, 1, … 1099.
    Spam,
    /// Starts the watch of a later pair.
    Open(&'static str),
}

use Act::{Open, Send, Spam};

/// The actions around a pair.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Around {
    /// Actions before the pair's request.
    pub(crate) before: &'static [Act],
    /// Actions after the pair's watch was accepted.
    pub(crate) after: &'static [Act],
    /// Whether the pair's watch is read together with the next watch.
    pub(crate) joint: bool,
}

/// Pairs that depend on time and are repeated until they answer as recorded.
pub(crate) const PATIENT: &[&str] = &["D003", "D016", "D021", "M003"];

const NOTHING: Around = Around { before: &[], after: &[], joint: false };
const JOINT: Around = Around { joint: true, ..NOTHING };

const fn before(acts: &'static [Act]) -> Around {
    Around { before: acts, ..NOTHING }
}

const fn after(acts: &'static [Act]) -> Around {
    Around { after: acts, ..NOTHING }
}

/// Returns the actions around a pair.
pub(crate) fn around(id: &str) -> Around {
    match id {
        // These pairs observe the same expirations as the next watch.
        "D004" | "D044" | "D045" | "D046" => JOINT,
        "D025" => before(&[Open("D028")]),
        "D049" => before(&[
            Send("PUT", "/ttl/e1", "value=1&ttl=2"),
            Send("PUT", "/ttl/e2", "value=1&ttl=2"),
        ]),
        "E001" => after(&[Send("PUT", "/w/a", "value=1")]),
        "E009" => after(&[Send("PUT", "/w/b", "value=1")]),
        "E010" => after(&[Send("PUT", "/w/b", "value=2")]),
        "E011" => after(&[Send("PUT", "/w/b", "value=3")]),
        "E012" => after(&[
            Send("PUT", "/w/b", "value=4"),
            Send("DELETE", "/w/b", ""),
            Send("POST", "/w/q", "value=j"),
            Send("PUT", "/w/a", "value=u&prevExist=true"),
        ]),
        "E014" => Around {
            before: &[Send("PUT", "/w/b", "value=5")],
            joint: true,
            ..NOTHING
        },
        "E015" => after(&[Send("DELETE", "/w?recursive=true", "")]),
        "E019" => after(&[
            Send("PUT", "/h/_x", "value=1"),
            Send("PUT", "/h/_d/y", "value=1"),
        ]),
        "E020" => after(&[Send("PUT", "/h/_d/y", "value=2")]),
        "E021" => after(&[Send("PUT", "/h/_x", "value=2")]),
        "E024" => before(&[Spam]),
        "F001" => Around {
            before: &[Send("PUT", "/sd/k", "value=1")],
            joint: true,
            ..NOTHING
        },
        "F002" => after(&[Send("DELETE", "/sd/k", "")]),
        "F003" => Around {
            before: &[Send("PUT", "/sd/d", "dir=true")],
            after: &[Send("DELETE", "/sd/d?dir=true", "")],
            joint: false,
        },
        _ => NOTHING,
    }
}

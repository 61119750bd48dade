//! The deliberate differences between Witan and etcd. Every other difference is a bug. Each excuse matches exactly one pattern
//! of etcd's answers.

use serde_json::Value;

use super::{
    action::{self, Parameters},
    answer::Answer,
    step::Request,
};

/// Requests and parts of answers that differ between the servers. No sequence sends or compares them.
pub(super) const NOT_SENT: [(&str, &str); 6] = [
    (
        "a TTL above 9223372036 s",
        "etcd's clock overflows, so that the key expires immediately or never; Witan uses the \
         latest time that its clock can represent",
    ),
    (
        "a control character in a target",
        "both answer 400 and close the connection, but only Go sends a message",
    ),
    (
        "the length of an answer in HTTP/1.0",
        "for a long answer, Go sends no length and closes the connection; Witan sends the length \
         and closes it too",
    ),
    (
        "the remaining TTL in an event from before a restart",
        "etcd computes it again when it reads its log; Witan repeats the earlier value",
    ),
    (
        "a path in HTTP/1.0 that cannot be decoded",
        "Go refuses such a path in HTTP/1.1",
    ),
    (
        "Expect: 100-continue before a body that etcd does not read",
        "Go sends no 100 and closes the connection; Witan sends 100 and reads the body, so that \
         the connection stays usable",
    ),
];

/// A deliberate difference.
#[derive(Clone, Copy, Debug)]
pub(super) enum Excuse {
    /// etcd redirects an unclean path.
    Redirect,
    /// etcd's stream sends no more events after the first past event.
    SilentStream,
    /// etcd's history treats `/w` as a directory of `/wxyz`.
    Prefix,
    /// etcd's history forgets that a node is hidden.
    Hidden,
}

impl Excuse {
    /// Every excuse.
    pub(super) const ALL: [Self; 4] = [
        Self::Redirect,
        Self::SilentStream,
        Self::Prefix,
        Self::Hidden,
    ];

    /// Returns the reason why Witan differs.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Redirect => {
                "Witan serves an unclean path, because clients repeat a redirected PUT as GET (the \
                 test follows the redirect and compares the answers)"
            }
            Self::SilentStream => {
                "a stream from a past index continues; etcd sends only one event and stops"
            }
            Self::Prefix => {
                "watchers below a directory learn of its deletion; watchers of a longer name do not"
            }
            Self::Hidden => "hidden nodes are also hidden from watchers of past changes",
        }
    }

    /// Returns the number of events that are compared despite the excuse.
    pub(super) fn events_kept(self) -> usize {
        match self {
            Self::SilentStream => 1,
            Self::Redirect | Self::Prefix | Self::Hidden => 0,
        }
    }

    /// Returns the excuse that etcd's first event matches on a watch that was opened at the index `began`, if any.
    pub(super) fn of(request: &Request, began: u64, first: &Answer) -> Option<Self> {
        let event = first.json()?;
        let index = event["node"]["modifiedIndex"].as_u64()?;
        let parameters = Parameters::of(request);
        parameters.number("waitIndex")?;
        if index > began {
            return None;
        }
        let watched = action::key(&request.target)?;
        let key = event["node"]["key"].as_str()?;
        if removes_dir(&event) && watched.starts_with(key) && watched != key {
            if !watched[key.len()..].starts_with('/') {
                return Some(Self::Prefix);
            }
        } else if let Some(below) = key.strip_prefix(watched.trim_end_matches('/'))
            && below.split('/').any(|part| part.starts_with('_'))
        {
            return Some(Self::Hidden);
        }
        parameters.is("stream").then_some(Self::SilentStream)
    }
}

fn removes_dir(event: &Value) -> bool {
    let removes = matches!(event["action"].as_str(), Some("delete" | "expire"));
    removes && event["node"]["dir"].as_bool() == Some(true)
}

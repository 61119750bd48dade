//! The deliberate differences between Witan and etcd. Every other difference is a bug. Each excuse matches exactly one pattern
//! of etcd's answers.

use serde_json::Value;

use super::{
    action::{self, Asked},
    answer::Answer,
    step::Request,
};

/// Requests that both servers answer differently. No sequence sends or compares them.
pub(super) const NOT_ASKED: [(&str, &str); 6] = [
    (
        "a time to live above 9223372036 s",
        "etcd's clock wraps, and the key expires at once or stays forever; Witan's stops at the \
         end of time",
    ),
    (
        "a control character in a target",
        "both refuse it with 400 and close the connection, Go with a text and actix without one",
    ),
    (
        "how long an answer in HTTP/1.0 is",
        "Go ends the connection instead of saying it for a long one, Witan says it and ends it, too",
    ),
    (
        "the seconds left in an event from before a restart",
        "etcd counts them anew when it reads its log again, Witan tells what it told then",
    ),
    (
        "a path in HTTP/1.0 that cannot be decoded",
        "Go refuses it in HTTP/1.1",
    ),
    (
        "Expect: 100-continue before a body that etcd does not read",
        "Go never says 100 and closes the connection; Witan says it and reads the body, so that \
         the connection can go on",
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
                "an unclean path is served, not redirected: clients repeat a redirected PUT as GET \
                 (the redirect is followed, and what it leads to is compared)"
            }
            Self::SilentStream => {
                "a stream from a past index continues; etcd sends one event and no more"
            }
            Self::Prefix => {
                "watchers below a directory learn of its end, but not watchers of a longer name"
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

    /// Returns the excuse that etcd's first event matches on a watch from index `began`, if any.
    pub(super) fn of(request: &Request, began: u64, first: &Answer) -> Option<Self> {
        let event = first.json()?;
        let index = event["node"]["modifiedIndex"].as_u64()?;
        let asked = Asked::of(request);
        asked.number("waitIndex")?;
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
        asked.is("stream").then_some(Self::SilentStream)
    }
}

fn removes_dir(event: &Value) -> bool {
    let removes = matches!(event["action"].as_str(), Some("delete" | "expire"));
    removes && event["node"]["dir"].as_bool() == Some(true)
}

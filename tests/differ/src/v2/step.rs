//! One step of a sequence and its line in a script.
//!
//! ```text
//! PUT /v2/keys/a?ttl={now} (text/plain) < value=1
//! PUT+chunked /v2/keys/a < value=1
//! WATCH 3 /v2/keys/a?wait=true&recursive=true
//! REAP 3
//! BURST 1100 /v2/keys/noise
//! SETTLE
//! RESTART
//! ```
//! `{now}`, `{now+N}` and `{now-N}` represent the current index of the store. `{mod}` represents the last observed modified
//! index of the addressed node (0 if none).

use std::fmt;

/// A request as sent on the wire, except for the variables in braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The method, which may be any token.
    pub(super) method: String,
    /// Path and query.
    pub(super) target: String,
    /// The content type. `None` means the form's type; an empty type is not sent.
    pub(super) media: Option<String>,
    pub(super) body: Option<String>,
    /// How to send the request.
    pub(super) how: How,
}

impl Request {
    /// Creates a plain GET.
    pub(super) fn get(target: &str) -> Self {
        Self {
            method: "GET".into(),
            target: target.into(),
            media: None,
            body: None,
            how: How::Plain,
        }
    }
}

/// Ways to send a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum How {
    /// As typical clients do.
    #[default]
    Plain,
    /// With a chunked body.
    Chunked,
    /// In HTTP/1.0.
    Old,
    /// With `Expect: 100-continue`, without waiting for the answer.
    Expecting,
    /// With the host in the target.
    Absolute,
    /// With header names in lower case.
    Lower,
}

impl How {
    /// All ways except `Plain`.
    pub(super) const ODD: [Self; 5] = [
        Self::Chunked,
        Self::Old,
        Self::Expecting,
        Self::Absolute,
        Self::Lower,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Chunked => "+chunked",
            Self::Old => "+1.0",
            Self::Expecting => "+expecting",
            Self::Absolute => "+absolute",
            Self::Lower => "+lower",
        }
    }
}

/// One step of a sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Sends a request and waits for the answer.
    Ask(Request),
    /// Opens a watch on its own connection and reads the head of its answer.
    Watch(u32, String),
    /// Collects the events of a watch and closes it.
    Reap(u32),
    /// Sets one key this many times. Only the last answer is compared.
    Burst(u32, String),
    /// Waits until no node has a short TTL.
    Settle,
    /// Kills the server and restarts it with its files.
    Restart,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ask(ask) => {
                write!(f, "{}{} {}", ask.method, ask.how.name(), ask.target)?;
                if let Some(media) = &ask.media {
                    write!(f, " ({media})")?;
                }
                match &ask.body {
                    Some(body) => write!(f, " < {body}"),
                    None => Ok(()),
                }
            }
            Self::Watch(id, target) => write!(f, "WATCH {id} {target}"),
            Self::Reap(id) => write!(f, "REAP {id}"),
            Self::Burst(count, target) => write!(f, "BURST {count} {target}"),
            Self::Settle => write!(f, "SETTLE"),
            Self::Restart => write!(f, "RESTART"),
        }
    }
}

impl Step {
    /// Parses the line of a step. Fails for any other line.
    pub(super) fn parse(line: &str) -> Result<Self, String> {
        let bad = || format!("no step: {line:?}");
        let number = |text: &str| text.parse::<u32>().map_err(|_| bad());
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "SETTLE" => return Ok(Self::Settle),
            "RESTART" => return Ok(Self::Restart),
            "REAP" => return Ok(Self::Reap(number(rest)?)),
            "WATCH" | "BURST" => {
                let (count, target) = rest.split_once(' ').ok_or_else(bad)?;
                let (count, target) = (number(count)?, target.to_owned());
                return Ok(if word == "WATCH" {
                    Self::Watch(count, target)
                } else {
                    Self::Burst(count, target)
                });
            }
            _ => {}
        }
        let (head, body) = match rest.split_once(" < ") {
            Some((head, body)) => (head, Some(body.to_owned())),
            None => (rest, None),
        };
        let (target, media) = match head.split_once(" (") {
            Some((target, media)) => {
                let media = media.strip_suffix(')').ok_or_else(bad)?;
                (target, Some(media.to_owned()))
            }
            None => (head, None),
        };
        if target.is_empty() {
            return Err(bad());
        }
        let how = How::ODD.into_iter().find(|how| word.ends_with(how.name()));
        let how = how.unwrap_or_default();
        let method = word.strip_suffix(how.name()).unwrap_or(word);
        Ok(Self::Ask(Request {
            method: method.into(),
            how,
            target: target.into(),
            media,
            body,
        }))
    }
}

/// Replaces the variables in braces with numbers.
pub(super) fn resolve(text: &str, now: u64, modified: u64) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        let Some(end) = rest[at..].find('}') else {
            break;
        };
        let name = &rest[at + 1..at + end];
        let number = match name.strip_prefix("now") {
            Some("") => Some(now),
            Some(by) if by.starts_with('+') => by[1..].parse().ok().map(|by: u64| now + by),
            Some(by) if by.starts_with('-') => {
                by[1..].parse().ok().map(|by: u64| now.saturating_sub(by))
            }
            Some(_) => None,
            None => (name == "mod").then_some(modified),
        };
        out.push_str(&rest[..at]);
        match number {
            Some(number) => out.push_str(&number.to_string()),
            None => out.push_str(&rest[at..=at + end]),
        }
        rest = &rest[at + end + 1..];
    }
    out.push_str(rest);
    out
}

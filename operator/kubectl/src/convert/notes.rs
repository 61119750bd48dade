//! Comments above a converted resource: what was not converted and why, what a person has to do, what differs.

use serde_json::Value;

use super::super::{decode::SHOWN_MAX, table::clipped};

/// The subject of a comment, in the order in which comments are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Topic {
    NotConverted,
    ByHand,
    Note,
    Data,
}

impl Topic {
    fn word(self) -> &'static str {
        match self {
            Self::NotConverted => "not converted",
            Self::ByHand => "by hand",
            Self::Note => "note",
            Self::Data => "data",
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Notes(Vec<(Topic, String)>);

impl Notes {
    /// Notes that a field is not converted: it has no counterpart, or its value is not possible.
    pub(super) fn not_converted(&mut self, path: &str, reason: impl AsRef<str>) {
        let text = format!("{path}: {}", reason.as_ref());
        self.0.push((Topic::NotConverted, text));
    }

    /// Notes what a person has to do before or after the resource is created.
    pub(super) fn by_hand(&mut self, text: impl Into<String>) {
        self.0.push((Topic::ByHand, text.into()));
    }

    /// Notes that the result differs from the document, or shows a default of the other operator.
    pub(super) fn note(&mut self, text: impl Into<String>) {
        self.0.push((Topic::Note, text.into()));
    }

    /// Notes where the data comes from.
    pub(super) fn data(&mut self, text: impl Into<String>) {
        self.0.push((Topic::Data, text.into()));
    }

    pub(super) fn append(&mut self, more: Self) {
        self.0.extend(more.0);
    }

    pub(super) fn text(mut self) -> String {
        self.0.sort_by_key(|(topic, _)| *topic);
        let lines = self.0.iter();
        lines
            .map(|(topic, text)| comment(&format!("{}: {text}", topic.word())))
            .collect()
    }
}

/// Returns a line of comment. Texts of the document end no line, or the rest of them would be YAML.
pub(super) fn comment(text: &str) -> String {
    let mut line = "# ".to_owned();
    for c in text.chars() {
        if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    line.push('\n');
    line
}

pub(super) fn shown(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            value.to_string()
        }
    };
    clipped(&text, SHOWN_MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_comment_is_one_line() {
        assert_eq!(comment("a\nb: c\u{85}d"), "# a\\nb: c\\u{85}d\n");
        assert_eq!(shown(&json!("a".repeat(61))).chars().count(), 61);
    }

    #[test]
    fn topics_are_in_order() {
        let mut notes = Notes::default();
        notes.data("empty");
        notes.by_hand("secret");
        notes.not_converted("spec.a", "no");
        notes.not_converted("spec.b", "no");
        let text = "# not converted: spec.a: no\n# not converted: spec.b: no\n# by hand: secret\n# data: empty\n";
        assert_eq!(notes.text(), text);
    }
}

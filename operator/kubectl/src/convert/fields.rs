//! A document of another format as a tree out of which fields are taken. What nobody has taken is named at the end, so that
//! nothing is dropped in silence.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::notes::{Notes, shown};

/// The fields of a document that are not converted yet.
#[derive(Debug)]
pub(super) struct Fields {
    left: Value,
    /// Where this object is in its document; empty for a whole document.
    base: String,
    known: BTreeSet<String>,
    pub(super) notes: Notes,
}

impl Fields {
    pub(super) fn new(document: Value) -> Self {
        Self::at(document, String::new())
    }

    pub(super) fn at(left: Value, base: String) -> Self {
        Self { left, base, known: BTreeSet::new(), notes: Notes::default() }
    }

    pub(super) fn path(&self, path: &str) -> String {
        match (self.base.as_str(), path.starts_with('[')) {
            ("", _) => path.to_owned(),
            (base, true) => format!("{base}{path}"),
            (base, false) => format!("{base}.{path}"),
        }
    }

    /// Takes a field by the keys of its path, which are separated by dots. `null` counts as no value, as in Kubernetes.
    pub(super) fn take(&mut self, path: &str) -> Option<Value> {
        self.known.insert(path.to_owned());
        take(&mut self.left, path).filter(|value| !value.is_null())
    }

    pub(super) fn has(&mut self, path: &str) -> bool {
        self.known.insert(path.to_owned());
        let found = self.left.pointer(&format!("/{}", path.replace('.', "/")));
        found.is_some_and(|value| !value.is_null())
    }

    /// Takes a text; numbers and truth values are texts without quotes.
    pub(super) fn text(&mut self, path: &str) -> Option<String> {
        let value = self.take(path)?;
        let text = text_of(&value);
        self.expected(path, text, "a text", &value)
    }

    /// Takes a text that is not empty.
    pub(super) fn word(&mut self, path: &str) -> Option<String> {
        self.text(path).filter(|text| !text.is_empty())
    }

    pub(super) fn number(&mut self, path: &str) -> Option<i64> {
        let value = self.take(path)?;
        let number = text_of(&value).and_then(|text| text.parse().ok());
        self.expected(path, number, "a whole number", &value)
    }

    pub(super) fn switch(&mut self, path: &str) -> Option<bool> {
        let value = self.take(path)?;
        let switch = text_of(&value).and_then(|text| switch_of(&text));
        self.expected(path, switch, "true or false", &value)
    }

    /// Takes an object; an empty one is none.
    pub(super) fn object(&mut self, path: &str) -> Option<Map<String, Value>> {
        let value = self.take(path).filter(|value| *value != "")?;
        let object = value.as_object().cloned();
        let object = self.expected(path, object, "an object", &value);
        object.filter(|object| !object.is_empty())
    }

    /// Takes a list; an empty one is none.
    pub(super) fn list(&mut self, path: &str) -> Option<Vec<Value>> {
        let value = self.take(path).filter(|value| *value != "")?;
        let list = value.as_array().cloned();
        let list = self.expected(path, list, "a list", &value);
        list.filter(|list| !list.is_empty())
    }

    /// Takes the items of a list, each with its path.
    pub(super) fn items(&mut self, path: &str) -> impl Iterator<Item = (String, Value)> + use<> {
        let items = self.list(path).unwrap_or_default();
        let path = path.to_owned();
        let numbered = items.into_iter().enumerate();
        numbered.map(move |(n, item)| (format!("{path}[{n}]"), item))
    }

    /// Takes an object of texts, such as labels.
    pub(super) fn texts(&mut self, path: &str) -> Option<Map<String, Value>> {
        let mut object = self.object(path)?;
        let path = self.path(path);
        object.retain(|key, value| {
            let text = text_of(value);
            if text.is_none() {
                let place = format!("{path}{}", key_of(key));
                let reason = format!("a text is expected, not {}", shown(value));
                self.notes.not_converted(&place, reason);
            }
            *value = Value::from(text.clone());
            text.is_some()
        });
        (!object.is_empty()).then_some(object)
    }

    /// Takes an object, whose fields are then taken; [`Fields::close`] ends that.
    pub(super) fn part(&mut self, path: &str) -> Option<Self> {
        let object = self.object(path)?;
        Some(Self::at(Value::Object(object), self.path(path)))
    }

    pub(super) fn close(&mut self, part: Self) {
        self.notes.append(part.finish());
    }

    pub(super) fn annotation(&mut self, key: &str) -> bool {
        let annotations = self.left.pointer_mut("/metadata/annotations");
        let annotations = annotations.and_then(Value::as_object_mut);
        annotations.is_some_and(|all| all.shift_remove(key).is_some())
    }

    pub(super) fn rest(&mut self) -> Map<String, Value> {
        let mut rest = std::mem::take(&mut self.left);
        let mut rest = rest.as_object_mut().map(std::mem::take).unwrap_or_default();
        rest.retain(|_, value| !value.is_null());
        rest
    }

    /// Takes a field that has no counterpart, and names it if it asks for something.
    pub(super) fn gone(&mut self, path: &str, reason: &str) {
        if let Some(value) = self.take(path)
            && asks(&value)
        {
            self.refuse(path, reason);
        }
    }

    /// Takes fields that have no counterpart, each with the reason.
    pub(super) fn all_gone(&mut self, table: &[(&str, &str)]) {
        for (path, reason) in table {
            self.gone(path, reason);
        }
    }

    /// Says that a field, which was taken, is not converted.
    pub(super) fn refuse(&mut self, path: &str, reason: impl AsRef<str>) {
        self.notes.not_converted(&self.path(path), reason);
    }

    /// Ends the conversion: names all fields that are left.
    pub(super) fn finish(mut self) -> Notes {
        let mut notes = std::mem::take(&mut self.notes);
        self.name_left(&self.left, "", &mut notes);
        notes
    }

    /// Notes every field that is left at `path` or below it: one that nobody has taken, and that is not an object with known
    /// fields.
    fn name_left(&self, value: &Value, path: &str, notes: &mut Notes) {
        let below = format!("{path}.");
        let is_known = |known: &String| known == path || known.starts_with(&below);
        let known = path.is_empty() || self.known.iter().any(is_known);
        match value {
            Value::Null if known => {}
            Value::Object(fields) if known => {
                for (key, value) in fields {
                    let key = key_of(key);
                    let next = match path {
                        "" => key.trim_start_matches('.').to_owned(),
                        _ => format!("{path}{key}"),
                    };
                    self.name_left(value, &next, notes);
                }
            }
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_) => {
                let reason = if known {
                    "an object is expected"
                } else {
                    "no such field is known"
                };
                notes.not_converted(&self.path(path), reason);
            }
        }
    }

    fn expected<T>(&mut self, path: &str, read: Option<T>, what: &str, found: &Value) -> Option<T> {
        if read.is_none() {
            self.refuse(path, format!("{what} is expected, not {}", shown(found)));
        }
        read
    }
}

/// Takes a field, and the objects on its path that have no other one.
pub(super) fn take(value: &mut Value, path: &str) -> Option<Value> {
    let fields = value.as_object_mut()?;
    let Some((first, rest)) = path.split_once('.') else {
        return fields.shift_remove(path);
    };
    let below = fields.get_mut(first)?;
    let taken = take(below, rest)?;
    if below.as_object().is_some_and(Map::is_empty) {
        fields.shift_remove(first);
    }
    Some(taken)
}

/// Returns a truth value as kubectl reads it.
fn switch_of(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "y" => Some(true),
        "false" | "no" | "off" | "n" => Some(false),
        _ => None,
    }
}

/// Returns a value that is written as one word.
pub(super) fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(switch) => Some(switch.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Whether a value asks for something: not if it is null, false or empty, has `enabled` or `create` off, or is an object
/// of such values only. The number 0 and the text `false` ask.
fn asks(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Bool(true) | Value::Number(_) => true,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => {
            let off = |key: &str| fields.get(key) == Some(&Value::Bool(false));
            !off("enabled") && !off("create") && fields.values().any(asks)
        }
    }
}

/// Returns a key as the end of a path: `.key`, or `["a.b/c"]`.
fn key_of(key: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if !key.is_empty() && key.chars().all(plain) {
        format!(".{key}")
    } else {
        format!("[{key:?}]")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_nobody_takes_is_named() {
        let document = json!({
            "nothing": null,
            "spec": {"size": 3, "pod": {"labels": {"a": "b"}, "new": {"x": 1}}, "odd/key": null},
            "empty": {},
            "also": 1,
        });
        let mut fields = Fields::new(document);
        assert_eq!(fields.number("spec.size"), Some(3));
        assert_eq!(fields.texts("spec.pod.labels").unwrap()["a"], "b");
        assert_eq!(fields.text("also.below"), None);
        assert!(!fields.has("nothing"));
        assert_eq!(
            fields.finish().text(),
            "# not converted: spec.pod.new: no such field is known\n\
             # not converted: spec[\"odd/key\"]: no such field is known\n\
             # not converted: empty: no such field is known\n\
             # not converted: also: an object is expected\n"
        );
    }

    #[test]
    fn a_value_of_another_type_is_named() {
        let mut fields = Fields::new(json!({"a": [1], "b": "x", "c": {"d": {}}, "e": "3"}));
        assert_eq!(fields.text("a"), None);
        assert_eq!(fields.number("b"), None);
        assert_eq!(fields.texts("c"), None);
        assert_eq!(fields.number("e"), Some(3));
        assert_eq!(
            fields.finish().text(),
            "# not converted: a: a text is expected, not [1]\n\
             # not converted: b: a whole number is expected, not x\n\
             # not converted: c.d: a text is expected, not {}\n"
        );
    }

    #[test]
    fn what_is_off_asks_for_nothing() {
        for off in [
            json!(false),
            json!(""),
            json!({"enabled": false, "size": 3}),
            json!({"a": {"b": []}}),
        ] {
            assert!(!asks(&off), "{off}");
        }
        for on in [json!(0), json!("x"), json!({"enabled": true})] {
            assert!(asks(&on), "{on}");
        }
    }
}

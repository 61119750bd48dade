//! The documents of a file of YAML, as objects of JSON; lists of Kubernetes are taken apart.

use serde::Deserialize as _;
use serde_json::{Map, Number, Value};
use serde_yaml::Value as Yaml;

use crate::table::clipped;

/// Brackets of YAML, one in another: the parser allows 128 levels, and counts them when it has read them all.
const BRACKETS_MAX: usize = 1000;

/// Bytes for which the aliases of a file may stand, if each stood for the whole file.
const EXPANDED_BYTES_MAX: usize = 256 << 20;

/// Characters of an error: it may name a key of any length.
const ERROR_CHARS_MAX: usize = 400;

#[derive(Debug)]
pub(super) struct Document {
    /// Its number, and that of the item if it comes from a list.
    pub(super) place: String,
    pub(super) fields: Map<String, Value>,
}

impl Document {
    pub(super) fn text(&self, key: &str) -> &str {
        let value = self.fields.get(key).and_then(Value::as_str);
        value.unwrap_or_default()
    }

    pub(super) fn title(&self) -> String {
        let metadata = |key: &str| self.fields.get("metadata")?.get(key)?.as_str();
        let mut title = self.text("kind").to_owned();
        if let Some(name) = metadata("name") {
            let namespace = metadata("namespace").map(|name| format!("{name}/"));
            title.push(' ');
            title.push_str(&namespace.unwrap_or_default());
            title.push_str(name);
        }
        title
    }
}

/// Reads all documents of a file. The error is for people: where the mistake is.
pub(super) fn read(text: &str) -> Result<Vec<Document>, String> {
    check_cost(text)?;
    let mut documents = Vec::new();
    for (n, part) in serde_yaml::Deserializer::from_str(text).enumerate() {
        let place = format!("document {}", n + 1);
        let mut yaml = Yaml::deserialize(part).map_err(|error| format!("{place}: {error}"))?;
        let merged = yaml.apply_merge();
        merged.map_err(|error| format!("{place}: {error}"))?;
        match json(yaml).map_err(|wrong| format!("{place}: {}", wrong.text()))? {
            Value::Null => {}
            Value::Object(fields) => take_apart(place, fields, &mut documents)?,
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                return Err(format!("{place} is no object with fields"));
            }
        }
    }
    Ok(documents)
}

/// Adds a document, or the items of a list of Kubernetes, as `kubectl get -o yaml` prints it.
fn take_apart(
    place: String,
    mut fields: Map<String, Value>,
    documents: &mut Vec<Document>,
) -> Result<(), String> {
    let kind = fields.get("kind").and_then(Value::as_str);
    let is_list = kind.is_some_and(|kind| kind.ends_with("List"));
    if !is_list || !fields.get("items").is_some_and(Value::is_array) {
        documents.push(Document { place, fields });
        return Ok(());
    }
    let Some(Value::Array(items)) = fields.remove("items") else {
        return Ok(());
    };
    for (n, item) in items.into_iter().enumerate() {
        let place = format!("{place}, items[{n}]");
        let Value::Object(fields) = item else {
            return Err(format!("{place} is no object with fields"));
        };
        documents.push(Document { place, fields });
    }
    Ok(())
}

/// Refuses text of which the parser would make much more than it holds, or at which it would work for minutes: aliases to large
/// nodes, and brackets in brackets.
fn check_cost(text: &str) -> Result<(), String> {
    let (mut depth, mut deepest, mut aliases) = (0_usize, 0, 0_usize);
    let mut before = [b'\n'; 2];
    for byte in text.bytes() {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ if before[1] == b'*' && byte.is_ascii_alphanumeric() => {
                aliases += usize::from(b" \t\n[,:{".contains(&before[0]));
            }
            _ => {}
        }
        deepest = deepest.max(depth);
        before = [before[1], byte];
    }
    if deepest > BRACKETS_MAX {
        return Err(format!(
            "it has more than {BRACKETS_MAX} open brackets one in another"
        ));
    }
    if aliases.saturating_mul(text.len()) > EXPANDED_BYTES_MAX {
        return Err(format!(
            "its {aliases} aliases may stand for more than {} MiB: write them out",
            EXPANDED_BYTES_MAX >> 20
        ));
    }
    Ok(())
}

/// A value that JSON does not have, and the path to it, the last step first.
struct NoJson {
    steps: Vec<String>,
    reason: String,
}

impl NoJson {
    fn new(reason: impl Into<String>) -> Self {
        Self { steps: Vec::new(), reason: reason.into() }
    }

    /// Adds the step from the parent to the path.
    fn within(mut self, step: impl FnOnce() -> String) -> Self {
        self.steps.push(step());
        self
    }

    /// Returns the error with its path, for people.
    fn text(&self) -> String {
        let path: String = self.steps.iter().rev().map(String::as_str).collect();
        let path = path.strip_prefix('.').unwrap_or(&path);
        clipped(&format!("{path} {}", self.reason), ERROR_CHARS_MAX)
    }
}

/// Returns YAML as JSON, which is what Kubernetes knows.
fn json(yaml: Yaml) -> Result<Value, NoJson> {
    match yaml {
        Yaml::Null => Ok(Value::Null),
        Yaml::Bool(switch) => Ok(Value::Bool(switch)),
        Yaml::String(text) => Ok(Value::String(text)),
        Yaml::Number(number) => {
            let whole = number.as_i64().map(Number::from);
            let whole = whole.or_else(|| number.as_u64().map(Number::from));
            let found = whole.or_else(|| number.as_f64().and_then(Number::from_f64));
            let found = found.ok_or_else(|| NoJson::new(format!("is no number of JSON: {number}")));
            found.map(Value::Number)
        }
        Yaml::Sequence(items) => {
            let items = items.into_iter().enumerate();
            let items = items
                .map(|(n, item)| json(item).map_err(|wrong| wrong.within(|| format!("[{n}]"))));
            items.collect::<Result<_, _>>().map(Value::Array)
        }
        Yaml::Mapping(fields) => {
            let mut object = Map::new();
            for (key, value) in fields {
                let Yaml::String(key) = key else {
                    return Err(NoJson::new(format!(
                        "has a key that is no text: put it into quotes: {key:?}"
                    )));
                };
                let value = json(value).map_err(|wrong| wrong.within(|| format!(".{key}")))?;
                object.insert(key, value);
            }
            Ok(Value::Object(object))
        }
        Yaml::Tagged(tagged) => Err(NoJson::new(format!(
            "has the tag {}, which Kubernetes does not know",
            tagged.tag
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_taken_apart() {
        let text = "kind: List\nitems: [{kind: A}, {kind: B, metadata: {name: b, namespace: n}}]\n---\n---\nkind: C\n";
        let titles: Vec<_> = read(text).unwrap().iter().map(Document::title).collect();
        assert_eq!(titles, ["A", "B n/b", "C"]);
    }

    #[test]
    fn a_mistake_is_said_with_its_place() {
        for (text, said) in [
            (
                "a: 1\n---\nb: {c: 1, c: 2}\n",
                "document 2: b: duplicate entry",
            ),
            (
                "a: 1\nb: c: d\n",
                "mapping values are not allowed in this context at line 2 column 5",
            ),
            ("a: {1: x}\n", "a has a key that is no text"),
            ("a: [!secret x]\n", "a[0] has the tag !secret"),
            ("a: .inf\n", "a is no number of JSON"),
            ("- a\n", "document 1 is no object"),
            (
                "kind: List\nitems: [1]\n",
                "document 1, items[0] is no object",
            ),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    /// Aliases that multiply, and nesting without an end.
    #[test]
    fn hostile_yaml_is_refused() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..12 {
            let list = vec![format!("*a{}", n - 1); 9].join(", ");
            bomb.push_str(&format!("a{n}: &a{n} [{list}]\n"));
        }
        assert!(read(&bomb).is_err());
        assert!(read(&"[".repeat(100_000)).is_err());
        assert!(read(&format!("a: {}", "[".repeat(100_000))).is_err());
        let large = format!(
            "q: &a {}\nl: [{}]\n",
            "x".repeat(1 << 20),
            "*a, ".repeat(300)
        );
        assert!(read(&large).unwrap_err().contains("aliases"), "bytes");
        let path = format!("? {}\n: [{}]\n", "k".repeat(1 << 20), "x, ".repeat(200_000));
        assert_eq!(read(&path).unwrap().len(), 1);
    }
}

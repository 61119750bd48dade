//! YAML that every reader takes for the same: kubectl's takes `no`, `on` or `1_000` for a truth value or a number, so that each
//! text which could be one is in quotes.

use serde_json::Value;

/// Words that some reader does not take for a text.
const WORDS: [&str; 10] = [
    "y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan",
];

/// Units behind a number that make a text of it.
const UNITS: [&str; 7] = ["Ki", "Mi", "Gi", "Ti", "m", "h", "s"];

pub(super) fn document(resource: &Value) -> String {
    let mut out = String::new();
    write(&mut out, resource, 0);
    out
}

/// Writes the fields of an object or the items of a list, each on lines of its own.
fn write(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                indent(out, depth);
                out.push_str(&plain_or_quoted(key));
                out.push(':');
                write_after_key(out, value, depth + 1);
            }
        }
        Value::Array(items) => {
            for item in items {
                indent(out, depth);
                out.push('-');
                let start = out.len();
                write_after_key(out, item, depth + 1);
                join(out, start, depth + 1);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            out.push_str(&scalar(value));
        }
    }
}

/// Writes the value after a key or a dash, on the same line or below.
fn write_after_key(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Object(fields) if fields.is_empty() => out.push_str(" {}\n"),
        Value::Array(items) if items.is_empty() => out.push_str(" []\n"),
        Value::Object(_) | Value::Array(_) => {
            out.push('\n');
            write(out, value, depth);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            out.push(' ');
            out.push_str(&scalar(value));
            out.push('\n');
        }
    }
}

/// Joins a dash with the first line of its item.
fn join(out: &mut String, start: usize, depth: usize) {
    if out[start..].starts_with('\n') {
        let first = start + 1 + 2 * depth;
        out.replace_range(start..first, " ");
    }
}

fn indent(out: &mut String, depth: usize) {
    out.extend(std::iter::repeat_n("  ", depth));
}

fn scalar(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), plain_or_quoted)
}

/// Returns the YAML of a text: plain if every reader takes it for a text, else in the quotes of JSON.
fn plain_or_quoted(text: &str) -> String {
    let first = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | '@');
    let known = WORDS.iter().any(|word| text.eq_ignore_ascii_case(word));
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let amount = digits.chars().all(|c| c.is_ascii_digit()) && !digits.starts_with('0');
    let amount = amount && UNITS.contains(&&text[digits.len()..]);
    if amount || first && !known && text.chars().all(inner) {
        text.to_owned()
    } else {
        Value::from(text).to_string()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_and_objects_are_in_block_style() {
        let resource = json!({
            "a": [{"b": 1, "c": {"d": []}}, [2, {"e": "f"}], "g"],
            "h": {},
            "i": {"j/k": true},
        });
        let text = "a:\n  - b: 1\n    c:\n      d: []\n  - - 2\n    - e: f\n  - g\nh: {}\ni:\n  j/k: true\n";
        assert_eq!(document(&resource), text);
        let read: Value = serde_yaml::from_str(text).unwrap();
        assert_eq!(read, resource);
    }

    #[test]
    fn texts_that_could_be_something_else_are_in_quotes() {
        for quoted in [
            "no",
            "On",
            "1_000",
            "0x1f",
            "",
            " a",
            "a: b",
            "*",
            "8e1",
            "08Gi",
            "a\nb",
            "~",
            "12:30",
            "é\u{2028}",
        ] {
            let resource = json!({ "a": quoted });
            let text = document(&resource);
            assert!(text.starts_with("a: \""), "{text}");
            assert_eq!(serde_yaml::from_str::<Value>(&text).unwrap(), resource);
        }
        for plain in [
            "8Gi",
            "200m",
            "orders",
            "etcd.db",
            "/a/b",
            "mail@example.com",
        ] {
            assert_eq!(document(&json!({ "a": plain })), format!("a: {plain}\n"));
        }
    }
}

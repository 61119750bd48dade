//! Values as the schema of our resources has them: amounts, durations, names.

use serde_json::{Value, json};

use super::{fields::Fields, schema::fits};

/// Whether a text is an amount of bytes that the definition takes.
pub(super) fn is_amount(text: &str) -> bool {
    fits("storage.size", text)
}

pub(super) fn amount(fields: &mut Fields, path: &str) -> Option<String> {
    let text = fields.word(path)?;
    if is_amount(&text) {
        return Some(text);
    }
    let reason = format!("{text} is no amount of bytes such as 8Gi");
    fields.refuse(path, reason);
    None
}

pub(super) fn is_name(text: &str) -> bool {
    fits("tls.peer.secretRef.name", text)
}

pub(super) fn is_service_name(text: &str) -> bool {
    fits("services.client.name", text)
}

/// Takes a field that must be a valid name of a Kubernetes object.
pub(super) fn name(fields: &mut Fields, path: &str) -> Option<String> {
    let text = fields.word(path)?;
    if is_name(&text) {
        return Some(text);
    }
    let reason = format!("{text} is no name of an object");
    fields.refuse(path, reason);
    None
}

pub(super) fn reference(name: &str) -> Value {
    json!({"name": name})
}

/// Takes a span of time as Go writes it, with days for etcd-operator: `1h30m`, `365d`.
pub(super) fn seconds(fields: &mut Fields, path: &str) -> Option<u64> {
    let text = fields.word(path)?;
    let read = seconds_of(&text);
    if read.is_none() {
        let reason = format!("{text} is no span of time in whole seconds");
        fields.refuse(path, reason);
    }
    read
}

/// Parses a span such as `1h30m` or `365d`; `None` if it has another form.
fn seconds_of(text: &str) -> Option<u64> {
    let mut seconds = 0_u64;
    let mut number = String::new();
    for c in text.chars() {
        let factor = match c {
            '0'..='9' => {
                number.push(c);
                continue;
            }
            'd' => 86_400,
            'h' => 3600,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        let part: u64 = number.parse().ok()?;
        seconds = seconds.checked_add(part.checked_mul(factor)?)?;
        number.clear();
    }
    (number.is_empty() && !text.is_empty()).then_some(seconds)
}

/// Returns a span of time in the largest unit that it is whole in.
pub(super) fn span(seconds: u64) -> String {
    let units = [(3600, 'h'), (60, 'm')];
    let found = units
        .iter()
        .find(|(length, _)| seconds.is_multiple_of(*length));
    let (length, unit) = found.unwrap_or(&(1, 's'));
    format!("{}{unit}", seconds / length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_those_of_the_schema() {
        for sound in ["8Gi", "1.5Gi", "1024"] {
            assert!(is_amount(sound), "{sound}");
        }
        for wrong in ["", "1.", "1.Gi", "8Ei", "1e9", "-1", "100m"] {
            assert!(!is_amount(wrong), "{wrong}");
        }
    }

    #[test]
    fn spans_are_in_the_largest_unit() {
        for (go, ours) in [
            ("365d", "8760h"),
            ("100d12h", "2412h"),
            ("1h30m", "90m"),
            ("43200s", "12h"),
            ("125s", "125s"),
            ("0s", "0h"),
        ] {
            let seconds = seconds_of(go).unwrap();
            assert_eq!(span(seconds), ours, "{go}");
        }
        for wrong in ["", "5", "1.5h", "500ms", "1w", "h"] {
            assert_eq!(seconds_of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn names() {
        assert!(is_name("a-b.c1") && is_service_name("a-b1"));
        for wrong in ["", "-a", "a-", "A", "a_b"] {
            assert!(!is_name(wrong), "{wrong}");
        }
        for wrong in ["1a", "a.b", &"a".repeat(64)] {
            assert!(!is_service_name(wrong), "{wrong}");
        }
    }
}

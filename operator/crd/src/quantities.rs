//! Values with several notations: quantities of bytes, durations, numbers or percentages, and objects that are passed on
//! unchanged.

use std::{borrow::Cow, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

/// A quantity of bytes in Kubernetes notation: `8Gi`, `500M`, `1024`, `1e10`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ByteQuantity(pub String);

/// The decimal units from 10^-9 to 10^18. Each unit is 1000 times the previous unit.
const DECIMAL_UNITS: [&str; 10] = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];

/// The binary units from 2^10 to 2^60. Each unit is 1024 times the previous unit.
const BINARY_UNITS: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

impl ByteQuantity {
    /// Returns the number of bytes, rounded up; `None` if the text is not a quantity of bytes or the number exceeds `u64`.
    pub fn bytes(&self) -> Option<u64> {
        let text = self.0.strip_prefix('+').unwrap_or(&self.0);
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.');
        let (number, unit) = text.split_at(end.unwrap_or(text.len()));
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let (factor, power) = unit_of(unit)?;
        let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
        let product = digits.checked_mul(u128::from(factor))?;
        let power = power.checked_sub(i32::try_from(fraction.len()).ok()?)?;
        let scale = 10_u128.checked_pow(power.unsigned_abs())?;
        let bytes = match power < 0 {
            true => product.div_ceil(scale),
            false => product.checked_mul(scale)?,
        };
        u64::try_from(bytes).ok()
    }
}

/// Returns the factor and the power of ten of a unit: (1024, 0) for `Ki`, (1, 3) for `k`. A unit can be an exponent, such as
/// `e10`. Returns `None` for an unknown unit.
fn unit_of(unit: &str) -> Option<(u64, i32)> {
    let position = |units: &[&str]| units.iter().position(|known| *known == unit);
    if let Some(at) = position(&BINARY_UNITS) {
        return Some((1 << (10 * (at + 1)), 0));
    }
    let power = match position(&DECIMAL_UNITS) {
        Some(at) => 3 * i32::try_from(at).ok()? - 9,
        None => unit.strip_prefix(['e', 'E'])?.parse().ok()?,
    };
    Some((1, power))
}

impl<'de> Deserialize<'de> for ByteQuantity {
    /// Accepts a string or a number. Does not check the syntax, which the CustomResourceDefinition validates.
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match Value::deserialize(from)? {
            Value::String(text) => Ok(Self(text)),
            Value::Number(number) => Ok(Self(number.to_string())),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => Err(
                serde::de::Error::custom("a quantity must be a string or a number"),
            ),
        }
    }
}

impl JsonSchema for ByteQuantity {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "ByteQuantity".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "maxLength": 32,
            "pattern": r"^[0-9]+(\.[0-9]{1,9})?(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?$",
        })
    }
}

/// Returns the schema of a number or a percentage.
pub(super) fn share_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "x-kubernetes-int-or-string": true,
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "maxLength": 8,
        "pattern": "^[0-9]+%?$",
        "minimum": 0,
        "maximum": 100,
    })
}

/// A duration: `90s`, `5m`, `2160h`, `1h30m`.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
#[schemars(inline)]
pub struct Span(#[schemars(length(max = 16), regex(pattern = "^([0-9]{1,6}[hms])+$"))] pub String);

impl Span {
    /// Parses a string that no schema has checked: whole numbers, each followed by `h`, `m` or `s`. Returns `None` for anything
    /// else, such as days, fractions or signs, and for a span that is too long for a [`Duration`].
    pub fn parse(text: &str) -> Option<Self> {
        let mut digits = 0;
        for c in text.chars() {
            match c {
                '0'..='9' => digits += 1,
                'h' | 'm' | 's' if digits > 0 => digits = 0,
                _ => return None,
            }
        }
        let is_span = digits == 0 && humantime::parse_duration(text).is_ok();
        is_span.then(|| Self(text.to_owned()))
    }

    /// Returns the length of the span; zero for an invalid string, which the schema refuses.
    pub fn duration(&self) -> Duration {
        humantime::parse_duration(&self.0).unwrap_or_default()
    }

    /// Returns the length of the span in seconds.
    pub fn seconds(&self) -> i64 {
        i64::try_from(self.duration().as_secs()).unwrap_or(i64::MAX)
    }
}

/// A Kubernetes object that is passed on unchanged. The API server validates it when the pod is created.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OpenObject(pub Map<String, Value>);

impl JsonSchema for OpenObject {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "OpenObject".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{ByteQuantity, Span};

    #[test]
    fn amounts_of_bytes() {
        let bytes = |text: &str| ByteQuantity(text.to_owned()).bytes();
        assert_eq!(bytes("8Gi"), Some(8 << 30));
        assert_eq!(bytes("1.5Gi"), Some(3 << 29));
        assert_eq!(bytes("500M"), Some(500_000_000));
        assert_eq!(bytes("1024"), Some(1024));
        // The API server writes 1e10 as 10e9.
        assert_eq!(bytes("1e10"), Some(10_000_000_000));
        assert_eq!(bytes("10E+9"), Some(10_000_000_000));
        assert_eq!(bytes("5Ei"), Some(5 << 60));
        assert_eq!(bytes("1E"), Some(1_000_000_000_000_000_000));
        assert_eq!(bytes("1500m"), Some(2));
        assert_eq!(bytes(".5Ki"), Some(512));
        for wrong in ["", "Gi", "1.2.3", "x", "-1", "99999999999999999999P"] {
            assert_eq!(bytes(wrong), None, "{wrong}");
        }
        for wrong in ["1e", "1ee3", "1e99"] {
            assert_eq!(bytes(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn spans_of_time() {
        let span = |text: &str| Span(text.to_owned()).duration();
        assert_eq!(span("2160h"), Duration::from_secs(2160 * 3600));
        assert_eq!(span("1h30m5s"), Duration::from_secs(5405));
        for sound in ["0s", "90s", "1h30m"] {
            assert_eq!(Span::parse(sound), Some(Span(sound.to_owned())));
        }
        for wrong in ["", "24", "7d", "h", "1h30", "-1s", "9999999999999999h"] {
            assert_eq!(Span::parse(wrong), None, "{wrong}");
        }
    }
}

//! Decodes values as Kubernetes objects or as text.
//!
//! The API server stores built-in objects as protobuf after the prefix `k8s\0`, others as JSON, and encrypted objects after
//! `k8s:enc:`. Of a protobuf object, only the kind, namespace and name are read.

use prost::Message as _;
use serde_json::Value;

use super::{
    command::Decode,
    table::{VALUE_CHARS, clipped},
};

const MAGIC: &[u8] = b"k8s\0";
const ENCRYPTED: &[u8] = b"k8s:enc:";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    /// Version and kind, such as `apps/v1 Deployment`.
    pub(super) kind: String,
    /// Namespace and name, such as `prod/web`.
    pub(super) name: String,
}

/// The message `Unknown` of Kubernetes' apimachinery: an encoded object and its kind.
#[derive(Clone, PartialEq, prost::Message)]
struct Unknown {
    #[prost(message, tag = "1")]
    kind: Option<TypeMeta>,
    #[prost(bytes = "vec", tag = "2")]
    object: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct TypeMeta {
    #[prost(string, tag = "1")]
    version: String,
    #[prost(string, tag = "2")]
    kind: String,
}

/// An object of any kind. Only the metadata is decoded.
#[derive(Clone, PartialEq, prost::Message)]
struct Object {
    #[prost(message, tag = "1")]
    metadata: Option<ObjectMeta>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ObjectMeta {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "3")]
    namespace: String,
}

/// Returns the text of a value in a table. If `decode` is `K8s` and the value is an object, returns its kind and name.
/// Otherwise returns the beginning of the value, or `(binary)` if it is not UTF-8.
pub(super) fn shown(value: &[u8], decode: Option<Decode>) -> String {
    if let Some(Decode::K8s) = decode
        && let Some(stored) = stored(value)
    {
        return format!("{} {}", stored.kind, stored.name)
            .trim_end()
            .to_owned();
    }
    match std::str::from_utf8(value) {
        Ok(text) => clipped(text, VALUE_CHARS),
        Err(_) => "(binary)".to_owned(),
    }
}

/// Returns the kind and name of the Kubernetes object in a value; `None` if it is not an object.
pub(super) fn stored(value: &[u8]) -> Option<Stored> {
    if let Some(rest) = value.strip_prefix(MAGIC) {
        return of_protobuf(rest);
    }
    if let Some(rest) = value.strip_prefix(ENCRYPTED) {
        let provider: Vec<_> = rest.split(|byte| *byte == b':').take(3).collect();
        let provider = String::from_utf8_lossy(&provider.join(&b':')).into_owned();
        return Some(Stored { kind: format!("encrypted ({provider})"), name: String::new() });
    }
    let object: Value = serde_json::from_slice(value).ok()?;
    let field = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let metadata = &object["metadata"];
    let version = object["apiVersion"].as_str()?;
    Some(Stored {
        kind: format!("{version} {}", object["kind"].as_str()?),
        name: full(&field(&metadata["namespace"]), &field(&metadata["name"])),
    })
}

/// Decodes an object in protobuf; `None` if it has no metadata or cannot be decoded.
fn of_protobuf(message: &[u8]) -> Option<Stored> {
    let Unknown { kind, object } = Unknown::decode(message).ok()?;
    let (kind, object) = (kind?, Object::decode(&object[..]).ok()?);
    let metadata = object.metadata?;
    Some(Stored {
        kind: format!("{} {}", kind.version, kind.kind),
        name: full(&metadata.namespace, &metadata.name),
    })
}

fn full(namespace: &str, name: &str) -> String {
    if namespace.is_empty() {
        name.to_owned()
    } else {
        format!("{namespace}/{name}")
    }
}

/// Formats a number of bytes, such as `17 B` or `1.5 KiB`.
pub(super) fn bytes(of: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (of as f64, 0);
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.*} {}", usize::from(unit > 0), UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(number: u8, content: &[u8]) -> Vec<u8> {
        let mut all = vec![number << 3 | 2, u8::try_from(content.len()).unwrap()];
        all.extend_from_slice(content);
        all
    }

    #[test]
    fn protobuf_of_the_api_server_is_read() {
        let kind = [message(1, b"apps/v1"), message(2, b"Deployment")].concat();
        // Field 2 is an empty generateName.
        let metadata = [message(1, b"web"), message(2, b""), message(3, b"prod")].concat();
        let unknown = [message(1, &kind), message(2, &message(1, &metadata))].concat();
        let value = [MAGIC, &unknown].concat();
        let expected = Stored {
            kind: "apps/v1 Deployment".to_owned(),
            name: "prod/web".to_owned(),
        };
        assert_eq!(stored(&value), Some(expected));
        for end in 0..value.len() {
            stored(&value[..end]);
        }
    }

    #[test]
    fn other_values_are_read() {
        let json = br#"{"apiVersion":"witan.dev/v1","kind":"EtcdCluster","metadata":{"name":"a"}}"#;
        let k8s = Some(Decode::K8s);
        assert_eq!(shown(json, k8s), "witan.dev/v1 EtcdCluster a");
        assert_eq!(
            shown(b"k8s:enc:aescbc:v1:key1:\xff\x01", k8s),
            "encrypted (aescbc:v1:key1)"
        );
        assert_eq!(shown(b"one\ntwo", k8s), "one\\ntwo");
        assert_eq!(shown(b"\xff", None), "(binary)");
        assert_eq!(
            shown(json, None),
            clipped(std::str::from_utf8(json).unwrap(), VALUE_CHARS)
        );
    }

    #[test]
    fn bytes_have_units() {
        let shown = [0, 1023, 1536, 3 << 30].map(bytes);
        assert_eq!(shown, ["0 B", "1023 B", "1.5 KiB", "3.0 GiB"]);
    }
}

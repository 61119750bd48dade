//! Deliberate differences: the answers that may differ from an etcd release, with the reasons. Every other difference is a bug.

use super::{Era, step::Ask};

/// A deliberate difference.
pub(crate) struct Known {
    /// The etcd release from which Witan differs, or `None` for both.
    pub(crate) era: Option<Era>,
    pub(crate) reason: &'static str,
    /// Returns whether the difference explains Witan's answer and etcd's answer to a request.
    pub(crate) applies: fn(&Ask, &str, &str) -> bool,
}

/// All deliberate differences.
pub(crate) const KNOWN: &[Known] = &[
    Known {
        era: Some(Era::Former),
        reason: "3.4 does not check sort options; 3.7 refuses those that do not exist",
        applies: |ask, ours, _| {
            let range = match ask {
                Ask::Grpc(verb, _) | Ask::Raw(verb, _) => verb == "range",
                Ask::Json(_, path, _) => path == "kv/range",
            };
            range && ours.contains("etcdserver: invalid sort option")
        },
    },
    Known {
        era: None,
        reason: "for bytes that are not a message, the error text is prost's instead of Go's",
        applies: |ask, ours, theirs| {
            matches!(ask, Ask::Raw(..))
                && ours.starts_with("Internal failed to decode Protobuf message: ")
                && theirs.starts_with("Internal grpc: error unmarshalling request: ")
        },
    },
    Known {
        era: None,
        reason: "numbers of more than 64 bits: gogo drops the excess, prost refuses them",
        applies: |ask, ours, _| matches!(ask, Ask::Raw(..)) && ours.ends_with("invalid varint"),
    },
    Known {
        era: None,
        reason: "a group that ends with another field's number: gogo accepts it, prost refuses it",
        applies: |ask, ours, _| {
            matches!(ask, Ask::Raw(..)) && ours.ends_with("unexpected end group tag")
        },
    },
    Known {
        era: Some(Era::Former),
        reason: "3.4's gateway sends errors in chunks, so that a trailer can follow",
        applies: |ask, ours, theirs| {
            matches!(ask, Ask::Json(..)) && theirs.replacen(" chunked ", " ", 1) == ours
        },
    },
    Known {
        era: Some(Era::Former),
        reason: "3.4 checks a transaction's puts before its ranges; 3.7 checks them in order",
        applies: |_, ours, theirs| {
            let of_range = ["future revision", "has been compacted"];
            let of_put = ["key not found", "lease not found"];
            of_range.iter().any(|text| ours.contains(text))
                && of_put.iter().any(|text| theirs.contains(text))
        },
    },
    Known {
        era: Some(Era::Former),
        reason: "in a transaction, 3.4 first checks a put's key; 3.7 first checks its lease",
        applies: |_, ours, theirs| {
            ours.contains("lease not found") && theirs.contains("key not found")
        },
    },
];

/// Returns the reason why these answers may differ, or `None` if they must be equal.
pub(crate) fn reason(era: Era, ask: &Ask, ours: &str, theirs: &str) -> Option<&'static str> {
    KNOWN
        .iter()
        .find(|known| {
            known.era.is_none_or(|only| only == era) && (known.applies)(ask, ours, theirs)
        })
        .map(|known| known.reason)
}

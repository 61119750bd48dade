//! Builds the operation of a write. Pure.

use bytes::Bytes;
use witan_tree::{CompareAndSwap, TreeOperation, WriteMethod};

use super::parse::Params;

/// Builds the tree operation of a write to `path` (cleaned, absolute), whose TTL counts from `now_ns`.
pub fn mutation(write: WriteMethod, path: Bytes, params: Params, now_ns: i64) -> TreeOperation {
    let expires_ns = params.ttl.map(|ttl| expiration(now_ns, ttl));
    let Params { value, prev_value, prev_index, refresh, .. } = params;
    let asked = CompareAndSwap { path, value, expires_ns, refresh, prev_value, prev_index };
    let below = (params.dir, params.recursive);
    TreeOperation::choose(write, params.prev_exist, below, asked)
}

/// Returns when a TTL ends, in Unix nanoseconds; a TTL beyond the range of the clock saturates.
fn expiration(now_ns: i64, ttl_seconds: u64) -> i64 {
    const NANOS_PER_SECOND: i64 = 1_000_000_000;
    let seconds = i64::try_from(ttl_seconds).unwrap_or(i64::MAX);
    now_ns.saturating_add(seconds.saturating_mul(NANOS_PER_SECOND))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::{WaitParameter, params};

    fn chosen(write: WriteMethod, query: &str) -> &'static str {
        let params = params(WaitParameter::Refused, query.as_bytes(), None).unwrap();
        match mutation(write, "/k".into(), params, 0) {
            TreeOperation::Set(_) => "set",
            TreeOperation::Create(c) if c.in_order => "in order",
            TreeOperation::Create(_) => "create",
            TreeOperation::Update(_) => "update",
            TreeOperation::CompareAndSwap(_) => "swap",
            TreeOperation::CompareAndDelete(_) => "delete if",
            TreeOperation::Delete(_) => "delete",
            TreeOperation::Expire(_) => "expire",
        }
    }

    #[test]
    fn verbs_are_selected_as_observed() {
        let table = [
            (WriteMethod::Put, "value=1", "set"),
            (WriteMethod::Put, "prevIndex=0", "set"),
            (
                WriteMethod::Put,
                "prevExist=false&prevValue=x&prevIndex=3",
                "create",
            ),
            (WriteMethod::Put, "prevExist=true", "update"),
            (WriteMethod::Put, "prevExist=true&prevIndex=0", "update"),
            (WriteMethod::Put, "prevExist=true&prevValue=x", "swap"),
            (WriteMethod::Put, "prevIndex=3", "swap"),
            (WriteMethod::Put, "prevValue=x", "swap"),
            (WriteMethod::Post, "prevExist=true&prevIndex=3", "in order"),
            (WriteMethod::Delete, "prevValue=x", "delete if"),
            (
                WriteMethod::Delete,
                "prevIndex=3&prevExist=false",
                "delete if",
            ),
            (
                WriteMethod::Delete,
                "prevExist=false&recursive=true",
                "delete",
            ),
        ];
        for (write, query, expect) in table {
            assert_eq!(chosen(write, query), expect, "{query}");
        }
    }

    #[test]
    fn expirations_saturate() {
        assert_eq!(expiration(5, 0), 5);
        assert_eq!(expiration(5, 2), 2_000_000_005);
        assert_eq!(
            expiration(1_795_149_072_160_305_925, 9_223_372_036),
            i64::MAX
        );
        assert_eq!(expiration(5, u64::MAX), i64::MAX);
    }
}

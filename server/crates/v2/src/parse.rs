//! Parses the parameters of a `/v2/keys` request and builds write operations from them. Validates in etcd's order, so that a
//! request with two errors gets the same error. Pure.

use bytes::Bytes;
use witan_api::v2::error::ErrorCode;
use witan_dialect::form::FormFields;
use witan_gocompat::text::{parse_bool, parse_uint, quote};
use witan_tree::{CompareAndSwap, TreeOperation, WriteMethod};

use super::error::V2Error;

const NAMES: &[&str] = &[
    "prevIndex",
    "waitIndex",
    "recursive",
    "sorted",
    "wait",
    "dir",
    "quorum",
    "stream",
    "prevValue",
    "noValueOnSuccess",
    "ttl",
    "prevExist",
    "refresh",
    "value",
];

/// The validated parameters of a `/v2/keys` request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params {
    /// The new value; empty if it is missing.
    pub value: Bytes,
    /// The expected value; never empty.
    pub(crate) prev_value: Option<Bytes>,
    /// The expected index; never 0.
    pub(crate) prev_index: Option<u64>,
    /// Whether the key must exist.
    pub(crate) prev_exist: Option<bool>,
    /// The TTL in seconds.
    pub(crate) ttl: Option<u64>,
    /// Whether to keep the value and not notify watchers.
    pub(crate) refresh: bool,
    /// Whether the node is a directory.
    pub dir: bool,
    /// Whether the request includes all nodes below the key.
    pub recursive: bool,
    /// Whether the read is linearizable.
    pub(crate) quorum: bool,
    /// Whether the request is a watch.
    pub wait: bool,
    /// Whether a watch streams events instead of returning one.
    pub(crate) stream: bool,
    /// The first index to watch; `None` for the next change.
    pub(crate) wait_index: Option<u64>,
    /// Whether the response to a write contains only its action.
    pub(crate) no_value_on_success: bool,
}

/// Parses a query and an optional form. The form's values and errors take precedence. Refuses `wait` unless `is_get`.
pub fn params(is_get: bool, query: &[u8], form: Option<&[u8]>) -> Result<Params, V2Error> {
    let mut fields = FormFields::new(NAMES);
    let form_result = form.map_or(Ok(()), |form| read(&mut fields, form));
    let query_result = read(&mut fields, query);
    form_result
        .and(query_result)
        .map_err(|text| V2Error::before_store(ErrorCode::InvalidForm, text))?;
    validate(is_get, &fields)
}

/// Parses form-encoded text (a body or a query) into the fields. Fails with Go's error message for a semicolon, or else for the
/// first invalid escape. Parses the other pairs even after an error.
fn read(fields: &mut FormFields, text: &[u8]) -> Result<(), String> {
    let mut fault = None;
    for pair in text.split(|&b| b == b'&') {
        if pair.contains(&b';') {
            fault = Some("invalid semicolon separator in query".to_owned());
        } else if let Err(bad) = fields.insert_pair(pair) {
            fault.get_or_insert(format!("invalid URL escape {}", quote(bad)));
        }
    }
    fault.map_or(Ok(()), Err)
}

/// Converts the fields to parameters. Ignores an empty `ttl`. Refuses `wait` unless `is_get`. Fails with the first error in
/// etcd's order.
fn validate(is_get: bool, fields: &FormFields) -> Result<Params, V2Error> {
    let prev_index = index(fields, "prevIndex")?;
    let wait_index = index(fields, "waitIndex")?;
    let recursive = flag(fields, "recursive")?;
    flag(fields, "sorted")?; // listings are always sorted
    let wait = flag(fields, "wait")?;
    let dir = flag(fields, "dir")?;
    let quorum = flag(fields, "quorum")?;
    let stream = flag(fields, "stream")?;
    if wait && !is_get {
        let cause = "\"wait\" can only be used with GET requests";
        return Err(V2Error::before_store(ErrorCode::InvalidField, cause));
    }
    let prev_value = fields.get("prevValue").cloned();
    if prev_value.as_ref().is_some_and(Bytes::is_empty) {
        return Err(V2Error::before_store(
            ErrorCode::PrevValueRequired,
            "\"prevValue\" cannot be empty",
        ));
    }
    let no_value_on_success = flag(fields, "noValueOnSuccess")?;
    let ttl = match fields.get_nonempty("ttl") {
        Some(text) => Some(parse_uint(text).ok_or_else(|| {
            V2Error::before_store(ErrorCode::TtlNotNumber, "invalid value for \"ttl\"")
        })?),
        None => None,
    };
    let prev_exist = boolean(fields, "prevExist", "")?;
    let value = fields.get("value").cloned().unwrap_or_default();
    let refresh = boolean(fields, "refresh", "")?.unwrap_or(false);
    if refresh && !value.is_empty() {
        let cause = "A value was provided on a refresh";
        return Err(V2Error::before_store(ErrorCode::RefreshValue, cause));
    }
    if refresh && ttl.is_none() {
        return Err(V2Error::before_store(
            ErrorCode::RefreshTtlRequired,
            "No TTL value set",
        ));
    }
    Ok(Params {
        value,
        prev_value,
        prev_index,
        prev_exist,
        ttl,
        refresh,
        dir,
        recursive,
        quorum,
        wait,
        stream,
        wait_index,
        no_value_on_success,
    })
}

/// Parses an index. Returns `None` if the index is 0 or missing. Fails with `IndexNotNumber` if the value is not a decimal
/// number in range.
fn index(fields: &FormFields, name: &str) -> Result<Option<u64>, V2Error> {
    let Some(text) = fields.get(name) else {
        return Ok(None);
    };
    match parse_uint(text) {
        Some(0) => Ok(None),
        Some(number) => Ok(Some(number)),
        None => {
            let cause = format!("invalid value for \"{name}\"");
            Err(V2Error::before_store(ErrorCode::IndexNotNumber, cause))
        }
    }
}

/// Parses a boolean. Returns false if the field is missing. Fails with `InvalidField` if the value is invalid.
fn flag(fields: &FormFields, name: &str) -> Result<bool, V2Error> {
    Ok(boolean(fields, name, "\"")?.unwrap_or(false))
}

/// Parses a boolean like Go's `ParseBool`. Returns `None` if the field is missing. As in etcd, an error puts `mark` around the
/// name.
fn boolean(fields: &FormFields, name: &str, mark: &str) -> Result<Option<bool>, V2Error> {
    let Some(text) = fields.get(name) else {
        return Ok(None);
    };
    let parsed = std::str::from_utf8(text).ok().and_then(parse_bool);
    parsed.map(Some).ok_or_else(|| {
        let cause = format!("invalid value for {mark}{name}{mark}");
        V2Error::before_store(ErrorCode::InvalidField, cause)
    })
}

/// Builds the tree operation for a write to `path` (cleaned, absolute). The TTL is counted from `now_ns`.
pub fn mutation(write: WriteMethod, path: Bytes, params: Params, now_ns: i64) -> TreeOperation {
    let expires_ns = params.ttl.map(|ttl| expiration(now_ns, ttl));
    let Params { value, prev_value, prev_index, refresh, .. } = params;
    let swap = CompareAndSwap { path, value, expires_ns, refresh, prev_value, prev_index };
    let below = (params.dir, params.recursive);
    TreeOperation::choose(write, params.prev_exist, below, swap)
}

/// Returns the end of a TTL in Unix nanoseconds, at most `i64::MAX`.
fn expiration(now_ns: i64, ttl_seconds: u64) -> i64 {
    const NANOS_PER_SECOND: i64 = 1_000_000_000;
    let seconds = i64::try_from(ttl_seconds).unwrap_or(i64::MAX);
    now_ns.saturating_add(seconds.saturating_mul(NANOS_PER_SECOND))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_values_are_accepted() {
        let query = b"prevIndex=0&waitIndex=0&wait=t&ttl=&recursive=1&prevExist=FALSE&unknown=%41";
        let read = params(true, query, None).unwrap();
        let expect = Params {
            wait: true,
            recursive: true,
            prev_exist: Some(false),
            ..Params::default()
        };
        assert_eq!(read, expect);
    }

    #[test]
    fn form_values_take_precedence_over_the_query() {
        let read = params(false, b"value=q&ttl=5", Some(b"value=&dir=T")).unwrap();
        let expect = Params { ttl: Some(5), dir: true, ..Params::default() };
        assert_eq!(read, expect);
    }

    #[test]
    fn an_invalid_form_is_reported_before_an_invalid_query() {
        let error = params(false, b"a;b", Some(b"%x")).unwrap_err();
        assert_eq!(error.cause.concat(), *b"invalid URL escape \"%x\"");
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

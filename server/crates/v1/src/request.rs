//! Parses a v1 request from its method, path, query and form. Pure.

use bytes::Bytes;
use witan_api::v1::{self, error::ErrorCode};
use witan_dialect::form::FormFields;
use witan_gocompat::{path, text::parse_uint};

use super::error::V1Error;

/// The form fields that v1 knows.
const FIELDS: &[&str] = &["value", "ttl", "prevValue", "index"];

/// A parsed request. Keys are absolute and clean paths.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the other names suffice")]
pub enum V1Request {
    /// Reads a file or a directory.
    Get {
        key: Bytes,
    },
    Put(V1Put),
    Delete {
        key: Bytes,
    },
    /// Waits for a change at or below a key.
    Watch {
        key: Bytes,
        /// The first index to watch; `None` for the next change.
        from: Option<u64>,
    },
    /// Reads the members' records, which look like files.
    MachineRecords {
        /// A member's name; `None` for all members.
        name: Option<Bytes>,
    },
    Leader,
    /// Reads the client URLs of the members.
    Machines,
    Stats(V1Stats),
}

/// A write of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct V1Put {
    /// The key.
    pub key: Bytes,
    /// The new value; never empty.
    pub(crate) value: Bytes,
    /// TTL in seconds; 0 or less removes the key, unless `prev_value` is empty.
    pub(crate) ttl: Option<i64>,
    /// The expected previous value. If this value is empty, the key must not exist.
    pub(crate) prev_value: Option<Bytes>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names suffice")]
pub enum V1Stats {
    Member,
    Leader,
    Store,
}

/// The reason why parsing refuses a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum V1RequestError {
    /// v1 has no such path.
    Path,
    /// The path does not serve the method.
    Method,
    /// The request violates a rule of the dialect.
    Rule(V1Error),
}

/// Returns the cleaned key after `prefix`, without a trailing slash except for the root. Returns `None` if `path` is neither
/// `prefix` nor below it.
fn below(path: &[u8], prefix: &str) -> Option<Bytes> {
    let rest = path.strip_prefix(prefix.as_bytes())?;
    if !rest.is_empty() && !rest.starts_with(b"/") {
        return None;
    }
    let mut key = path::clean(rest);
    if key.len() > 1 && key.ends_with(b"/") {
        key.pop();
    }
    Some(key.into())
}

/// Parses a request. `path` is decoded and cleaned. `form` is the body, if the body is a form. The paths of the leader,
/// machines and statistics accept every method.
pub fn parse(
    method: &str,
    path: &[u8],
    query: &[u8],
    form: Option<&[u8]>,
) -> Result<V1Request, V1RequestError> {
    match path {
        b"/v1/leader" | b"/leader" => return Ok(V1Request::Leader),
        b"/v1/machines" | b"/machines" => return Ok(V1Request::Machines),
        b"/v1/stats/self" => return Ok(V1Request::Stats(V1Stats::Member)),
        b"/v1/stats/leader" => return Ok(V1Request::Stats(V1Stats::Leader)),
        b"/v1/stats/store" => return Ok(V1Request::Stats(V1Stats::Store)),
        _ => {}
    }
    let fields = fields(form, query);
    if let Some(key) = below(path, v1::KEYS) {
        return match method {
            "GET" => Ok(read(key)),
            "PUT" | "POST" => put(key, &fields)
                .map(V1Request::Put)
                .map_err(V1RequestError::Rule),
            "DELETE" if is_keyword(&key) => Err(rule(ErrorCode::Keyword, "Delete")),
            "DELETE" => Ok(V1Request::Delete { key }),
            _ => Err(V1RequestError::Method),
        };
    }
    let key = below(path, v1::WATCH).ok_or(V1RequestError::Path)?;
    match method {
        "GET" => Ok(V1Request::Watch { key, from: None }),
        "POST" => {
            let from = fields.get("index").and_then(|text| parse_uint(text));
            let from = from.ok_or_else(|| rule(ErrorCode::IndexNotNumber, "Watch From Index"))?;
            let from = (from != 0).then_some(from);
            Ok(V1Request::Watch { key, from })
        }
        _ => Err(V1RequestError::Method),
    }
}

/// Parses a form body, if any, and a query. The body takes precedence over the query, and the first value of a field over later
/// values. As in old versions of Go, `;` also separates pairs, and pairs with invalid escapes are ignored.
fn fields(form: Option<&[u8]>, query: &[u8]) -> FormFields {
    let mut fields = FormFields::new(FIELDS);
    for text in form.into_iter().chain([query]) {
        for pair in text.split(|byte| matches!(byte, b'&' | b';')) {
            let _ = fields.insert_pair(pair);
        }
    }
    fields
}

fn rule(code: ErrorCode, cause: &'static str) -> V1RequestError {
    V1RequestError::Rule(V1Error::new(code, cause))
}

/// Builds the request for a GET of a key. `MACHINE_RECORDS` and keys one level below it select members' records.
fn read(key: Bytes) -> V1Request {
    let Some(rest) = key.strip_prefix(v1::MACHINE_RECORDS.as_bytes()) else {
        return V1Request::Get { key };
    };
    match rest {
        [] => V1Request::MachineRecords { name: None },
        [b'/', name @ ..] if !name.contains(&b'/') => {
            let name = Some(key.slice_ref(name));
            V1Request::MachineRecords { name }
        }
        _ => V1Request::Get { key },
    }
}

/// Checks that the key of a write is not a keyword, and validates its value and its TTL, in this order. Ignores an empty TTL.
/// Returns the write or the first error.
fn put(key: Bytes, fields: &FormFields) -> Result<V1Put, V1Error> {
    let refuse = |code| V1Error::new(code, "Set");
    if is_keyword(&key) {
        return Err(refuse(ErrorCode::Keyword));
    }
    let value = fields.get_nonempty("value");
    let value = value.ok_or_else(|| refuse(ErrorCode::ValueRequired))?;
    let ttl = fields.get_nonempty("ttl").map(|text| number(text));
    let ttl = ttl.map(|ttl| ttl.ok_or_else(|| refuse(ErrorCode::TtlNotNumber)));
    Ok(V1Put {
        key,
        value: value.clone(),
        ttl: ttl.transpose()?,
        prev_value: fields.get("prevValue").cloned(),
    })
}

/// Returns whether a key's first segment is one of `KEYWORDS`, which are read-only.
fn is_keyword(key: &[u8]) -> bool {
    let first = key.split(|byte| *byte == b'/').nth(1).unwrap_or_default();
    v1::KEYWORDS.iter().any(|word| word.as_bytes() == first)
}

/// Parses a decimal number with an optional sign; `None` for any other text.
fn number(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each line contains a method, a path, a form (`-` for none) and the resulting request.
    const REQUESTS: &str = r#"
        GET /v1/keys - get /
        GET /v1/keys/ - get /
        GET /v1/keys/a/b/ - get /a/b
        GET /v1/keys/_etcd/x - get /_etcd/x
        GET /v1/keys/_etcd/machines - members
        GET /v1/keys/_etcd/machines/n - member n
        GET /v1/keys/_etcd/machinesx - get /_etcd/machinesx
        GET /v1/keys/_etcd/machines/n/x - get /_etcd/machines/n/x
        POST /v1/keys/a value=1 put /a 1 None None
        PUT /v1/keys/a value=1&ttl=5 put /a 1 Some(5) None
        PUT /v1/keys/a value=1&ttl= put /a 1 None None
        PUT /v1/keys/a value=1&ttl=-3 put /a 1 Some(-3) None
        POST /v1/keys/a value=1&prevValue=x put /a 1 None Some(b"x")
        POST /v1/keys/a value=1&prevValue= put /a 1 None Some(b"")
        POST /v1/keys/_etcdx value=1 put /_etcdx 1 None None
        DELETE /v1/keys/a - delete /a
        GET /v1/watch/a index=9 watch /a None
        POST /v1/watch/a index=9 watch /a Some(9)
        POST /v1/watch/a index=0 watch /a None
        GET /v1/watch - watch / None
        GET /v1/leader - leader
        GET /leader - leader
        GET /v1/machines - machines
        GET /machines - machines
        GET /v1/stats/self - stats Member
        GET /v1/stats/leader - stats Leader
        GET /v1/stats/store - stats Store
        POST /v1/keys/_etcd - 400 Set
        POST /v1/keys/_etcd/a value=1&ttl=x 400 Set
        PUT /v1/keys/ephemeralNodes/a value=1 400 Set
        DELETE /v1/keys/_etcd/machines - 400 Delete
        POST /v1/keys/a - 200 Set
        POST /v1/keys/a value=&ttl=x 200 Set
        POST /v1/keys/a value=%zz 200 Set
        POST /v1/keys/a value=1&ttl=x 202 Set
        POST /v1/keys/a value=1&ttl=1.5 202 Set
        POST /v1/watch/a - 203 Watch From Index
        POST /v1/watch/a index=-1 203 Watch From Index
        HEAD /v1/keys/a - no method
        PUT /v1/watch/a index=1 no method
        GET /v1/keysx - no path
        GET /v1 - no path
        GET /v1/stats - no path
        GET /v1/leader/ - no path
    "#;

    /// Describes a request or an error as in [`REQUESTS`].
    fn described(parsed: &Result<V1Request, V1RequestError>) -> String {
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        match parsed {
            Ok(V1Request::Get { key }) => format!("get {}", text(key)),
            Ok(V1Request::Delete { key }) => format!("delete {}", text(key)),
            Ok(V1Request::Watch { key, from }) => format!("watch {} {from:?}", text(key)),
            Ok(V1Request::MachineRecords { name: None }) => "members".into(),
            Ok(V1Request::MachineRecords { name: Some(name) }) => format!("member {}", text(name)),
            Ok(V1Request::Leader) => "leader".into(),
            Ok(V1Request::Machines) => "machines".into(),
            Ok(V1Request::Stats(stats)) => format!("stats {stats:?}"),
            Ok(V1Request::Put(put)) => {
                let (key, value) = (text(&put.key), text(&put.value));
                format!("put {key} {value} {:?} {:?}", put.ttl, put.prev_value)
            }
            Err(V1RequestError::Path) => "no path".into(),
            Err(V1RequestError::Method) => "no method".into(),
            Err(V1RequestError::Rule(error)) => {
                format!(
                    "{} {}",
                    error.code.code(),
                    text(&error.cause.concat().into())
                )
            }
        }
    }

    #[test]
    fn requests_are_read_and_refused_in_order() {
        let lines = REQUESTS.lines().map(str::trim);
        for line in lines.filter(|line| !line.is_empty()) {
            let words: Vec<&str> = line.splitn(4, ' ').collect();
            let form = if words[2] == "-" { "" } else { words[2] };
            let parsed = parse(words[0], words[1].as_bytes(), b"", Some(form.as_bytes()));
            assert_eq!(described(&parsed), words[3], "{line}");
        }
    }

    #[test]
    fn the_body_takes_precedence_and_the_first_value_applies() {
        let body = Some(&b"value=a+b%26&value=z;ttl=%zz&prevValue"[..]);
        let fields = fields(body, b"value=q&ttl=5&Index=1");
        let values = FIELDS
            .iter()
            .map(|name| fields.get(name).map(Bytes::as_ref));
        let expect: [Option<&[u8]>; 4] = [Some(b"a b&"), Some(b"5"), Some(b""), None];
        assert_eq!(values.collect::<Vec<_>>(), expect);
        assert_eq!(fields.get_nonempty("prevValue"), None);
    }

    #[test]
    fn a_query_is_parsed_like_a_form() {
        let parsed = parse("PUT", b"/v1/keys/a", b"value=q&ttl=1", Some(b"value=b"));
        assert_eq!(described(&parsed), "put /a b Some(1) None");
        let parsed = parse("POST", b"/v1/watch/a", b"index=3", None);
        assert_eq!(described(&parsed), "watch /a Some(3)");
    }
}

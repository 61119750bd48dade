//! Parses the body of a membership change, `{"peerURLs":[…]}`, with the error messages of etcd's decoder.

use actix_web::{HttpRequest, http::StatusCode, web};
use serde_json::Value;
use witan_api::v2::members::{MEDIA_TYPE, NO_URLS};
use witan_dialect::{
    blocking::INLINE_BYTES,
    reply::{self, BodyError},
};
use witan_gocompat::json;
use witan_machine::limits::LONG_TEXT_BYTES_MAX;

use super::{MembersHttpError, peer_url};

const FIELD: &str = "peerURLs";

/// Reads the body and returns its validated, sorted peer URLs. Fails with 415 if the media type is not JSON. Fails with 400 if
/// the body exceeds `INLINE_BYTES` or contains no URL, an invalid URL, or more than `LONG_TEXT_BYTES_MAX` bytes of URLs.
pub(super) async fn peer_urls(
    request: &HttpRequest,
    payload: &mut web::Payload,
) -> Result<Vec<String>, MembersHttpError> {
    check_media_type(&reply::content_type(request))?;
    let body = match reply::read(payload, INLINE_BYTES).await {
        Ok(body) => body,
        Err(BodyError::TooLarge) => return Err(bad("http: request body too large".into())),
        Err(BodyError::Disconnected) => return Err(bad("unexpected EOF".into())),
    };
    let mut urls = decode(&body).map_err(bad)?;
    if urls.is_empty() {
        return Err(bad(NO_URLS.into()));
    }
    for url in &mut urls {
        *url = peer_url::peer_url(url).map_err(bad)?;
    }
    if urls.iter().map(String::len).sum::<usize>() > LONG_TEXT_BYTES_MAX {
        return Err(bad("the URLs are too long".into()));
    }
    urls.sort_unstable();
    Ok(urls)
}

/// Creates an error with status 400.
fn bad(message: String) -> MembersHttpError {
    MembersHttpError(StatusCode::BAD_REQUEST, message)
}

/// Fails with 415 if a media type is not JSON. As in etcd, ignores case only if parameters follow the type.
fn check_media_type(given: &str) -> Result<(), MembersHttpError> {
    let media_type = match given.split_once(';') {
        Some((media_type, _)) => media_type.trim().to_ascii_lowercase(),
        None => given.to_owned(),
    };
    if media_type == MEDIA_TYPE {
        return Ok(());
    }
    let message = format!("Bad Content-Type {media_type}, accept {MEDIA_TYPE}");
    Err(MembersHttpError(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        message,
    ))
}

/// Parses `peerURLs`, case-insensitively, from a JSON body. An absent field is an empty list. Fails with Go's message.
pub fn decode(body: &[u8]) -> Result<Vec<String>, String> {
    json::check(body)?;
    let text = String::from_utf8_lossy(body);
    let value: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    let fields = match value {
        Value::Object(fields) => fields,
        Value::Null => return Ok(Vec::new()),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            let into = r#"Go value of type struct { PeerURLs []string "json:\"peerURLs\"" }"#;
            return Err(format!(
                "json: cannot unmarshal {} into {into}",
                kind(&value)
            ));
        }
    };
    let mut urls = Vec::new();
    for (name, value) in fields {
        if name.eq_ignore_ascii_case(FIELD) {
            urls = strings(value)?;
        }
    }
    Ok(urls)
}

/// Converts a JSON value to a list of strings as Go does. `null` is an empty list, and a `null` element is an empty string.
fn strings(value: Value) -> Result<Vec<String>, String> {
    let mismatch = |value: &Value, wanted: &str| {
        let kind = kind(value);
        format!("json: cannot unmarshal {kind} into Go struct field .{FIELD} of type {wanted}")
    };
    let items = match value {
        Value::Array(items) => items,
        Value::Null => return Ok(Vec::new()),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            return Err(mismatch(&value, "[]string"));
        }
    };
    let string = |item: Value| match item {
        Value::String(text) => Ok(text),
        Value::Null => Ok(String::new()),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Err(mismatch(&item, "string"))
        }
    };
    items.into_iter().map(string).collect()
}

/// Returns Go's name for a kind of JSON value.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cases for which no response of etcd is recorded. `tests/e2e/tests/pairs` sends the recorded cases.
    #[test]
    fn type_mismatches_have_etcds_messages() {
        let whole = r#"Go value of type struct { PeerURLs []string "json:\"peerURLs\"" }"#;
        let table = [
            (
                r#"{"peerURLs":1}"#,
                "number into Go struct field .peerURLs of type []string".into(),
            ),
            (
                r#"{"peerURLs":[1]}"#,
                "number into Go struct field .peerURLs of type string".into(),
            ),
            (
                r#"{"peerURLs":true}"#,
                "bool into Go struct field .peerURLs of type []string".into(),
            ),
            (
                r#"{"peerURLs":{}}"#,
                "object into Go struct field .peerURLs of type []string".into(),
            ),
            ("[]", format!("array into {whole}")),
            (r#""x""#, format!("string into {whole}")),
            ("5", format!("number into {whole}")),
            ("true", format!("bool into {whole}")),
        ];
        for (body, expect) in table {
            assert_eq!(
                decode(body.as_bytes()),
                Err(format!("json: cannot unmarshal {expect}"))
            );
        }
    }

    #[test]
    fn urls_are_found() {
        let table: [(&str, &[&str]); 6] = [
            (r#"{"peerURLs":["a","b"],"name":5}"#, &["a", "b"]),
            (r#"{"peerurls":["a"]}"#, &["a"]),
            (r#"{"peerURLs":[null]}"#, &[""]),
            (r#"{"peerURLs":null}"#, &[]),
            ("null", &[]),
            ("{}", &[]),
        ];
        for (body, expect) in table {
            assert_eq!(decode(body.as_bytes()).unwrap(), expect, "{body}");
        }
    }

    /// Cases for which no response of etcd is recorded.
    #[test]
    fn media_types_are_checked_as_in_etcd() {
        assert_eq!(check_media_type("application/json"), Ok(()));
        assert_eq!(check_media_type("Application/JSON ; charset=utf-8"), Ok(()));
        let text = "Bad Content-Type Application/json, accept application/json".into();
        let refusal = MembersHttpError(StatusCode::UNSUPPORTED_MEDIA_TYPE, text);
        assert_eq!(check_media_type("Application/json"), Err(refusal));
    }
}

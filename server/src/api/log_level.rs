//! `/config/local/log` sets the log level at run time, with the level names of etcd 2.2 to 3.4.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::Value;
use tracing::level_filters::LevelFilter;
use witan_dialect::{Context, blocking::INLINE_BYTES, reply};

const FIELD: &str = "Level";
/// Error for a body that is not a JSON object with a string as level.
const NO_JSON: &str = "Invalid json body";
/// The error for an unknown level begins with this text and ends with the level.
const NO_LEVEL: &str = "Invalid log level ";

/// Sets the log level to the level in the body of an authorized PUT. Responds with 204, with 400 for an invalid body, or with
/// 405 for another method.
pub(crate) async fn handle(
    ctx: &Context,
    request: &HttpRequest,
    payload: &mut web::Payload,
) -> HttpResponse {
    if !reply::allows(request, "PUT") {
        return reply::method_not_allowed(Some("PUT"));
    }
    let body = reply::read(payload, INLINE_BYTES).await;
    let level = body.map_err(|_| NO_JSON.to_owned());
    match level.and_then(|body| requested_level(&body)) {
        Ok(level) => {
            // The level is part of the message, because the JSON of the line already has a field `level`.
            tracing::info!("set the log level to {level}");
            ctx.log_level.set(level);
            HttpResponse::NoContent().finish()
        }
        Err(message) => reply::error_message(HttpResponse::BadRequest(), message),
    }
}

/// Parses the level in the first JSON value of a body. The field name and the level are not case-sensitive. Fails with the
/// message for the response.
fn requested_level(body: &[u8]) -> Result<LevelFilter, String> {
    let text = String::from_utf8_lossy(body);
    let mut values = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
    let fields = match values.next() {
        Some(Ok(Value::Object(fields))) => fields,
        Some(Ok(Value::Null)) => serde_json::Map::new(),
        Some(Ok(_) | Err(_)) | None => return Err(NO_JSON.into()),
    };
    let mut name = String::new();
    for (_, value) in fields
        .into_iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case(FIELD))
    {
        match value {
            Value::String(text) => name = text,
            Value::Null => {}
            Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                return Err(NO_JSON.into());
            }
        }
    }
    match name.to_ascii_uppercase().as_str() {
        "CRITICAL" | "C" | "ERROR" | "0" | "E" => Ok(LevelFilter::ERROR),
        "WARNING" | "1" | "W" => Ok(LevelFilter::WARN),
        "NOTICE" | "2" | "N" | "INFO" | "3" | "I" => Ok(LevelFilter::INFO),
        "DEBUG" | "4" | "D" | "TRACE" | "5" | "T" => Ok(LevelFilter::DEBUG),
        _ => Err(format!("{NO_LEVEL}{name}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_parsed_as_in_etcd() {
        let table = [
            (r#"{"Level":"DEBUG"}"#, Ok(LevelFilter::DEBUG)),
            (r#"{"level":"notice"}"#, Ok(LevelFilter::INFO)),
            (r#"{"Level":"w"}"#, Ok(LevelFilter::WARN)),
            (r#"{"Level":"0"}"#, Ok(LevelFilter::ERROR)),
            (r#"{"Level":"info"} x"#, Ok(LevelFilter::INFO)),
            (r#"{"Level":"warn"}"#, Err("Invalid log level warn")),
            (r#"{"Level":null}"#, Err("Invalid log level ")),
            ("{}", Err("Invalid log level ")),
            ("null", Err("Invalid log level ")),
            (r#"{"Level":5}"#, Err(NO_JSON)),
            ("[]", Err(NO_JSON)),
            ("", Err(NO_JSON)),
        ];
        for (body, expect) in table {
            let expect = expect.map_err(str::to_owned);
            assert_eq!(requested_level(body.as_bytes()), expect, "{body}");
        }
    }
}

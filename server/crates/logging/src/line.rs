//! Formats log lines.

use std::{
    fmt::{self, Write as _},
    time::SystemTime,
};

use jiff::Timestamp;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::layer::{Context, Layer};
use witan_config::LogFormat;

use super::output::Outputs;

/// Writes one line per event to all outputs.
pub(super) struct LogFormatter {
    pub(super) format: LogFormat,
    pub(super) outputs: Outputs,
}

impl<S: Subscriber> Layer<S> for LogFormatter {
    /// Formats an event and writes the line to all outputs.
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = EventFields {
            format: self.format,
            message: String::new(),
            rest: String::new(),
        };
        event.record(&mut fields);
        let meta = event.metadata();
        let (time, caller) = (
            timestamp(SystemTime::now()),
            SourceLocation(meta.file(), meta.line()),
        );
        let mut line = String::with_capacity(128 + fields.message.len() + fields.rest.len());
        let written = match self.format {
            LogFormat::Json => {
                let level = json_level(*meta.level());
                let message = JsonString(&fields.message);
                let rest = &fields.rest;
                writeln!(
                    line,
                    r#"{{"level":"{level}","ts":"{time}","caller":"{caller}","msg":{message}{rest}}}"#
                )
            }
            LogFormat::Console => {
                writeln!(
                    line,
                    "{time} {:>5} {}{}",
                    meta.level(),
                    fields.message,
                    fields.rest
                )
            }
        };
        written.expect("writing to a String cannot fail");
        self.outputs.write(&line);
    }
}

/// Formats a time as RFC 3339 in UTC with microseconds, such as `2026-11-20T09:31:05.656258Z`. Formats a time out of range as
/// the Unix epoch.
pub(super) fn timestamp(time: SystemTime) -> String {
    let time = Timestamp::try_from(time).unwrap_or_default();
    format!("{time:.6}")
}

/// Returns the level's name in etcd's logger, which has no level below `debug`.
fn json_level(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG | Level::TRACE => "debug",
    }
}

/// A source location, shortened to directory, file and line as in zap.
struct SourceLocation<'a>(Option<&'a str>, Option<u32>);

impl fmt::Display for SourceLocation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = self.0.unwrap_or("unknown").rsplit('/');
        let file = parts.next().unwrap_or_default();
        // Skip `src`: the crate's directory is more informative.
        if let Some(folder) = parts.find(|part| *part != "src") {
            write!(f, "{folder}/")?;
        }
        write!(f, "{file}:{}", self.1.unwrap_or(0))
    }
}

struct JsonString<'a>(&'a str);

impl fmt::Display for JsonString<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self.0).map_err(|_| fmt::Error)?)
    }
}

/// Collects an event's message and its formatted fields.
struct EventFields {
    format: LogFormat,
    message: String,
    rest: String,
}

/// Returns whether a console field with this character is quoted. A terminal executes control characters, which clients can
/// send.
fn needs_quotes(c: char) -> bool {
    matches!(c, ' ' | '"') || c.is_control()
}

impl EventFields {
    /// Appends the field `message` to the message, or adds another field. In JSON, always quotes the value; on the console,
    /// only if a character needs quotes.
    fn text(&mut self, field: &Field, text: &str) {
        match (field.name(), self.format) {
            ("message", _) => self.message.push_str(text),
            (_, LogFormat::Json) => self.plain(field, &JsonString(text)),
            (_, LogFormat::Console) if text.contains(needs_quotes) => {
                self.plain(field, &JsonString(text));
            }
            (_, LogFormat::Console) => self.plain(field, &text),
        }
    }

    /// Adds a field with an already formatted value.
    fn plain(&mut self, field: &Field, value: &dyn fmt::Display) {
        let name = field.name();
        match self.format {
            LogFormat::Json => write!(self.rest, ",{}:{value}", JsonString(name)),
            LogFormat::Console => write!(self.rest, " {name}={value}"),
        }
        .expect("writing to a String cannot fail");
    }
}

impl Visit for EventFields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.plain(field, &value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.plain(field, &value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.plain(field, &value);
    }

    /// Adds the number. JSON has no infinity and no NaN, so these are added as text.
    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.plain(field, &value)
        } else {
            self.text(field, &value.to_string())
        }
    }
}

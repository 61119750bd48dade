//! What a log line looks like.

use std::{
    fmt::{self, Write as _},
    time::{SystemTime, UNIX_EPOCH},
};

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::layer::{Context, Layer};

use super::output::Outputs;
use crate::config::LogFormat;

/// Writes one line per event.
pub(super) struct Lines {
    format: LogFormat,
    outputs: Outputs,
}

impl Lines {
    pub(super) fn new(format: LogFormat, outputs: Outputs) -> Self {
        Self { format, outputs }
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields {
            format: self.format,
            message: String::new(),
            rest: String::new(),
        };
        event.record(&mut fields);
        let meta = event.metadata();
        let (time, caller) = (
            timestamp(SystemTime::now()),
            Caller(meta.file(), meta.line()),
        );
        let mut line = String::with_capacity(128 + fields.message.len() + fields.rest.len());
        let written = match self.format {
            LogFormat::Json => {
                let level = json_level(*meta.level());
                let message = Json(&fields.message);
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

fn json_level(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG | Level::TRACE => "debug",
    }
}

/// Folder and file of a source line, as zap shortens them.
struct Caller<'a>(Option<&'a str>, Option<u32>);

impl fmt::Display for Caller<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.0.unwrap_or("unknown");
        let short = match file.rmatch_indices('/').nth(1) {
            Some((slash, _)) => &file[slash + 1..],
            None => file,
        };
        write!(f, "{short}:{}", self.1.unwrap_or(0))
    }
}

/// A text as JSON has it.
struct Json<'a>(&'a str);

impl fmt::Display for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self.0).map_err(|_| fmt::Error)?)
    }
}

/// Collects an event's message and the rest of its fields, already written out.
struct Fields {
    format: LogFormat,
    message: String,
    rest: String,
}

impl Fields {
    fn text(&mut self, field: &Field, text: &str) {
        match (field.name(), self.format) {
            ("message", _) => self.message.push_str(text),
            (_, LogFormat::Json) => self.plain(field, &Json(text)),
            (_, LogFormat::Console) if text.contains([' ', '"', '\n']) => {
                self.plain(field, &Json(text));
            }
            (_, LogFormat::Console) => self.plain(field, &text),
        }
    }

    fn plain(&mut self, field: &Field, value: &dyn fmt::Display) {
        let name = field.name();
        match self.format {
            LogFormat::Json => write!(self.rest, ",{}:{value}", Json(name)),
            LogFormat::Console => write!(self.rest, " {name}={value}"),
        }
        .expect("writing to a String cannot fail");
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.text(field, &value.to_string());
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

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no infinity
        if value.is_finite() {
            self.plain(field, &value)
        } else {
            self.text(field, &value.to_string())
        }
    }
}

/// `2026-11-20T09:31:05.656258Z`.
pub(super) fn timestamp(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (seconds, micros) = (since.as_secs(), since.subsec_micros());
    let (year, month, day) = date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

/// The date of a day since 1970, by counting 400-year cycles from 1 March of year 0.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (cycle, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next_year) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    (cycle * 400 + year + next_year, month, day)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn timestamps() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_399, "2000-02-28T23:59:59.000000Z"),
            (951_782_400, "2000-02-29T00:00:00.000000Z"),
            (1_795_167_065, "2026-11-20T09:31:05.000000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000000Z"),
        ] {
            assert_eq!(timestamp(UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
    }
}

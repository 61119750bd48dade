//! Logs to standard error, as JSON or as text. The fields `namespace`, `cluster` and `member` name the subject of a line.

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

/// Log format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// One JSON object per line.
    Json,
    /// Human-readable text.
    Text,
}

/// Starts logging at `level`, which can be a filter. Fails if `level` is invalid or logging has already started.
pub(crate) fn start(level: &str, format: LogFormat) -> Result<(), String> {
    // Hide the six lines that actix logs when the HTTP server starts.
    let filter = EnvFilter::try_new(format!("actix_server=warn,{level}"));
    let filter = filter.map_err(|error| format!("--log-level {level}: {error}"))?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .try_init(),
        LogFormat::Text => lines.try_init(),
    };
    started.map_err(|error| error.to_string())
}

//! Log output: JSON lines with the keys of etcd's logger (zap), or readable lines on a terminal.
//!
//! Every module logs through `tracing`; this crate configures the outputs. Do not log values, tokens or passwords of clients.
//!
//! Reading order: this file (the level, the warning about slow requests) → `line` (formats) → `output` (files, rotation) →
//! `limit` (lines that clients can trigger).

mod limit;
mod line;
mod output;

use std::{
    io::{self, IsTerminal as _},
    time::Duration,
};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    Layer as _, Registry, filter::Targets, layer::SubscriberExt as _, reload,
};
use witan_config::{LogConfig, LogFormat, LogOutput};

pub use limit::{LogLimit, shorten};
use line::LogFormatter;
use output::Outputs;

/// Target of Witan's own lines.
const OWN_TARGET: &str = "witan";
/// Target of actix's lines about HTTP/1 clients. A client that sends anything other than HTTP causes a line each time and could
/// fill the disk.
const CLIENTS_TARGET: &str = "actix_http::h1";

/// A handle that changes the log level at run time.
#[derive(Clone, Debug)]
pub struct LogLevelHandle(reload::Handle<Targets, Registry>);

impl LogLevelHandle {
    /// Sets the log level.
    pub fn set(&self, level: LevelFilter) {
        // The reload fails only if the subscriber was dropped. Then nothing is logged.
        let _ = self.0.reload(targets(level));
    }
}

/// Sets up logging for this process. Fails if a log file cannot be opened or logging is already set up.
pub fn init(log: &LogConfig) -> io::Result<LogLevelHandle> {
    let outputs = Outputs::open(&log.outputs, log.rotation)?;
    let format = log.format.unwrap_or_else(|| default_format(&log.outputs));
    let (subscriber, log_level) = subscriber(log.level, format, outputs);
    tracing::subscriber::set_global_default(subscriber).map_err(io::Error::other)?;
    Ok(log_level)
}

/// Returns the console format if all outputs are terminals, otherwise JSON.
fn default_format(outputs: &[LogOutput]) -> LogFormat {
    let terminal = |output: &LogOutput| match output {
        LogOutput::Stderr => io::stderr().is_terminal(),
        LogOutput::Stdout => io::stdout().is_terminal(),
        LogOutput::File(_) => false,
    };
    if outputs.iter().all(terminal) {
        LogFormat::Console
    } else {
        LogFormat::Json
    }
}

/// Creates the subscriber that writes lines to `outputs`, and the handle that changes its level.
fn subscriber(
    level: LevelFilter,
    format: LogFormat,
    outputs: Outputs,
) -> (impl tracing::Subscriber + Send + Sync, LogLevelHandle) {
    let (filter, handle) = reload::Layer::new(targets(level));
    let lines = LogFormatter { format, outputs }.with_filter(filter);
    (
        tracing_subscriber::registry().with(lines),
        LogLevelHandle(handle),
    )
}

/// Creates the filter of log lines. It admits Witan's lines at `level` and above, and libraries' lines only if they are also at
/// `WARN` or above. Admits lines of [`CLIENTS_TARGET`] only if `level` is `DEBUG`.
fn targets(level: LevelFilter) -> Targets {
    let client_level = if level == LevelFilter::DEBUG {
        LevelFilter::DEBUG
    } else {
        LevelFilter::OFF
    };
    Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_target(CLIENTS_TARGET, client_level)
        .with_target(OWN_TARGET, level)
}

/// Limits warnings about slow requests, because a disk stall makes all pending requests slow.
static SLOW_REQUESTS: LogLimit = LogLimit::new();

/// Logs a warning if a request took longer than `expected`, unless too many such warnings were logged. Returns whether the
/// request took longer. `request` is the kind of request, without its content.
pub fn warn_if_slow(request: &'static str, took: Duration, expected: Duration) -> bool {
    let slow = took > expected;
    if slow && let Some(left_out) = SLOW_REQUESTS.admit() {
        tracing::warn!(
            request,
            took = ?took,
            "expected-duration" = ?expected,
            left_out,
            "request took too long"
        );
    }
    slow
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use witan_config::Rotation;

    fn folder(name: &str) -> std::path::PathBuf {
        let folder = std::env::temp_dir().join(format!("witan-log-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// Returns the lines that `what` logs at this level and in this format.
    fn logged(
        level: LevelFilter,
        format: LogFormat,
        what: impl FnOnce(&LogLevelHandle),
    ) -> Vec<String> {
        let folder = folder(&format!("{level:?}-{format:?}"));
        let path = folder.join("log");
        let outputs = Outputs::open(&[LogOutput::File(path.clone())], None).unwrap();
        let (subscriber, log_level) = subscriber(level, format, outputs);
        tracing::subscriber::with_default(subscriber, || what(&log_level));
        let text = fs::read_to_string(path).unwrap();
        fs::remove_dir_all(folder).unwrap();
        text.lines().map(String::from).collect()
    }

    #[test]
    fn json_lines_have_etcds_keys() {
        let lines = logged(LevelFilter::INFO, LogFormat::Json, |_| {
            tracing::info!(
                url = "http://a:1",
                count = 3,
                ok = true,
                "serving \"clients\""
            );
            tracing::debug!("not at this level");
            tracing::info!(target: "h2::proto", "a line of a library");
            tracing::error!(target: "actix_http::h1::dispatcher", "stream error");
            tracing::warn!(target: "h2::proto", error = %io::Error::other("x\ty"), "strange");
        });
        let [first, second] = &lines[..] else {
            panic!("{lines:?}")
        };
        let line: serde_json::Value = serde_json::from_str(first).unwrap();
        let keys: Vec<&String> = line.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["level", "ts", "caller", "msg", "url", "count", "ok"]);
        assert_eq!(line["level"], "info");
        assert_eq!(line["msg"], "serving \"clients\"");
        assert_eq!((&line["count"], &line["ok"]), (&3.into(), &true.into()));
        assert!(
            line["caller"]
                .as_str()
                .unwrap()
                .starts_with("logging/lib.rs:"),
            "{first}"
        );
        assert!(line["ts"].as_str().unwrap().ends_with('Z'), "{first}");
        assert!(
            second.contains(r#""msg":"strange","error":"x\ty""#),
            "{second}"
        );
    }

    #[test]
    fn console_lines_have_the_same_fields() {
        let lines = logged(LevelFilter::DEBUG, LogFormat::Console, |_| {
            tracing::debug!(url = "http://a:1", "serving");
            tracing::warn!(user = "a\u{1b}[2J\rb", "failed to log in");
        });
        assert!(
            lines[0].contains("DEBUG serving url=http://a:1"),
            "{lines:?}"
        );
        assert!(
            lines[1].ends_with(r#"WARN failed to log in user="a\u001b[2J\rb""#),
            "{lines:?}"
        );
    }

    #[test]
    fn a_slow_request_causes_a_warning() {
        let ms = Duration::from_millis;
        let lines = logged(LevelFilter::WARN, LogFormat::Json, |_| {
            assert!(warn_if_slow("put", ms(400), ms(300)));
            assert!(!warn_if_slow("put", ms(300), ms(300)));
        });
        assert_eq!(lines.len(), 1);
        assert!(
            lines[0].contains(r#""request":"put","took":"400ms","expected-duration":"300ms""#),
            "{lines:?}"
        );
    }

    #[test]
    fn the_level_can_be_changed() {
        let lines = logged(LevelFilter::ERROR, LogFormat::Json, |log_level| {
            for level in [LevelFilter::ERROR, LevelFilter::INFO, LevelFilter::DEBUG] {
                log_level.set(level);
                tracing::info!(?level, "logged at info and debug");
                tracing::debug!(?level, "logged only at debug");
            }
        });
        assert_eq!(lines.len(), 3, "{lines:?}");
    }

    #[test]
    fn files_rotate_and_old_ones_are_deleted() {
        let folder = folder("rotation");
        let path = folder.join("witan.log");
        let rotation = Rotation { max_size_mib: 1, max_backups: 2, ..Rotation::default() };
        let outputs = Outputs::open(&[LogOutput::File(path.clone())], Some(rotation)).unwrap();
        let line = "x".repeat(300 << 10);
        for _ in 0..16 {
            outputs.write(&line);
        }
        let mut files: Vec<_> = fs::read_dir(&folder)
            .unwrap()
            .map(|f| f.unwrap().path())
            .collect();
        files.sort();
        // Three lines fit into a file. Five files were rotated, two of them were kept, and the newest file contains one line.
        assert_eq!(files.len(), 3, "{files:?}");
        let sizes: Vec<u64> = files
            .iter()
            .map(|f| fs::metadata(f).unwrap().len())
            .collect();
        let full = 3 * line.len() as u64;
        assert_eq!(sizes, [full, full, line.len() as u64], "{files:?}");
        assert_eq!(files[2], path);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_rotated_file_that_cannot_be_deleted_does_not_protect_others() {
        let folder = folder("undeletable");
        let aside = |year: u32| folder.join(format!("witan-{year}-01-01T00-00-00.000000Z.log"));
        fs::create_dir(aside(2000)).unwrap();
        fs::write(aside(2001), "old").unwrap();
        let rotation = Rotation { max_size_mib: 1, max_backups: 1, ..Rotation::default() };
        let log = LogOutput::File(folder.join("witan.log"));
        let outputs = Outputs::open(&[log], Some(rotation)).unwrap();
        let line = "x".repeat(600 << 10);
        outputs.write(&line);
        outputs.write(&line);
        assert!(aside(2000).exists());
        assert!(!aside(2001).exists());
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_named() {
        let path = folder("missing").join("none").join("witan.log");
        let opened = Outputs::open(&[LogOutput::File(path.clone())], None);
        let error = opened.err().expect("the directory is missing");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().contains(&path.display().to_string()));
        fs::remove_dir_all(folder("missing")).unwrap();
    }

    #[test]
    fn a_deleted_file_is_created_again_at_the_next_rotation() {
        let folder = folder("deleted");
        let path = folder.join("witan.log");
        let rotation = Rotation { max_size_mib: 1, ..Rotation::default() };
        let outputs = Outputs::open(&[LogOutput::File(path.clone())], Some(rotation)).unwrap();
        let line = "x".repeat(600 << 10);
        outputs.write(&line);
        fs::remove_file(&path).unwrap();
        outputs.write(&line);
        assert_eq!(fs::metadata(&path).unwrap().len(), line.len() as u64);
        fs::remove_dir_all(folder).unwrap();
    }
}

//! Flags of logs, metrics and traces.

use super::{Flag, FlagKind, accepted, refused, supported};
use FlagKind::{Bool, Duration, Integer, Text};

const TRACES: &str = "it configures distributed tracing, which is not supported";

#[rustfmt::skip]
pub(super) const FLAGS: &[Flag] = &[
    Flag::new("listen-metrics-urls", Text, "", "URLs that serve only /metrics and /health.", supported("http_and_metrics_urls_of_their_own")),
    Flag::new("metrics", Text, "basic", "`basic`, or `extensive` to add histograms of the durations of gRPC calls.", supported("extensive_metrics_time_calls")),
    Flag::new("enable-console", Bool, "false", "Whether to serve the console, a web page that acts with the rights of its logged-in user, at /console/. etcd has no such flag.", supported("the_console_is_there_by_a_flag")),
    Flag::new("flight-recorder-megabytes", Integer, "0", "Size of the flight recorder's files in DATA_DIR/recorder, in MiB; 0 turns it off. etcd has no such flag.", supported("a_change_of_the_leader_is_recorded_and_replayed")),
    Flag::new("flight-recorder-values", Bool, "false", "Whether the flight recorder stores values in clear text instead of zeros. etcd has no such flag.", supported("values_are_recorded_when_asked_for")),
    Flag::new("enable-pprof", Bool, "false", "Whether Go profiles are served.", accepted("this program is not written in Go")),
    Flag::new("logger", Text, "zap", "Logger of etcd; if given, log lines are JSON even on a terminal.", accepted("lines have the shape of zap's")),
    Flag::new("log-level", Text, "info", "Lowest level that is logged: debug, info, warn, error, panic or fatal.", supported("logs_go_where_they_are_sent")),
    Flag::new("log-outputs", Text, "default", "Where logs go: default, stderr, stdout or files, comma-separated.", supported("logs_go_where_they_are_sent")),
    Flag::new("log-format", Text, "", "json or console; if neither this nor `--logger` is given, console on a terminal and JSON elsewhere.", supported("logs_go_where_they_are_sent")),
    Flag::new("enable-log-rotation", Bool, "false", "Whether log files are rotated by size.", supported("log_files_rotate")),
    Flag::new("log-rotation-config-json", Text, r#"{"maxsize": 100, "maxage": 0, "maxbackups": 0, "localtime": false, "compress": false}"#, "Size at which log files are rotated (megabytes), and how many rotated files are kept for how long (days).", supported("log_files_rotate")),
    Flag::new("log-package-levels", Text, "", "Levels of single packages in etcd 3.4.", accepted("one level applies to all packages")),
    Flag::new("debug", Bool, "false", "The level debug, in etcd 3.4.", accepted("use --log-level=debug")),
    Flag::new("warning-apply-duration", Duration, "100ms", "Duration of applying an entry above which a warning is logged.", supported("elections_and_warnings")),
    Flag::new("warning-unary-request-duration", Duration, "300ms", "Duration of a request above which a warning is logged.", supported("elections_and_warnings")),
    Flag::new("enable-distributed-tracing", Bool, "false", "Whether traces are sent to an OpenTelemetry collector.", refused("distributed tracing is not supported")),
    Flag::new("distributed-tracing-address", Text, "localhost:4317", "Address of the collector of traces.", accepted(TRACES)),
    Flag::new("distributed-tracing-service-name", Text, "etcd", "Name of the service in traces.", accepted(TRACES)),
    Flag::new("distributed-tracing-instance-id", Text, "", "Name of this member in traces.", accepted(TRACES)),
    Flag::new("distributed-tracing-sampling-rate", Integer, "0", "Sampled spans per million.", accepted(TRACES)),
];

//! Flags of logs, metrics and traces.

use super::{Flag, FlagKind, FlagStatus};
use FlagKind::{Bool, Duration, Integer, Text};
use FlagStatus::{Accepted, Refused, Supported};

const TRACES: &str = "it configures distributed tracing, which is not supported";

#[rustfmt::skip]
pub(super) const FLAGS: &[Flag] = &[
    Flag::new("listen-metrics-urls", Text, "", "URLs that serve only /metrics, /health, /livez and /readyz.", Supported("separate_http_and_metrics_urls")),
    Flag::new("metrics", Text, "basic", "Level of detail of the metrics: `basic`, or `extensive`, which adds histograms of gRPC call durations.", Supported("extensive_metrics_time_calls")),
    Flag::new("enable-console", Bool, "false", "Serves the console at /console/, a web page that has the permissions of the logged-in user. Not a flag of etcd.", Supported("a_flag_enables_the_console")),
    Flag::new("flight-recorder-megabytes", Integer, "0", "Total size of the flight recorder's files in DATA_DIR/recorder, in MiB; 0 disables the flight recorder. Not a flag of etcd.", Supported("a_change_of_the_leader_is_recorded_and_replayed")),
    Flag::new("flight-recorder-values", Bool, "false", "Records values in plaintext in the flight recorder instead of zeros. Not a flag of etcd.", Supported("values_are_recorded_on_request")),
    Flag::new("enable-pprof", Bool, "false", "Serves runtime profiling data of Go.", Accepted("this program is not written in Go")),
    Flag::new("logger", Text, "zap", "Logger of etcd. If this flag is set, log lines are JSON even on a terminal.", Accepted("the value is ignored, because log lines always have the format of zap")),
    Flag::new("log-level", Text, "info", "Log level: debug, info, warn, error, panic or fatal.", Supported("logs_are_written_to_the_configured_outputs")),
    Flag::new("log-outputs", Text, "default", "Log outputs, comma-separated: default, stderr, stdout or paths of files.", Supported("logs_are_written_to_the_configured_outputs")),
    Flag::new("log-format", Text, "", "Log format: json or console. By default console on a terminal and json otherwise, or json if `--logger` is set.", Supported("logs_are_written_to_the_configured_outputs")),
    Flag::new("enable-log-rotation", Bool, "false", "Rotates log files by size.", Supported("log_files_rotate")),
    Flag::new("log-rotation-config-json", Text, r#"{"maxsize": 100, "maxage": 0, "maxbackups": 0, "localtime": false, "compress": false}"#, "Log rotation settings: the maximum log file size (MB), and the maximum age (days) and number of rotated files. `localtime` has no effect, and `compress` must be false.", Supported("log_files_rotate")),
    Flag::new("log-package-levels", Text, "", "Log levels of packages in etcd 3.4.", Accepted("all packages have the same log level")),
    Flag::new("debug", Bool, "false", "Selects the log level debug in etcd 3.4.", Accepted("use --log-level=debug")),
    Flag::new("warning-apply-duration", Duration, "100ms", "Maximum time to apply an entry before a warning is logged.", Supported("elections_and_warnings")),
    Flag::new("warning-unary-request-duration", Duration, "300ms", "Maximum duration of a unary request before a warning is logged.", Supported("elections_and_warnings")),
    Flag::new("enable-distributed-tracing", Bool, "false", "Sends traces to an OpenTelemetry collector.", Refused("distributed tracing is not supported")),
    Flag::new("distributed-tracing-address", Text, "localhost:4317", "Address of the OpenTelemetry collector.", Accepted(TRACES)),
    Flag::new("distributed-tracing-service-name", Text, "etcd", "Service name in traces.", Accepted(TRACES)),
    Flag::new("distributed-tracing-instance-id", Text, "", "Instance ID of this member in traces.", Accepted(TRACES)),
    Flag::new("distributed-tracing-sampling-rate", Integer, "0", "Number of sampled spans per million.", Accepted(TRACES)),
];

//! The printed table: one line per server and load, with ratios to the first server.

use std::fmt::Write as _;

use crate::load::Measured;

/// Head of the table.
pub const HEAD: &str = "load            server    requests/s   p50 ms   p99 ms  server us/req  client us/req  written B/req";

/// One line; `base` is the measurement of the first server under the same load.
#[allow(clippy::cast_precision_loss)]
pub fn line(load: &str, server: &str, measured: &Measured, base: Option<&Measured>) -> String {
    let per = |total: f64, of: &Measured| total / (of.requests.max(1) as f64);
    let rate = |of: &Measured| of.requests as f64 / of.elapsed.as_secs_f64().max(1e-9);
    let cpu = |of: &Measured| per(of.server_cpu.as_secs_f64() * 1e6, of);
    let mut out = format!(
        "{load:<15} {server:<8} {:>11.0} {:>8.2} {:>8.2} {:>14.1} {:>14.1} {:>14.0}",
        rate(measured),
        measured.quantile(0.5) / 1000.0,
        measured.quantile(0.99) / 1000.0,
        cpu(measured),
        per(measured.client_cpu.as_secs_f64() * 1e6, measured),
        per(measured.written as f64, measured),
    );
    if let Some(base) = base {
        // how the first server stands to this one
        let _ = write!(
            out,
            "   x{:.2} requests/s, {:.2} of the CPU",
            rate(base) / rate(measured).max(1e-9),
            cpu(base) / cpu(measured).max(1e-9),
        );
    }
    out
}

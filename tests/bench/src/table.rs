//! The printed tables, in Markdown: as they stand they go into a document.

use crate::load::Measured;

/// Head of the table of loads.
pub const HEAD: &str = "\
| load | clients | server | requests/s | p50 ms | p99 ms | server us | client us | written B | rate | CPU |
|---|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|";

/// One line: a server under a load. The last two columns say how `base`, the first server, stands
/// to this one: its requests per second and its CPU per request as multiples.
#[expect(clippy::cast_precision_loss, reason = "the numbers are small")]
pub fn line(
    load: &str,
    clients: usize,
    server: &str,
    measured: &Measured,
    base: Option<&Measured>,
) -> String {
    let per = |total: f64, of: &Measured| total / (of.requests.max(1) as f64);
    let rate = |of: &Measured| of.requests as f64 / of.elapsed.as_secs_f64().max(1e-9);
    let cpu = |of: &Measured| per(of.server_cpu.as_secs_f64() * 1e6, of);
    let ratios = base.map_or_else(
        || "| | |".to_owned(),
        |base| {
            format!(
                "| x{:.2} | x{:.2} |",
                rate(base) / rate(measured).max(1e-9),
                cpu(base) / cpu(measured).max(1e-9),
            )
        },
    );
    format!(
        "| {load} | {clients} | {server} | {:.0} | {:.2} | {:.2} | {:.1} | {:.1} | {:.0} {ratios}",
        rate(measured),
        measured.quantile(0.5),
        measured.quantile(0.99),
        cpu(measured),
        per(measured.client_cpu.as_secs_f64() * 1e6, measured),
        per(measured.written as f64, measured),
    )
}

/// Head of the table of fills.
pub const FILL_HEAD: &str = "\
| server | memory MiB | on disk MiB | written MiB | server CPU s | to serve again s | CPU of that s | memory then MiB |
|---|--:|--:|--:|--:|--:|--:|--:|";

/// Events or answers per second, their delays, and the server's CPU for each.
#[expect(clippy::cast_precision_loss, reason = "the numbers are small")]
pub(crate) fn latency_line(measured: &Measured) -> String {
    let count = measured.requests.max(1) as f64;
    format!(
        "{:.0} | {:.2} | {:.2} | {:.2} |",
        count / measured.elapsed.as_secs_f64().max(1e-9),
        measured.quantile(0.5),
        measured.quantile(0.99),
        measured.server_cpu.as_secs_f64() * 1e6 / count,
    )
}

/// A load alone and the same load beside a chore that was done so many times.
#[expect(clippy::cast_precision_loss, reason = "the numbers are small")]
pub(crate) fn chores_line(quiet: &Measured, busy: &Measured, times: u64) -> String {
    let rate = |of: &Measured| of.requests as f64 / of.elapsed.as_secs_f64().max(1e-9);
    let (calm, then) = (quiet.quantile(0.99), busy.quantile(0.99));
    format!(
        "{:.0} | {calm:.2} | {:.0} | {then:.2} | x{:.2} | {times} |",
        rate(quiet),
        rate(busy),
        then / calm.max(1e-9),
    )
}

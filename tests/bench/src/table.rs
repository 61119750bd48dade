//! The printed tables in Markdown.

use std::time::Duration;

use crate::load::{Measured, quantile};

/// Head of the table of loads.
pub const HEAD: &str = "\
| load | clients | server | requests/s | p50 ms | p99 ms | server us | client us | written B | rate | CPU |
|---|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|";

/// Returns the row of a server under a load. The last two columns are the requests per second and the CPU per request of
/// `base`, the first server, divided by this server's.
pub fn line(
    load: &str,
    clients: usize,
    server: &str,
    measured: &Measured,
    base: Option<&Measured>,
) -> String {
    let (cells, ratios) = (cells(measured), ratios(measured, base));
    format!("| {load} | {clients} | {server} | {cells} {ratios}")
}

/// Returns the table cells: rate, latencies, CPU and written bytes.
fn cells(measured: &Measured) -> String {
    let per = |total: f64| total / (measured.requests.max(1) as f64);
    format!(
        "{:.0} | {:.2} | {:.2} | {:.1} | {:.1} | {:.0}",
        rate(measured),
        measured.quantile(0.5),
        measured.quantile(0.99),
        cpu(measured),
        per(measured.client_cpu.as_secs_f64() * 1e6),
        per(measured.written as f64),
    )
}

/// Returns the last two cells of a row. They are empty if `base` is `None`.
fn ratios(measured: &Measured, base: Option<&Measured>) -> String {
    base.map_or_else(
        || "| | |".to_owned(),
        |base| {
            format!(
                "| x{:.2} | x{:.2} |",
                rate(base) / rate(measured).max(1e-9),
                cpu(base) / cpu(measured).max(1e-9),
            )
        },
    )
}

/// Returns the requests per second.
fn rate(of: &Measured) -> f64 {
    of.requests as f64 / of.elapsed.as_secs_f64().max(1e-9)
}

/// Returns the server CPU per request in microseconds.
fn cpu(of: &Measured) -> f64 {
    of.server_cpu.as_secs_f64() * 1e6 / of.requests.max(1) as f64
}

/// Head of the table of puts at a rate.
pub(crate) const RATES_HEAD: &str = "\
| members | puts/s | server | p50 ms | p99 ms | CPU %, all members | us a put | CPU |
|--:|--:|---|--:|--:|--:|--:|--:|";

/// Returns the row of puts at a rate: CPU of all members in percent of one core, and per put. The last column is the CPU of
/// `base` divided by this server's.
pub(crate) fn rates_line(
    members: usize,
    load: &str,
    server: &str,
    measured: &Measured,
    base: Option<&Measured>,
) -> String {
    let share = |of: &Measured| of.server_cpu.as_secs_f64() / of.elapsed.as_secs_f64().max(1e-9);
    let (each, per_put) = match measured.requests {
        0 => ("| ".to_owned(), String::new()),
        _ => {
            let [p50, p99] = [0.5, 0.99].map(|share| measured.quantile(share));
            (
                format!("{p50:.2} | {p99:.2} "),
                format!("{:.0} ", cpu(measured)),
            )
        }
    };
    let ratio = base.map_or_else(String::new, |base| {
        format!("x{:.2} ", share(base) / share(measured).max(1e-9))
    });
    format!(
        "| {members} | {load} | {server} | {each}| {:.1} | {per_put}| {ratio}|",
        share(measured) * 100.0
    )
}

/// Head of the table of Kubernetes' nodes.
pub(crate) const KUBERNETES_HEAD: &str = "\
| nodes | txn/s | server | txn/s done | p50 ms | p99 ms | events p99 ms | CPU %, all members | client CPU % |
|--:|--:|---|--:|--:|--:|--:|--:|--:|";

/// Returns the row for a number of nodes with `rate` transactions per second and the delays of their events.
pub(crate) fn kubernetes_line(
    (nodes, rate): (u32, u32),
    server: &str,
    measured: &Measured,
    delays: &[u32],
) -> String {
    format!(
        "| {nodes} | {rate} | {server} | {:.0} | {:.2} | {:.2} | {:.2} | {} |",
        self::rate(measured),
        measured.quantile(0.5),
        measured.quantile(0.99),
        quantile(delays, 0.99),
        shares(measured),
    )
}

/// Head of the table of many streams with large events.
pub(crate) const WIDE_WATCHES_HEAD: &str = "\
| server | events/s | MB/s | delay p50 ms | p99 ms | CPU %, all members | client CPU % | us an event | memory MiB, all members | missing |
|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|";

/// Returns the row for puts of `value_bytes` bytes to `streams` streams. It contains the delays of the events, the number of
/// missing events, and the memory of all members.
pub(crate) fn wide_watches_line(
    measured: &Measured,
    (streams, value_bytes): (u64, usize),
    (delays, missing): (&[u32], u64),
    resident_bytes: u64,
) -> String {
    let events = rate(measured) * streams as f64;
    format!(
        "{events:.0} | {:.1} | {:.2} | {:.2} | {} | {:.2} | {} | {missing} |",
        events * value_bytes as f64 / 1e6,
        quantile(delays, 0.5),
        quantile(delays, 0.99),
        shares(measured),
        cpu(measured) / streams as f64,
        resident_bytes >> 20,
    )
}

/// Returns the CPU of all members and of the client in percent of one core.
fn shares(measured: &Measured) -> String {
    let share = |of: Duration| of.as_secs_f64() * 100.0 / measured.elapsed.as_secs_f64().max(1e-9);
    format!(
        "{:.1} | {:.1}",
        share(measured.server_cpu),
        share(measured.client_cpu)
    )
}

/// Head of the table of loads on clusters.
pub(crate) const CLUSTER_HEAD: &str = "\
| load | clients | at | server | requests/s | p50 ms | p99 ms | servers us | client us | written B | peer B | rate | CPU |
|---|--:|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|";

/// Returns the row of a load. `at` names the members of a cluster of `server` that receive the requests. CPU and bytes are sums
/// over all members. The bytes on peer links are per answer and include the traffic without requests.
pub(crate) fn cluster_line(
    load: &str,
    clients: usize,
    (at, server): (&str, &str),
    measured: &Measured,
    base: Option<&Measured>,
) -> String {
    let (cells, ratios) = (cells(measured), ratios(measured, base));
    let sent = measured.sent / measured.answers.max(1);
    format!("| {load} | {clients} | {at} | {server} | {cells} | {sent} {ratios}")
}

pub(crate) const FAILOVER_HEAD: &str = "\
| server | kills | median ms | p90 ms | worst ms | median |
|---|--:|--:|--:|--:|--:|";

/// Returns the row of a server's failovers. The last column is the median of the first server (`base`) divided by this
/// server's.
pub(crate) fn failover_line(server: &str, sorted: &[Duration], base: Option<Duration>) -> String {
    let ms = |at: usize| sorted.get(at).map_or(0.0, |took| took.as_secs_f64() * 1e3);
    let median = ms(sorted.len() / 2);
    let ratio = base.map_or_else(String::new, |base| {
        format!("x{:.2}", base.as_secs_f64() * 1e3 / median.max(1e-9))
    });
    format!(
        "| {server} | {} | {median:.0} | {:.0} | {:.0} | {ratio} |",
        sorted.len(),
        ms(sorted.len() * 9 / 10),
        ms(sorted.len().saturating_sub(1)),
    )
}

/// Head of the table of members that catch up.
pub(crate) const CATCH_UP_HEAD: &str = "\
| server | puts/s of two members | p99 ms | puts/s meanwhile | p99 ms | p99 | until caught up s |
|---|--:|--:|--:|--:|--:|--:|";

/// Returns the row of a load on two members, the same load while the third member catches up, and the duration.
pub(crate) fn catch_up_line(quiet: &Measured, busy: &Measured, took: Option<Duration>) -> String {
    let (calm, then) = (quiet.quantile(0.99), busy.quantile(0.99));
    let took = took.map_or("never".into(), |took| format!("{:.1}", took.as_secs_f64()));
    format!(
        "{:.0} | {calm:.2} | {:.0} | {then:.2} | x{:.2} | {took} |",
        rate(quiet),
        rate(busy),
        then / calm.max(1e-9),
    )
}

/// Head of the table of members that are replaced.
pub(crate) const REPLACED_HEAD: &str = "\
| MiB | server | p99 ms | p99 ms meanwhile | until it votes s | MiB through a socket into a file s | times |
|--:|---|--:|--:|--:|--:|--:|";

/// Returns the row of a load on three members, before and while a member is replaced. Also contains the duration and the time
/// to copy as many bytes.
pub(crate) fn replaced_line(
    quiet: &Measured,
    busy: &Measured,
    took: Option<Duration>,
    copied: Duration,
) -> String {
    let (took, times) = took.map_or(("never".into(), String::new()), |took| {
        let times = took.as_secs_f64() / copied.as_secs_f64().max(1e-9);
        (format!("{:.1}", took.as_secs_f64()), format!("x{times:.2}"))
    });
    let meanwhile = match busy.requests {
        0 => "no answer".to_owned(),
        _ => format!("{:.2}", busy.quantile(0.99)),
    };
    format!(
        "{:.2} | {meanwhile} | {took} | {:.1} | {times} |",
        quiet.quantile(0.99),
        copied.as_secs_f64(),
    )
}

/// Head of the table of fills.
pub const FILL_HEAD: &str = "\
| keys | server | memory MiB | on disk MiB | written MiB | server CPU s | to serve again s | CPU of that s | memory then MiB | rebuild s |
|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|";

/// Head of the table of servers with little memory.
pub const LIMITED_HEAD: &str = "\
| keys | server | fill s | memory MiB | to serve again s | memory then MiB | get p50 ms | p99 ms | hot gets/s | CPU us each | hot p99 ms | result |
|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|";

/// Returns the table cells: events or answers per second, their delays, and the server's CPU per event.
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

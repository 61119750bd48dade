//! Compares types with etcd 3.4 and 3.7, and checks histograms and counters.

use std::collections::BTreeMap;

use witan_e2e::{Kind, Launch, Tool};

use super::scrape::scrape;

#[test]
fn families_of_etcd_have_etcds_types() {
    let server = Launch::witan().start();
    // Some families appear at their first use.
    server.http("PUT", "/v2/keys/k", "value=v");
    Tool::Etcdctl36.run(&server.url(), &["put", "k", "v"]);
    let ours = scrape(&server);
    let mut known = BTreeMap::new();
    for kind in [Kind::Etcd34, Kind::Etcd36, Kind::Etcd37] {
        let etcd = Launch::new(kind).start();
        if kind == Kind::Etcd34 {
            etcd.http("PUT", "/v2/keys/k", "value=v");
            etcd.http("GET", "/v2/keys/missing", "");
        }
        Tool::Etcdctl36.run(&etcd.url(), &["put", "k", "v"]);
        let alarm = r#"{"action":"ACTIVATE","alarm":"NOSPACE","memberID":"1"}"#;
        etcd.http("POST", "/v3/maintenance/alarm", alarm);
        known.extend(scrape(&etcd).types);
    }
    let mut differences = Vec::new();
    for (name, kind) in &ours.types {
        match known.get(name) {
            Some(theirs) if theirs == kind => {}
            Some(theirs) => differences.push(format!("{name} is a {theirs} on etcd, not {kind}")),
            // A metric that etcd lacks has its own prefix, or belongs to the process.
            None if name.starts_with("witan_") || name.starts_with("process_") => {}
            None => differences.push(format!("{name} is not etcd's")),
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn histograms_add_up() {
    let server = Launch::witan().start();
    server.http("PUT", "/v2/keys/k", "value=v");
    let scrape = scrape(&server);
    let mut buckets: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    for (series, value) in &scrape.series {
        let Some((name, labels)) = series.split_once("_bucket{") else {
            continue;
        };
        let (others, bound): (Vec<_>, Vec<_>) = labels
            .trim_end_matches('}')
            .split(',')
            .partition(|label| !label.starts_with("le="));
        let bound = bound[0].trim_start_matches("le=\"").trim_end_matches('"');
        let bound = if bound == "+Inf" {
            f64::INFINITY
        } else {
            bound.parse().expect("a bound")
        };
        let others = others.join(",");
        let count = if others.is_empty() {
            format!("{name}_count")
        } else {
            format!("{name}_count{{{others}}}")
        };
        buckets.entry(count).or_default().push((bound, *value));
    }
    assert!(!buckets.is_empty(), "there are histograms");
    for (count, mut steps) in buckets {
        steps.sort_by(|a, b| a.0.total_cmp(&b.0));
        assert!(
            steps.windows(2).all(|pair| pair[0].1 <= pair[1].1),
            "{count}: {steps:?}"
        );
        let last = steps.last().expect("a bucket");
        assert!(last.0.is_infinite(), "{count} ends with +Inf");
        assert!((last.1 - scrape.value(&count)).abs() < 0.5, "{count}");
    }
}

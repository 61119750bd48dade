//! Compares types with etcd 3.4, 3.6 and 3.7.

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

//! Every command of etcdctl 3.4 and 3.6, typed at Witan and at etcd 3.6: they must answer the same.
//! A command is a row of `table`.
//!
//! What does *not* live here: commands that run until they are stopped, of which etcd's own cases try `watch`, `lock` and
//! `elect` (`tests/upstream/cases`), and what the words of an answer mean.
//!
//! Reading order: `table` → this file → `mask` → `mirror`.

mod mask;
mod mirror;
mod table;

use witan_e2e::{Kind, Launch, Server, Tool};

/// `-w` of each round; every row is typed once in each. etcdctl prints an answer after it has arrived, and as JSON all of
/// its fields: the other formats show nothing more of a server.
const FORMATS: [&str; 2] = ["simple", "json"];

/// Ours and etcd's, both fresh.
fn pair() -> [Server; 2] {
    // the cheapest there is: what a password costs is not what is compared
    [Kind::Witan, Kind::Etcd37]
        .map(|kind| Launch::new(kind).same_ids().arg("--bcrypt-cost=4").start())
}

/// One server as the person who types sees it.
struct Seat<'a> {
    server: &'a Server,
    /// The id of the last lease that was granted here.
    lease: String,
}

impl Seat<'_> {
    /// Types a row and gives what was said, masked.
    fn type_in(&mut self, tool: Tool, row: &str, format: &str) -> String {
        let (command, input) = row.split_once(" << ").unwrap_or((row, ""));
        let filled = command
            .replace("{f}", format)
            .replace("{lease}", &self.lease);
        let mut words: Vec<&str> = filled
            .split_whitespace()
            .map(|word| if word == "''" { "" } else { word })
            .collect();
        // a lease is granted in one format alone, for its id is needed in hexadecimal
        let grants = words.starts_with(&["lease", "grant"]);
        if !grants {
            words.extend(["-w", format]);
        }
        let said = tool.run_with_input(&self.server.url(), &words, input);
        if let Some(id) = granted(&said.stdout) {
            self.lease = id.to_owned();
        }
        mask::said(&said, &self.server.address())
    }
}

/// `lease 694d5765fc71500b granted with TTL(60s)`
fn granted(text: &str) -> Option<&str> {
    text.strip_prefix("lease ")?
        .split_once(" granted")
        .map(|(id, _)| id)
}

/// Types every row at both, with each tool and in each format, and names what differs.
fn same(tools: &[Tool], rows: &[&str]) {
    let mut differences = Vec::new();
    for tool in tools {
        let servers = pair();
        let mut seats = servers
            .each_ref()
            .map(|server| Seat { server, lease: String::new() });
        for format in FORMATS {
            for row in rows {
                let [got, want] = seats
                    .each_mut()
                    .map(|seat| seat.type_in(*tool, row, format));
                if got != want {
                    differences.push(format!(
                        "{tool:?} {row} -w {format}\ngot {got}\nwant {want}"
                    ));
                }
            }
        }
    }
    assert!(
        differences.is_empty(),
        "{} differences\n{}",
        differences.len(),
        differences.join("\n\n")
    );
}

const ALL: [Tool; 3] = [Tool::Etcdctl34V3, Tool::Etcdctl36, Tool::Etcdctl37];
const NEW: [Tool; 2] = [Tool::Etcdctl36, Tool::Etcdctl37];

#[test]
fn keys() {
    same(&ALL, table::KEYS);
}

#[test]
fn members_and_maintenance() {
    same(&ALL, table::MEMBERS);
    same(&NEW, table::MAINTENANCE_36);
}

#[test]
fn leases_and_locks() {
    same(&ALL, table::LEASES);
}

#[test]
fn users_and_roles() {
    same(&ALL, table::USERS);
    same(&ALL, table::GUARDED);
}

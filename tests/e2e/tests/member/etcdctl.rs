//! Commands of etcdctl 3.4 and 3.7 on Witan and on etcd. They must have the same output. `tests/differ` compares the responses
//! themselves, and etcd's own cases also use etcdctl (`tests/upstream/cases`).

use witan_e2e::{Kind, Launch, Server, Tool, tool::CommandOutput};

/// The commands. `{lease}` is the id of the last granted lease, and the text after ` << ` is standard input.
const COMMANDS: &[&str] = &[
    "put a 1 -w json",
    "put a 2 --prev-kv -w json",
    "put none --ignore-value",
    "put b << from standard input",
    "get a -w json",
    "get a b --keys-only --order=DESCEND -w json",
    "get '' --prefix --count-only -w json",
    "get a --rev=9999",
    "txn -w json << value(\"a\") = \"1\"\n\nput k 2\n\nput k 1\nget k\n\n",
    "txn << \nput k 1\nput k 2\n\n\n",
    "del a --prev-kv -w json",
    "compaction 3",
    "get a --rev=1",
    "lease grant 600",
    "put l 1 --lease={lease} -w json",
    "lease list -w json",
    "lease timetolive {lease} --keys -w json",
    "lease keep-alive {lease} --once -w json",
    "lease revoke {lease} -w json",
    "lease revoke 1234",
    "lock l echo held",
    "member list -w json",
    "member add new --peer-urls=bogus",
    "member update 1234 --peer-urls=http://127.0.0.1:1",
    "member remove b71f75320dc06a6c",
    "member promote 1234",
    "alarm list -w json",
    "endpoint health",
    "user add root:secret -w json",
    "user add u --interactive=false << secret\n",
    "user add u:secret",
    "role add root",
    "role add r -w json",
    "role grant-permission r readwrite a z -w json",
    "role get r -w json",
    "user grant-role root root",
    "user grant-role u r -w json",
    "user get u --detail -w json",
    "auth enable -w json",
    "get c",
    "get c --user=u:wrong",
    "put c 1 --user=u:secret -w json",
    "put z 1 --user=u:secret",
    "user passwd u --interactive=false --user=root:secret << other\n",
    "get c --user=u:secret",
    "role revoke-permission r a z --user=root:secret -w json",
    "user delete u --user=root:secret -w json",
    "auth disable --user=root:secret -w json",
];

/// Words before a time or a size, which differs between servers.
const VARYING: [&str; 6] = [
    "remaining(",
    "TTL(",
    "\"ttl\":",
    "took = ",
    "took: ",
    "\"took\":\"",
];

/// Minimum length of an id in decimal or hexadecimal digits.
const ID_LENGTH: usize = 11;

/// Returns the exit code and both streams, with masks for values that differ between servers.
fn masked(said: &CommandOutput, address: &str) -> String {
    let own_words = |line: &&str| !line.starts_with("{\"level\"");
    let stderr: Vec<&str> = said.stderr.lines().filter(own_words).collect();
    let stderr = stderr.join("\n");
    let text = format!("exit {:?}\n{}\n{stderr}\n", said.code, said.stdout);
    let mut masked = text.replace(address, "CLIENT");
    for word in VARYING {
        let (first, rest) = masked.split_once(word).unwrap_or((&masked, ""));
        let varies = |c: char| c.is_ascii_alphanumeric() || ".-µ".contains(c);
        masked = format!("{first}{}", rest.trim_start_matches(varies));
    }
    let is_id = |word: &str| word.len() >= ID_LENGTH && word.chars().all(|c| c.is_ascii_hexdigit());
    let mut shown = String::new();
    for part in masked.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
        let word = part.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        shown.push_str(if is_id(word) { "ID" } else { word });
        shown.push_str(&part[word.len()..]);
    }
    shown
}

/// Runs all commands on a server. Later commands use the lease in output such as `lease 694d5765fc71500b granted with
/// TTL(60s)`.
fn typed(tool: Tool, server: &Server) -> Vec<String> {
    let mut lease = String::new();
    let said = COMMANDS.iter().map(|command| {
        let (line, input) = command.split_once(" << ").unwrap_or((command, ""));
        let line = line.replace("{lease}", &lease);
        let words = line
            .split(' ')
            .map(|word| if word == "''" { "" } else { word });
        let words: Vec<&str> = words.collect();
        let said = tool.run_with_input(&server.url(), &words, input);
        if let Some((id, _)) = said.stdout.split_once(" granted") {
            lease = id.trim_start_matches("lease ").to_owned();
        }
        format!("{command}\n{}", masked(&said, &server.address()))
    });
    said.collect()
}

#[test]
fn etcdctl_prints_the_same_for_both() {
    for tool in [Tool::Etcdctl34V3, Tool::Etcdctl37] {
        // Make passwords cheap to hash.
        let [ours, theirs] = [Kind::Witan, Kind::Etcd37].map(|kind| {
            let server = Launch::new(kind).same_ids().arg("--bcrypt-cost=4").start();
            typed(tool, &server)
        });
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!(ours, theirs, "{tool:?}");
        }
    }
}

//! Real etcdctl 3.6, in every output format.

use serde_json::Value;
use witan_e2e::{Server, Tool, tool::Said};

use super::pair;

pub(super) const FORMATS: [&str; 5] = ["simple", "json", "fields", "table", "protobuf"];

/// Runs etcdctl; gives its output without its own log lines and the port.
pub(super) fn run(server: &Server, args: &[&str], input: &str) -> Said {
    let said = Tool::Etcdctl36.run_with_input(&server.url(), args, input);
    let lines = said
        .stderr
        .lines()
        .filter(|line| !line.starts_with("{\"level\""));
    Said {
        code: said.code,
        stdout: said.stdout.replace(&server.address(), "CLIENT"),
        stderr: lines
            .map(|line| format!("{}\n", line.replace(&server.address(), "CLIENT")))
            .collect(),
    }
}

/// Runs a script on both servers, each line with the input after it, and compares after each.
pub(super) fn same(script: &[(&[&str], &str)]) {
    let [ours, theirs] = pair();
    let mut differences = Vec::new();
    for (args, input) in script {
        let (got, want) = (run(&ours, args, input), run(&theirs, args, input));
        if got != want {
            let args = args.join(" ");
            differences.push(format!("{args}\ngot {}\nwant {}", got.all(), want.all()));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
}

/// The same command in every format.
fn in_every_format<'a>(args: &[&'a str]) -> Vec<Vec<&'a str>> {
    FORMATS
        .iter()
        .map(|format| [args, &["-w", format]].concat())
        .collect()
}

pub(super) fn same_in_every_format(setup: &[&[&str]], commands: &[&[&str]]) {
    let commands: Vec<Vec<&str>> = commands
        .iter()
        .flat_map(|args| in_every_format(args))
        .collect();
    let script: Vec<(&[&str], &str)> = setup
        .iter()
        .copied()
        .chain(commands.iter().map(Vec::as_slice))
        .map(|args| (args, ""))
        .collect();
    same(&script);
}

#[test]
fn put_and_get() {
    same_in_every_format(
        &[
            &["put", "a", "1"],
            &["put", "b", "2"],
            &["put", "b", "3"],
            &["put", "ü\t", "\u{1}x"],
        ],
        &[
            &["put", "k", "v"],
            &["put", "k", "w", "--prev-kv"],
            &["put", "k", "--ignore-value"],
            &["put", "missing", "--ignore-value"],
            &["put", "k", "x", "--ignore-lease"],
            &["put", "k", "x", "--lease=7b"],
            &["put", "", "x"],
            &["get", "a"],
            &["get", "missing"],
            &["get", "", "--prefix"],
            &["get", "a", "c"],
            &["get", "b", "--from-key"],
            &["get", "", "--prefix", "--keys-only"],
            &["get", "", "--prefix", "--count-only"],
            &["get", "", "--prefix", "--limit=1"],
            &["get", "", "--prefix", "--order=DESCEND", "--sort-by=MODIFY"],
            &["get", "", "--prefix", "--sort-by=VALUE"],
            &[
                "get",
                "",
                "--prefix",
                "--sort-by=VERSION",
                "--order=DESCEND",
            ],
            &["get", "b", "--rev=3"],
            &["get", "b", "--rev=9999"],
            &["get", "a", "--consistency=s"],
            &["get", "a", "--print-value-only"],
            &["get", "a", "--hex"],
            &["get", "", "--prefix", "--min-mod-rev=4"],
        ],
    );
}

#[test]
fn del() {
    same_in_every_format(
        &[
            &["put", "a", "1"],
            &["put", "b1", "2"],
            &["put", "b2", "3"],
            &["put", "c", "4"],
        ],
        &[
            &["del", "a"],
            &["del", "a", "--prev-kv"],
            &["del", "b", "--prefix", "--prev-kv"],
            &["del", "c", "--from-key"],
            &["del", "x", "y"],
            &["get", "", "--prefix"],
        ],
    );
}

const CREATE: &str = "mod(\"t\") = \"0\"\n\nput t 1\nget t\n\nget t\ndel nothing\n\n";
const OTHERS: &str = "value(\"t\") = \"1\"\ncreate(\"t\") > \"1\"\nversion(\"t\") != \"9\"\nlease(\"t\") = \"0\"\n\n\
    put u \"two words\"\nget \"\" \"\\0\"\ndel t\n\nput v 1\n\n";
const TWICE: &str = "\nput k 1\nput k 2\n\n\n";
const READS: &str = "value(\"missing\") = \"\"\n\nget a\n\nget u\n\n";

#[test]
fn txn() {
    let mut script: Vec<(Vec<&str>, &str)> = Vec::new();
    for input in [CREATE, CREATE, OTHERS, TWICE, READS] {
        script.extend(
            in_every_format(&["txn"])
                .into_iter()
                .map(|args| (args, input)),
        );
    }
    let script: Vec<(&[&str], &str)> = script
        .iter()
        .map(|(args, input)| (args.as_slice(), *input))
        .collect();
    same(&script);
}

#[test]
fn compaction() {
    same_in_every_format(
        &[
            &["put", "a", "1"],
            &["put", "a", "2"],
            &["put", "a", "3"],
            &["del", "a"],
        ],
        &[
            &["compaction", "3"],
            &["get", "a", "--rev=2"],
            &["get", "a", "--rev=3"],
            &["compaction", "--physical", "4"],
            &["compaction", "99"],
            &["compaction", "0"],
        ],
    );
}

#[test]
fn members() {
    same_in_every_format(
        &[],
        &[
            &["member", "list"],
            &["member", "list", "--hex"],
            &["member", "add", "new", "--peer-urls=bogus"],
            &["member", "remove", "1234"],
            &["member", "promote", "1234"],
            &["member", "update", "1234", "--peer-urls=http://127.0.0.1:1"],
            &["alarm", "list"],
        ],
    );
    // in other formats etcdctl itself fails when there is nothing to disarm
    same(&[(&["alarm", "disarm"], "")]);
}

/// Fields that say how much is stored and logged: by nature not the same.
const SIZES: [&str; 4] = ["dbSize", "dbSizeInUse", "raftIndex", "raftAppliedIndex"];

#[test]
fn endpoint_status() {
    let servers = pair();
    for server in &servers {
        run(server, &["put", "a", "1"], "");
    }
    let status = |format: &str| {
        let args = ["endpoint", "status", "-w", format];
        let both = servers.each_ref().map(|server| run(server, &args, ""));
        for said in &both {
            assert_eq!(
                (said.code, said.stderr.as_str()),
                (Some(0), ""),
                "{}",
                said.all()
            );
        }
        both.map(|said| said.stdout)
    };
    let [ours, theirs] = status("json").map(|text| {
        let mut json: Value = serde_json::from_str(&text).unwrap();
        let status = json[0]["Status"].as_object_mut().unwrap();
        for size in SIZES {
            assert!(status.remove(size).unwrap().as_i64().unwrap() > 0, "{size}");
        }
        json
    });
    assert_eq!(ours, theirs);
    let [ours, theirs] = status("fields").map(|text| {
        let sized = |line: &&str| {
            !["\"DBSize", "\"RaftIndex", "\"RaftApplied"]
                .iter()
                .any(|f| line.starts_with(f))
        };
        text.lines()
            .filter(sized)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    });
    assert_eq!(ours, theirs);
    for (format, separator) in [("simple", ','), ("table", '|')] {
        let [ours, theirs] = status(format).map(|text| cells(&text, separator));
        assert_eq!(ours, theirs, "{format}");
    }
}

/// The cells of the last line that has any, without those that hold a size, a share or an index.
fn cells(text: &str, separator: char) -> Vec<String> {
    let line = text
        .lines()
        .rfind(|line| line.contains(separator))
        .expect("a line has cells");
    let cells = line.split(separator).map(str::trim).map(str::to_owned);
    let varies = |cell: &String| {
        cell.ends_with("kB") || cell.ends_with('%') || cell.parse::<u32>().is_ok_and(|n| n > 3)
    };
    cells.filter(|cell| !varies(cell)).collect()
}

#[test]
fn endpoint_health() {
    for server in &pair() {
        let said = run(server, &["endpoint", "health", "-w", "json"], "");
        let mut json: Value = serde_json::from_str(&said.stdout).unwrap();
        json[0].as_object_mut().unwrap().remove("took");
        let want = serde_json::json!([{ "endpoint": server.url(), "health": true }]);
        let given = said.stdout.contains("CLIENT");
        let want = if given {
            serde_json::json!([{ "endpoint": "http://CLIENT", "health": true }])
        } else {
            want
        };
        assert_eq!(json, want, "{}", said.all());
    }
}

//! The recorded answers of etcd 3.4's gateway, replayed in their order under `/v3beta`, where we
//! answer in that manner. What concerns calls of later issues is left out, and L003, where 3.4 has no
//! `/v3alpha` and we do: it would write where the record did not.

use std::fmt::Write as _;

use serde_json::Value;
use witan_e2e::{Kind, http, http::Response};

use super::start;

const RECORD: &str = include_str!("../../data/v2-pairs.jsonl");

/// The parts of the record that concern calls which are served: first and last id.
const PARTS: [(&str, &str); 4] = [
    ("L001", "L002"),
    ("L004", "L035"),
    ("L049", "L054"),
    ("L093", "L095"),
];

/// Ids of the recorded cluster and member.
const RECORDED_IDS: [&str; 2] = ["15875391935852295136", "7383792418829112008"];

/// Where we mean to answer otherwise, and why.
const DIFFERENCES: [(&str, &str); 4] = [
    (
        "L019",
        "a sort order that does not exist is refused, as by etcd 3.6",
    ),
    ("L049", "the member has URLs of its own"),
    (
        "L053",
        "the status has the version and the fields of etcd 3.6",
    ),
    (
        "L095",
        "there is nothing at the prefix itself, so nothing redirects there",
    ),
];

struct Exchange {
    id: String,
    method: String,
    target: String,
    body: Vec<u8>,
    status: u16,
    answer: String,
    content_type: String,
}

fn read() -> Vec<Exchange> {
    let lines = RECORD
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("the record is whole"));
    let concerns = |line: &Value| {
        let id = line["n"].as_str().expect("the record is whole");
        PARTS
            .iter()
            .any(|(first, last)| (*first..=*last).contains(&id))
    };
    let exchanges = lines.filter(concerns).map(|line| {
        let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
        let headers = line["headers"].as_array().expect("the record is whole");
        let content_type = headers.iter().find(|header| header[0] == "Content-Type");
        Exchange {
            id: text("n"),
            method: text("method"),
            target: text("path").replacen("/v3/", "/v3beta/", 1),
            body: expand(&text("n"), text("body")),
            status: text("status")[..3].parse().expect("the record is whole"),
            answer: text("resp"),
            content_type: content_type
                .map_or("", |header| {
                    header[1].as_str().expect("the record is whole")
                })
                .into(),
        }
    });
    exchanges.collect()
}

/// Two long bodies stand in the record by their length only.
fn expand(id: &str, body: String) -> Vec<u8> {
    match id {
        "L027" => {
            let op = r#"{"request_range": {"key": "YQ=="}}"#;
            format!(r#"{{"success": [{}]}}"#, vec![op; 129].join(", ")).into_bytes()
        }
        // 1.5 MiB of `x`
        "L028" => {
            let value = "eHh4".repeat((1 << 19) - 1) + "eHh4";
            format!(r#"{{"key": "Ymln", "value": "{value}"}}"#).into_bytes()
        }
        _ => body.into_bytes(),
    }
}

fn same(recorded: &Exchange, given: &Response, ids: &[String; 2]) -> bool {
    let answer = given
        .text()
        .replace(&ids[0], RECORDED_IDS[0])
        .replace(&ids[1], RECORDED_IDS[1]);
    given.status == recorded.status
        && given.header("content-type") == Some(&recorded.content_type)
        && answer == recorded.answer
}

#[test]
fn the_gateways_record_is_met() {
    let server = start(Kind::Witan);
    let header = server.http("POST", "/v3/maintenance/status", "{}").json();
    let ids =
        ["cluster_id", "member_id"].map(|id| header["header"][id].as_str().unwrap().to_owned());
    let (mut findings, mut asked) = (String::new(), 0);
    for recorded in read() {
        asked += 1;
        let (method, target) = (&recorded.method, &recorded.target);
        let given = http::try_once(&server.address(), method, target, &[], &recorded.body).unwrap();
        let (same, id) = (same(&recorded, &given, &ids), recorded.id.as_str());
        let listed = DIFFERENCES.iter().find(|(known, _)| *known == id);
        let finding = match (same, listed) {
            (true, None) | (false, Some(_)) => continue,
            (true, Some((_, reason))) => format!("does not differ, though {reason}"),
            (false, None) => format!("{} {}", given.status, given.text()),
        };
        writeln!(
            findings,
            "{id} {method} {target}\n  recorded {} {}\n  given {finding}",
            recorded.status, recorded.answer
        )
        .unwrap();
    }
    assert_eq!(asked, 43, "the record is whole");
    assert!(findings.is_empty(), "{findings}");
}

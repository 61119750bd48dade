//! Compares learners with etcd 3.6. Learners do not count for the quorum, so a single member can add, list, change and remove
//! them.

use serde_json::Value;
use witan_e2e::{Launch, Server, Tool, wait};

use super::pair;

const LEARNER: &str = "http://127.0.0.1:1";

fn run(server: &Server, args: &[&str]) -> (Option<i32>, String) {
    let said = Tool::Etcdctl36.run(&server.url(), args);
    // etcdctl logs its attempt before the error.
    let error = said.stderr.lines().last().unwrap_or_default();
    (said.code, said.stdout + error)
}

fn members(server: &Server) -> Vec<Value> {
    let (_, list) = run(server, &["member", "list", "-w", "json"]);
    let list: Value = serde_json::from_str(&list).expect("JSON");
    list["members"].as_array().expect("members").clone()
}

/// Returns the id of a server that is alone or first in the list.
fn own_id(server: &Server) -> u64 {
    members(server)[0]["ID"].as_u64().expect("an id")
}

/// Returns the learner's id, which depends on the second at which it was added.
fn learner(server: &Server) -> Option<u64> {
    let members = members(server);
    let learner = members.iter().find(|member| member["isLearner"] == true)?;
    learner["ID"].as_u64()
}

fn add(server: &Server, url: &str) -> (Option<i32>, String) {
    let urls = format!("--peer-urls={url}");
    run(server, &["member", "add", "new", "--learner", &urls])
}

/// Adds a learner whose id is greater than the member's, so that lists are ordered the same on both servers. Returns the
/// output, its URL and its id.
fn add_behind_own(server: &Server) -> ((Option<i32>, String), String, u64) {
    let own = own_id(server);
    for port in 1000..2000 {
        let url = format!("http://127.0.0.1:{port}");
        let said = add(server, &url);
        let id = learner(server).expect("it was added");
        if id > own {
            return (said, url, id);
        }
        run(server, &["member", "remove", &format!("{id:x}")]);
    }
    panic!("no id of a thousand is greater than {own:x}");
}

#[test]
fn learners_come_and_go_as_in_etcd() {
    let [ours, theirs] = pair().map(|server| {
        let (first, url, id) = add_behind_own(&server);
        let mut said = vec![first];
        let hex = format!("{id:x}");
        for format in ["simple", "json", "fields", "table", "protobuf"] {
            if format != "protobuf" {
                said.push(run(&server, &["member", "list", "-w", format]));
            }
        }
        // Within the same second, the id is the same too, and that error has priority.
        said.push(wait::until("the URL is what is refused", || {
            let refused = add(&server, &url);
            (!refused.1.contains("member ID already exist")).then_some(refused)
        }));
        said.push(add(&server, "http://127.0.0.1:2"));
        let moved = ["member", "update", &hex, "--peer-urls=http://127.0.0.1:9"];
        said.push(run(&server, &moved));
        said.push(run(&server, &["member", "list", "-w", "simple"]));
        said.push(run(&server, &["member", "promote", &hex]));
        said.push(run(&server, &["put", "a", "1"]));
        said.push(run(&server, &["get", "a"]));
        said.push(run(&server, &["member", "remove", &hex]));
        said.push(run(&server, &["member", "list", "-w", "simple"]));
        said.push(run(&server, &["member", "remove", &hex]));
        said.push(run(&server, &["member", "promote", &hex]));
        let plain = said.into_iter().map(|(code, text)| {
            let text = text.replace(&hex, "ID").replace(&id.to_string(), "ID");
            let text = text.replace(&url, "URL");
            (code, text)
        });
        plain.collect::<Vec<_>>()
    });
    assert_eq!(ours, theirs);
    let refusals: Vec<&str> = ours
        .iter()
        .filter(|said| said.0 != Some(0))
        .map(|said| &*said.1)
        .collect();
    assert_eq!(refusals.len(), 5, "{ours:#?}");
}

#[test]
fn the_number_of_learners_is_bounded_by_a_flag() {
    let server = Launch::witan().arg("--max-learners=2").start();
    assert_eq!(add(&server, LEARNER).0, Some(0));
    assert_eq!(add(&server, "http://127.0.0.1:2").0, Some(0));
    let (code, said) = add(&server, "http://127.0.0.1:3");
    assert_eq!(code, Some(1));
    assert_eq!(
        said,
        "Error: etcdserver: too many learner members in cluster"
    );
}

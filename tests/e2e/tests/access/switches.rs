//! `--enable-v2` and `--enable-v1`: a disabled dialect answers like an unknown path and proposes nothing.

use witan_api::access::{HTTP, Resource};
use witan_e2e::{Launch, Server, http::Response};

use crate::rows::TOKEN;

fn ask(server: &Server, method: &str, path: &str) -> Response {
    let path = path.replace("<token>", TOKEN);
    server.http(method, &path, "value=1")
}

/// Returns whether each route of these resources answers 404, like an unknown path.
fn is_gone(server: &Server, of: impl Fn(Resource) -> bool) -> bool {
    let rows = HTTP.iter().filter(|route| of(route.resource));
    let mut answers = rows
        .flat_map(|route| {
            route
                .methods
                .iter()
                .map(|(method, _)| (route.path, *method))
        })
        .map(|(path, method)| (ask(server, method, path), method));
    answers.all(|(answer, method)| {
        answer.status == 404 && (method == "HEAD" || answer.text() == "404 page not found\n")
    })
}

fn raft_index(server: &Server) -> String {
    let status = server.http("POST", "/v3/maintenance/status", "");
    status.json()["raftIndex"].to_string()
}

fn is_v2(resource: Resource) -> bool {
    matches!(
        resource,
        Resource::V2(_) | Resource::NewToken | Resource::Token
    )
}

#[test]
fn a_disabled_dialect_answers_like_an_unknown_path() {
    let mut server = Launch::witan().start();
    assert_eq!(ask(&server, "PUT", "/v2/keys/kept").status, 201);
    assert_eq!(ask(&server, "PUT", "/v1/keys/old").status, 200);

    server.add_args(["--enable-v1=false"]);
    server.terminate();
    server.start_again();
    assert!(is_gone(&server, |resource| resource == Resource::V1));
    assert_eq!(ask(&server, "GET", "/v2/keys/old").status, 200);
    assert_eq!(ask(&server, "GET", "/v2/members").status, 200);

    server.add_args(["--enable-v2=false"]);
    server.terminate();
    server.start_again();
    let before = raft_index(&server);
    assert!(is_gone(&server, |resource| resource == Resource::V1
        || is_v2(resource)));
    assert_eq!(raft_index(&server), before, "something was proposed");
    assert_eq!(ask(&server, "GET", "/version").status, 200);
    assert_eq!(ask(&server, "GET", "/health").status, 200);
}

#[test]
fn v1_requires_v2() {
    let server = Launch::witan().arg("--enable-v2=false").start();
    assert!(is_gone(&server, |resource| resource == Resource::V1
        || is_v2(resource)));
}

//! Changes of the member book that one member can judge alone, on witan and on etcd 3.4.

use witan_e2e::{
    Kind, Launch, Server,
    http::{JSON, Response},
};

fn put(server: &Server, id: &str, urls: &str) -> Response {
    let body = format!("{{\"peerURLs\":[{urls}]}}");
    server.http_with(&JSON, "PUT", &format!("/v2/members/{id}"), &body)
}

fn index(server: &Server) -> u64 {
    server.http("GET", "/v2/keys", "").etcd_index()
}

/// The only member: id and peer URLs.
fn member(server: &Server) -> (String, serde_json::Value) {
    let member = server.http("GET", "/v2/members", "").json()["members"][0].clone();
    let id = member["id"].as_str().expect("an id").to_owned();
    (id, member["peerURLs"].clone())
}

#[test]
fn peer_urls_can_be_changed() {
    const OTHER: &str = r#""http://127.0.0.1:2","http://127.0.0.1:1""#;
    let changed = [Kind::Witan, Kind::Etcd34].map(|kind| {
        let mut server = Launch::new(kind).start();
        let (id, own) = member(&server);
        let before = index(&server);
        let mut answers = Vec::new();
        for urls in [own[0].to_string().as_str(), OTHER, "", "\"http://a\""] {
            let answer = put(&server, &id, urls);
            answers.push((answer.status, answer.text(), index(&server) - before));
        }
        let unknown = put(&server, "1234", OTHER);
        answers.push((unknown.status, unknown.text(), index(&server) - before));
        assert_eq!(member(&server).0, id, "the id stays");
        if kind == Kind::Witan {
            let shown = member(&server);
            server.kill9();
            server.start_again();
            assert_eq!(member(&server), shown);
        }
        (answers, member(&server).1)
    });
    assert_eq!(changed[0], changed[1]);
    assert_eq!(changed[0].0[1].0, 204);
}

//! Requests of tests to a running server.

use super::Server;
use crate::{Tool, cluster, http, wait};

impl Server {
    /// Sends a request on a new connection. Panics if there is no complete response.
    pub fn http(&self, method: &str, target: &str, body: &str) -> http::Response {
        http::once(&self.address(), method, target, body)
    }

    /// Like [`Self::http`], with the header `Authorization` if `by` is given.
    pub fn http_as(
        &self,
        by: Option<&str>,
        method: &str,
        target: &str,
        body: &str,
    ) -> http::Response {
        let header = by.map(|value| ("Authorization", value));
        self.http_with(header.as_slice(), method, target, body)
    }

    /// Like [`Self::http`], with these headers.
    pub fn http_with(
        &self,
        headers: &[(&str, &str)],
        method: &str,
        target: &str,
        body: &str,
    ) -> http::Response {
        http::try_once(&self.address(), method, target, headers, body.as_bytes())
            .unwrap_or_else(|error| panic!("{method} {target}: {error}"))
    }

    /// Connects to the server. Panics if it does not listen.
    pub fn connect(&self) -> http::Connection {
        http::Connection::open(&self.address()).expect("the server listens")
    }

    /// Sends a request on a new connection. Returns the connection, from which the test reads the response. Panics if the server
    /// does not listen.
    pub fn send(&self, method: &str, target: &str, body: &str) -> http::Connection {
        let mut connection = self.connect();
        let sent = connection.send(method, target, &[], body.as_bytes());
        sent.expect("the server reads the request");
        connection
    }

    /// Logs a user in and returns the v3 token. Panics if the login fails.
    #[track_caller]
    pub fn token(&self, name: &str, password: &str) -> String {
        let user = format!(r#"{{"name":"{name}","password":"{password}"}}"#);
        let answer = self.v3("auth/authenticate", &user);
        answer["token"].as_str().expect("a token").to_owned()
    }

    /// Like [`Self::http`], but panics unless the response has this status.
    #[track_caller]
    pub fn answers(&self, status: u16, method: &str, target: &str, body: &str) -> http::Response {
        let answer = self.http(method, target, body);
        let text = answer.text();
        assert_eq!(answer.status, status, "{method} {target}: {text}");
        answer
    }

    /// Returns whether `/health` succeeds. 421 also counts: the server requires another host name (`--host-whitelist`).
    pub fn is_healthy(&self) -> bool {
        http::try_once(&self.address(), "GET", "/health", &[], b"")
            .is_ok_and(|answer| matches!(answer.status, 200 | 421))
    }

    /// Calls the v3 gateway and returns the response. `call` is the path below `/v3/`. Panics if the call is refused.
    #[track_caller]
    pub fn v3(&self, call: &str, body: &str) -> serde_json::Value {
        let answer = self.answers(200, "POST", &format!("/v3/{call}"), body);
        answer.json()
    }

    /// Calls the v3 gateway and returns the status and the response.
    pub fn try_v3(&self, call: &str, body: &serde_json::Value) -> (u16, serde_json::Value) {
        let answer = self.http("POST", &format!("/v3/{call}"), &body.to_string());
        (answer.status, answer.json())
    }

    /// Adds or removes a member (`verb`). Retries while members have not been connected for long enough. Panics if the change is
    /// refused for another reason.
    pub fn change_members(&self, verb: &str, body: &serde_json::Value) {
        wait::until(&format!("the cluster can {verb} a member"), || {
            let (status, answer) = self.try_v3(&format!("cluster/member/{verb}"), body);
            let unhealthy = answer["message"] == "etcdserver: unhealthy cluster";
            assert!(status == 200 || unhealthy, "{answer}");
            (!unhealthy).then_some(())
        });
    }

    /// Waits until the member's cluster has this version, which a leader sets after its start.
    pub fn wait_cluster_version(&self, version: &str) {
        wait::until_true(&format!("the cluster has version {version}"), || {
            self.http("GET", "/version", "").json()["etcdcluster"] == version
        });
    }

    /// Returns the member's status. Panics if the member does not answer.
    #[track_caller]
    pub fn status(&self) -> cluster::Status {
        cluster::status(self).expect("the member answers")
    }

    /// Adds v3 users (`NAME:PASSWORD`), grants `root` its role, and enables authentication. Panics if a call is refused.
    #[track_caller]
    pub fn require_users(&self, users: &[&str]) {
        for user in users {
            let (name, password) = user.split_once(':').expect("NAME:PASSWORD");
            let user = format!(r#"{{"name":"{name}","password":"{password}"}}"#);
            self.v3("auth/user/add", &user);
        }
        self.v3("auth/user/grant", r#"{"user":"root","role":"root"}"#);
        self.v3("auth/enable", "{}");
    }

    /// Runs a command of etcdctl 3.6 and returns its output. Panics if it fails.
    #[track_caller]
    pub fn etcdctl(&self, args: &[&str]) -> String {
        Tool::Etcdctl36.run(&self.url(), args).succeeded()
    }

    /// Returns the value of a series on `/metrics`, or the sum over all labels if `name` has no labels. Returns `None` if there
    /// is no such series. Panics if the value is not a number.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let page = self.http("GET", "/metrics", "").text();
        let lines = page.lines().filter_map(|line| line.rsplit_once(' '));
        let lines = lines.filter(|(series, _)| {
            let labels = series.strip_prefix(name);
            labels.is_some_and(|labels| labels.is_empty() || labels.starts_with('{'))
        });
        let values = lines.map(|(_, value)| value.parse::<f64>().expect("a number"));
        values.reduce(|sum, value| sum + value)
    }

    /// Returns the number of registered watchers of v2 and v1. Panics if the member does not report it.
    pub fn v2_watchers(&self) -> u64 {
        let stats = self.http("GET", "/v2/stats/store", "");
        stats.json()["watchers"].as_u64().expect("a number")
    }
}

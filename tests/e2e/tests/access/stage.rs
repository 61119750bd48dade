//! A server with users, keys, a lease and an election, and the credentials of each kind of caller.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use witan_api::access::{Access, AuthSwitches};
use witan_e2e::{
    Launch, Server,
    grpc::{connect, runtime},
    http::Response,
};

pub(crate) const ROOT: &str = "root";
pub(crate) const ROOT_PASSWORD: &str = "r";
const BOB: &str = "bob";
const BOB_PASSWORD: &str = "b";
pub(crate) const KEY: &str = "secret";
pub(crate) const OTHER_KEY: &str = "other";
pub(crate) const ELECTION: &str = "election";
pub(crate) const LEASE: i64 = 77;

#[derive(Clone, Copy, Debug)]
pub(crate) enum CallerKind {
    Anonymous,
    Invalid,
    /// A user without permissions.
    User,
    Root,
}

impl CallerKind {
    /// Returns whether such a caller has this access to a resource that is not its own.
    pub(crate) fn has(self, access: Access, on: AuthSwitches) -> bool {
        let has = match self {
            Self::Anonymous | Self::Invalid => false,
            Self::User => access == Access::V3User,
            Self::Root => true,
        };
        has || !access.needs_authentication(on)
    }
}

/// A server whose auth is restored after each call.
pub(crate) struct Stage {
    pub(crate) server: Server,
    pub(crate) on: AuthSwitches,
    pub(crate) runtime: tokio::runtime::Runtime,
    pub(crate) channel: tonic::transport::Channel,
    tokens: [String; 2],
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Shown {
    pub(crate) token: Option<String>,
    pub(crate) authorization: Option<String>,
}

impl Stage {
    /// Starts a server with all data and with auth as in `on`.
    pub(crate) fn set(on: AuthSwitches) -> Self {
        let server = Launch::witan()
            .arg("--bcrypt-cost=4")
            .arg("--enable-console")
            .start();
        let runtime = runtime();
        let channel = runtime.block_on(connect(&server.address()));
        let mut stage = Self { server, on, runtime, channel, tokens: Default::default() };
        stage.populate();
        stage.restore();
        stage
    }

    fn populate(&self) {
        let root = r#"{"user":"root","password":"r"}"#;
        self.v2("PUT", "/v2/auth/users/root", root);
        let bob = r#"{"user":"bob","password":"b"}"#;
        self.v2("PUT", "/v2/auth/users/bob", bob);
        self.v2("PUT", "/v2/keys/secret", "value=1");
        self.v3("auth/role/add", r#"{"name":"root"}"#);
        self.v3("auth/user/grant", r#"{"user":"root","role":"root"}"#);
        // By default, the guest may do everything.
        self.v2("PUT", "/v2/auth/enable", "");
        let guest = r#"{"role":"guest","revoke":{"kv":{"read":["/*"],"write":["/*"]}}}"#;
        let done = self.v2("PUT", "/v2/auth/roles/guest", guest);
        assert_eq!(done.status, 200, "{}", done.text());
        self.v2("DELETE", "/v2/auth/enable", "");
    }

    /// Returns the credentials that a caller of this kind sends.
    pub(crate) fn shown(&self, who: CallerKind) -> Shown {
        let [root, bob] = &self.tokens;
        let (token, pair) = match who {
            CallerKind::Anonymous => return Shown::default(),
            CallerKind::Invalid => ("wrong.1", "root:wrong".to_owned()),
            CallerKind::User => (bob.as_str(), format!("{BOB}:{BOB_PASSWORD}")),
            CallerKind::Root => (root.as_str(), format!("{ROOT}:{ROOT_PASSWORD}")),
        };
        Shown {
            token: Some(token.to_owned()),
            authorization: Some(format!("Basic {}", base64(&pair))),
        }
    }

    /// Recreates what a call may have removed: the lease with its keys, and the leader of the election.
    pub(crate) fn restock(&self) {
        let lease = format!(r#"{{"ID":{LEASE},"TTL":600}}"#);
        self.v3("lease/grant", &lease);
        for key in [KEY, OTHER_KEY, &format!("{ELECTION}/4d")] {
            let key = base64(key);
            let put = format!(r#"{{"key":"{key}","value":"MQ==","lease":{LEASE}}}"#);
            self.v3("kv/put", &put);
        }
    }

    /// Enables and disables auth as in `on`, because a call may have changed it.
    pub(crate) fn restore(&mut self) {
        self.log_in();
        let off = r#"{"enabled":false}"#;
        let said = self.v2("GET", "/v2/auth/enable", "").text();
        let v2_is = !said.starts_with(off);
        let v3_is = self.v3("auth/status", "").json()["enabled"] == true;
        if v3_is && !self.on.v3 {
            self.v3("auth/disable", "");
        } else if self.on.v3 && !v3_is {
            self.v3("auth/enable", "");
        }
        self.log_in();
        if v2_is != self.on.v2 {
            let method = if self.on.v2 { "PUT" } else { "DELETE" };
            self.v2(method, "/v2/auth/enable", "");
        }
        self.log_in();
        self.restock();
    }

    /// Logs in both users. Uses an invalid token while auth is disabled.
    fn log_in(&mut self) {
        self.tokens = [(ROOT, ROOT_PASSWORD), (BOB, BOB_PASSWORD)].map(|(name, password)| {
            let body = format!(r#"{{"name":"{name}","password":"{password}"}}"#);
            let answer = self.server.http("POST", "/v3/auth/authenticate", &body);
            let token = answer.json()["token"].as_str().map(str::to_owned);
            token.unwrap_or_else(|| "none.0".to_owned())
        });
    }

    /// Sends a v2 request as root.
    pub(crate) fn v2(&self, method: &str, path: &str, body: &str) -> Response {
        let shown = self.shown(CallerKind::Root);
        let authorization = shown.authorization.unwrap();
        self.server
            .http_as(Some(&authorization), method, path, body)
    }

    /// Calls the gateway as root.
    pub(crate) fn v3(&self, path: &str, body: &str) -> Response {
        let token = Some(self.tokens[0].as_str()).filter(|token| !token.is_empty());
        self.server
            .http_as(token, "POST", &format!("/v3/{path}"), body)
    }
}

fn base64(text: &str) -> String {
    STANDARD.encode(text)
}

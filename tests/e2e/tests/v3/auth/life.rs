//! Lifetime of credentials while they are not used, and passwords that never match.

use tonic::{Code, transport::Channel};
use witan_api::v3::{
    authpb::UserAddOptions,
    etcdserverpb::{
        AuthUserAddRequest, AuthUserChangePasswordRequest, AuthenticateRequest,
        auth_client::AuthClient, kv_client::KvClient,
    },
};
use witan_e2e::{Kind, Launch, Server, grpc, requests, wait};

use super::{populate, start};

struct Client {
    kv: KvClient<Channel>,
    auth: AuthClient<Channel>,
}

impl Client {
    async fn of(server: &Server) -> Self {
        let channel = grpc::connect(&server.address()).await;
        Self {
            kv: KvClient::new(channel.clone()),
            auth: AuthClient::new(channel),
        }
    }

    async fn token(&mut self, name: &str, password: &str) -> String {
        let request = AuthenticateRequest { name: name.into(), password: password.into() };
        let answer = self.auth.authenticate(request).await;
        answer.unwrap().into_inner().token
    }

    async fn get(&mut self, key: &'static str, token: &str) -> Result<i64, (Code, String)> {
        let range = requests::with_token(Some(token), requests::range(key, ""));
        let answer = self.kv.range(range).await;
        let answer = answer.map_err(|status| (status.code(), status.message().to_owned()));
        Ok(answer?.into_inner().count)
    }
}

fn invalid() -> Result<i64, (Code, String)> {
    let text = "etcdserver: invalid auth token".to_owned();
    Err((Code::Unauthenticated, text))
}

#[test]
fn auth_settings() {
    let server = Launch::witan()
        .arg("--auth-token-ttl=1")
        .arg("--bcrypt-cost=5")
        .start();
    populate(&server);
    grpc::runtime().block_on(async {
        let mut client = Client::of(&server).await;
        let token = client.token("alice", "a").await;
        assert_eq!(client.get("a", &token).await, Ok(1));
        // Only an unused token expires, so wait before the next use.
        wait::wall_time(std::time::Duration::from_millis(1100));
        assert_eq!(client.get("a", &token).await, invalid());
    });
}

/// The message about the long password comes from a library that etcd uses.
#[test]
fn invalid_passwords_and_hashes_fail_as_in_etcd() {
    let answers = [Kind::Witan, Kind::Etcd37].map(|kind| {
        let server = start(kind);
        grpc::runtime().block_on(async {
            let mut client = Client::of(&server).await;
            let add = |name: &str, password: &str| AuthUserAddRequest {
                name: name.into(),
                password: password.into(),
                ..AuthUserAddRequest::default()
            };
            let long = client.auth.user_add(add("long", &"x".repeat(73))).await;
            let long = long.unwrap_err();
            client.auth.user_add(add("user", "")).await.unwrap();
            let certified = AuthUserAddRequest {
                options: Some(UserAddOptions { no_password: true }),
                ..add("certified", "")
            };
            client.auth.user_add(certified).await.unwrap();
            let change = |name: &str| AuthUserChangePasswordRequest {
                name: name.into(),
                hashed_password: "no base64".into(),
                ..AuthUserChangePasswordRequest::default()
            };
            let hashed = client.auth.user_change_password(change("user")).await;
            let hashed = hashed.unwrap_err();
            let unknown = client.auth.user_change_password(change("nobody")).await;
            let unknown = unknown.unwrap_err();
            let certified = client.auth.user_change_password(change("certified"));
            certified.await.unwrap();
            // While auth is disabled, no token is checked.
            let put = requests::with_token(Some("nonsense"), requests::put("k", ""));
            client.kv.put(put).await.unwrap();
            let login = AuthenticateRequest::default();
            let off = client.auth.authenticate(login).await.unwrap_err();
            [long, hashed, unknown, off].map(|status| (status.code(), status.message().to_owned()))
        })
    });
    assert_eq!(answers[0], answers[1]);
}

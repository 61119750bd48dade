//! Simple tokens: every member accepts a token of one member.

use serde_json::{Value, json};
use tonic::{Status, transport::Channel};
use witan_api::v3::etcdserverpb::{RangeRequest, kv_client::KvClient};
use witan_e2e::{Cluster, Server, Tool, grpc, http, requests};

const MEMBERS: usize = 3;
const INVALID: &str = "invalid auth token";

/// Adds users root and alice, both with the role root, and enables auth.
fn enable(member: &Server) {
    member.v3("auth/user/add", r#"{"name":"alice","password":"pw"}"#);
    member.v3("auth/user/grant", r#"{"user":"alice","role":"root"}"#);
    member.require_users(&["root:pw"]);
}

/// Reads from the member's own state, so that only this member checks the token.
async fn use_at(channel: &Channel, token: &str) -> Result<impl Sized, Status> {
    let range = RangeRequest { serializable: true, ..requests::range("k", "") };
    let range = requests::with_token(Some(token), range);
    KvClient::new(channel.clone()).range(range).await
}

fn gateway(member: &Server, token: &str, path: &str, body: &Value) -> http::Response {
    member.http_as(Some(token), "POST", path, &body.to_string())
}

async fn use_everywhere(cluster: &Cluster, token: &str) {
    for member in cluster.members().iter().filter(|m| m.is_started()) {
        let channel = grpc::connect(&member.address()).await;
        use_at(&channel, token).await.expect("a valid token");
        let put = requests::with_token(Some(token), requests::put("k", ""));
        let answer = KvClient::new(channel).put(put).await;
        answer.expect("a valid token");
        let put = json!({"key": "aw==", "value": "aw=="});
        let answer = gateway(member, token, "/v3/kv/put", &put);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let range = json!({"key": "aw==", "serializable": true});
        let answer = gateway(member, token, "/v3/kv/range", &range);
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

#[test]
fn a_token_of_one_member_is_valid_on_all_even_when_the_leader_dies() {
    let mut cluster = Cluster::start(MEMBERS);
    let leader = cluster.leader();
    let survivor = cluster.follower();
    let mut tokens = Vec::new();
    grpc::runtime().block_on(async {
        enable(cluster.member(0));
        for member in cluster.members() {
            for name in ["root", "alice"] {
                // Use the token immediately, even on members that have not applied the login.
                let token = member.token(name, "pw");
                use_everywhere(&cluster, &token).await;
                tokens.push(token);
            }
        }
        cluster.member_mut(leader).kill9();
        for token in &tokens {
            use_everywhere(&cluster, token).await;
        }
        // The killed member did not see this login and learns of the token from the log.
        let later = cluster.member(survivor).token("alice", "pw");
        cluster.member_mut(leader).start_again();
        use_everywhere(&cluster, &later).await;
        let back = grpc::connect(&cluster.member(leader).address()).await;
        let made_up = "abcdefghijklmnop.18446744073709551615";
        let refused = use_at(&back, made_up).await.err().expect("a refusal");
        assert!(refused.message().contains(INVALID), "{refused}");
        tokens.push(later);
    });
    for member in cluster.members() {
        for line in member.log() {
            assert!(!tokens.iter().any(|token| line.contains(token)), "{line}");
        }
    }
    // etcdctl logs in at one endpoint and may continue at another.
    let urls: Vec<String> = cluster.members().iter().map(Server::url).collect();
    for tool in [Tool::Etcdctl36, Tool::Etcdctl34V3] {
        for _ in 0..MEMBERS {
            let put = tool.run(&urls.join(","), &["--user", "alice:pw", "put", "k", "v"]);
            assert_eq!(put.stdout, "OK\n", "{}", put.all());
        }
    }
}

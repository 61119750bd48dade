//! Log-ins while another connection sends wrong passwords, changed passwords, and tokens over HTTP/1.

use std::time::{Duration, Instant};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tonic::transport::Channel;
use witan_api::v3::etcdserverpb::{AuthenticateRequest, auth_client::AuthClient};
use witan_e2e::{
    Launch, Server,
    grpc::{connect, runtime},
};

/// Number of concurrent wrong passwords.
const CROWD: usize = 150;

/// Maximum duration of a right password among the wrong ones, in log-ins without load. Without fairness, it would wait for all
/// of them.
const HASHES_MAX: u32 = 50;

/// A cost at which most of a log-in is the hash.
const COST: &str = "--bcrypt-cost=9";

/// Starts a server with the user root and others. Auth of v3 and v2 is enabled.
fn start() -> Server {
    let server = Launch::witan().arg(COST).start();
    let names = ["root", "alice", "bob", "carol", "dave", "erin", "frank"];
    let users = names.map(|name| format!("{name}:right"));
    server.require_users(&users.each_ref().map(String::as_str));
    // By default, the guest may do everything.
    let guest = r#"{"role":"guest","revoke":{"kv":{"read":["/*"],"write":["/*"]}}}"#;
    let root = basic("root", "right");
    for (path, body) in [("enable", ""), ("roles/guest", guest)] {
        let done = server.http_as(Some(&root), "PUT", &format!("/v2/auth/{path}"), body);
        assert_eq!(done.status, 200, "{}", done.text());
    }
    server
}

fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
}

async fn log_in(channel: Channel, name: &str, password: &str) -> bool {
    let request = AuthenticateRequest { name: name.into(), password: password.into() };
    AuthClient::new(channel).authenticate(request).await.is_ok()
}

async fn time_of_log_in(channel: &Channel, name: &str) -> Duration {
    let begun = Instant::now();
    assert!(log_in(channel.clone(), name, "right").await, "{name}");
    begun.elapsed()
}

#[test]
fn a_right_password_does_not_wait_for_wrong_ones_of_another_connection() {
    let server = start();
    runtime().block_on(async {
        let (channel, own) = (
            connect(&server.address()).await,
            connect(&server.address()).await,
        );
        // Use the maximum, because the machine has other work too.
        let mut alone = Duration::ZERO;
        for name in ["bob", "erin", "frank"] {
            alone = alone.max(time_of_log_in(&own, name).await);
        }
        let mut wrong: FuturesUnordered<_> = (0..CROWD)
            .map(|_| log_in(channel.clone(), "alice", "wrong"))
            .collect();
        // When the first answer arrives, all requests have been sent.
        assert_eq!(wrong.next().await, Some(false));
        let (mut right, mut beside) = (Box::pin(time_of_log_in(&own, "alice")), None);
        while beside.is_none() {
            tokio::select! {
                time = &mut right => beside = Some(time),
                Some(answer) = wrong.next() => assert!(!answer),
            }
        }
        let left = wrong.len();
        assert!(left > CROWD / 4, "{left} of the crowd are left");
        let beside = beside.unwrap();
        assert!(beside < alone * HASHES_MAX, "{beside:?}, alone {alone:?}");
    });
}

#[test]
fn a_password_that_was_changed_is_wrong_at_once() {
    let server = start();
    let root = basic("root", "right");
    let users = |basic: &str| {
        let answer = server.http_as(Some(basic), "GET", "/v2/auth/users", "");
        answer.status
    };
    // Authenticate twice, because the second time may use a cached result.
    assert_eq!([users(&root), users(&root)], [200, 200]);
    let change = r#"{"user":"root","password":"other"}"#;
    let changed = server.http_as(Some(&root), "PUT", "/v2/auth/users/root", change);
    assert_eq!(changed.status, 200, "{}", changed.text());
    assert_eq!(users(&root), 401);
    assert_eq!(users(&basic("root", "other")), 200);
    runtime().block_on(async {
        let channel = connect(&server.address()).await;
        assert!(!log_in(channel.clone(), "root", "right").await);
        assert!(log_in(channel, "root", "other").await);
    });
}

/// Compares the minimum times of wrong passwords for a user and for an unknown name. Other work on the machine lengthens some
/// of the times.
#[test]
fn the_time_of_an_answer_does_not_tell_who_is_a_user() {
    let server = start();
    let least = |refused: &dyn Fn(&str, &str)| {
        let mut least = [Duration::MAX; 2];
        for at in 0..4 {
            for (name, least) in ["bob", "nobody"].into_iter().zip(&mut least) {
                let begun = Instant::now();
                refused(name, &format!("wrong{at}"));
                *least = begun.elapsed().min(*least);
            }
        }
        least
    };
    let runtime = runtime();
    let channel = runtime.block_on(connect(&server.address()));
    let of_grpc = least(&|name, password| {
        assert!(!runtime.block_on(log_in(channel.clone(), name, password)));
    });
    let of_http = least(&|name, password| {
        let basic = basic(name, password);
        let refused = server.http_as(Some(&basic), "GET", "/v2/keys/", "");
        assert_eq!(refused.status, 401);
    });
    for [known, unknown] in [of_grpc, of_http] {
        assert!(
            known < unknown * 3 && unknown < known * 3,
            "{known:?} {unknown:?}"
        );
    }
}

#[test]
fn a_token_proves_root_to_paths_of_http_as_well() {
    let server = start();
    let ask = |method: &str, path: &str, authorization: &str| {
        let body = if method == "PUT" {
            r#"{"Level":"info"}"#
        } else {
            ""
        };
        let answer = server.http_as(Some(authorization), method, path, body);
        answer.status
    };
    let [root, bob] = ["root", "bob"].map(|name| server.token(name, "right"));
    for (shown, status) in [
        (root.clone(), [204, 200, 200]),
        (format!("Bearer {root}"), [204, 200, 200]),
        (basic("root", "right"), [204, 200, 200]),
        (bob.clone(), [401, 401, 200]),
        (basic("bob", "right"), [401, 401, 200]),
        (format!("{root}x"), [401; 3]),
        ("Basic !".to_owned(), [401; 3]),
    ] {
        let asked = [
            ask("PUT", "/config/local/log", &shown),
            ask("GET", "/debug/vars", &shown),
            ask("GET", "/v2/members", &shown),
        ];
        assert_eq!(asked, status, "{shown}");
    }
}

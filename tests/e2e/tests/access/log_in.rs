//! The duration of logins, and tokens over HTTP/1. `witan-auth` tests floods of passwords and changed passwords.

use std::time::{Duration, Instant};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::future::join_all;
use tonic::transport::Channel;
use witan_api::v3::etcdserverpb::{AuthenticateRequest, auth_client::AuthClient};
use witan_e2e::{
    Launch, Server,
    grpc::{connect, runtime},
    wait,
};

/// A bcrypt cost at which hashing takes most of the time of a login.
const COST: &str = "--bcrypt-cost=9";

/// Starts a server with the users root and bob. Auth of v3 and v2 is enabled.
fn start() -> Server {
    let server = Launch::witan().arg(COST).start();
    let names = ["root", "bob"];
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

/// Compares the minimum times of wrong passwords for a user and for an unknown name. Other work on the machine lengthens some
/// of the times.
#[test]
fn response_times_do_not_reveal_users() {
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
        let near = known < unknown * 3 && unknown < known * 3;
        assert!(near, "{known:?} {unknown:?}");
    }
}

/// Passwords above 72 bytes are never hashed, so a client can send many of them.
#[test]
fn wrong_log_ins_do_not_fill_the_log() {
    const WRONG: &str = "invalid authentication was requested";
    let server = start();
    let runtime = runtime();
    let channel = runtime.block_on(connect(&server.address()));
    let (name, longer) = ("\u{1}".repeat(4 << 10), "\u{1}".repeat(1 << 20));
    let password = "x".repeat(73);
    let skip = server.log().len();
    assert!(!runtime.block_on(log_in(channel.clone(), &longer, &password)));
    wait::until_true("the log counts omitted lines", || {
        let asked = [(); 50].map(|()| log_in(channel.clone(), &name, &password));
        let answers = runtime.block_on(join_all(asked));
        assert!(answers.iter().all(|served| !served));
        let log = server.log();
        let mut lines = log[skip..].iter().filter(|line| line.contains(WRONG));
        lines.any(|line| !line.contains("\"left_out\":0"))
    });
    let longest = server.log()[skip..].iter().map(String::len).max();
    assert!(longest.is_some_and(|bytes| bytes < 4 << 10), "{longest:?}");
}

#[test]
fn a_token_of_root_also_authorizes_http_paths() {
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

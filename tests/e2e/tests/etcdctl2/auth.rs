//! Users, roles and auth of v2: beside etcd, after a kill, and beside v3's.

use witan_e2e::Launch;

use crate::{pair, run, same};

#[test]
fn users_roles_and_auth() {
    let root = "root:pw";
    same(&[
        &["auth", "enable"],
        &["user", "list"],
        &["role", "list"],
        &["user", "add", "root:pw"],
        &["user", "add", "root:pw"],
        &["user", "add", "bob:secret"],
        &["user", "get", "bob"],
        &["role", "add", "app"],
        &["role", "add", "app"],
        &["role", "grant", "app", "--path", "/app/*", "--readwrite"],
        &["role", "grant", "app", "--path", "/app/*", "--read"],
        &["role", "grant", "app", "--path", "/one", "--read"],
        &["role", "get", "app"],
        &["user", "grant", "bob", "--roles", "app"],
        &["user", "grant", "bob", "--roles", "app"],
        &["user", "get", "bob"],
        &["user", "get", "root"],
        &["set", "/one", "1"],
        &["auth", "enable"],
        &["auth", "enable"],
        &["user", "list"],
        &["-u", root, "user", "list"],
        &["-u", root, "role", "list"],
        &["-u", root, "role", "get", "guest"],
        &["set", "/guest", "1"],
        &[
            "-u", root, "role", "revoke", "guest", "--path", "/*", "--write",
        ],
        &["set", "/guest", "2"],
        &["get", "/guest"],
        &["-u", "bob:secret", "set", "/app/a", "1"],
        &["-u", "bob:secret", "set", "/other", "1"],
        &["-u", "bob:secret", "get", "/one"],
        &["-u", "bob:secret", "set", "/one", "2"],
        &["-u", "bob:wrong", "get", "/one"],
        &["-u", "bob:secret", "ls", "--recursive", "/app"],
        &["-u", "bob:secret", "ls", "--recursive", "/one"],
        &["-u", "bob:secret", "user", "list"],
        &["-u", "bob:secret", "member", "remove", "1234"],
        &["-u", root, "role", "remove", "guest"],
        &["get", "/one"],
        &["-u", root, "user", "revoke", "bob", "--roles", "app"],
        &["-u", "bob:secret", "get", "/one"],
        &["-u", root, "user", "remove", "bob"],
        &["-u", root, "user", "remove", "bob"],
        &["-u", root, "user", "remove", "root"],
        &["-u", root, "role", "remove", "app"],
        &["-u", root, "role", "remove", "root"],
        &["auth", "disable"],
        &["-u", root, "auth", "disable"],
        &["-u", root, "auth", "disable"],
        &["-o", "extended", "get", "/one"],
        &["-o", "extended", "set", "/one", "3"],
    ]);
}

#[test]
fn users_outlive_a_kill_and_guard_every_dialect() {
    let mut server = Launch::witan().start();
    for args in [
        &["user", "add", "root:pw"][..],
        &["role", "add", "app"],
        &["role", "grant", "app", "--path", "/app/*", "--readwrite"],
        &["user", "add", "bob:secret"],
        &["user", "grant", "bob", "--roles", "app"],
        &["set", "/app/a", "1"],
        &["auth", "enable"],
        &["-u", "root:pw", "role", "remove", "guest"],
    ] {
        let said = run(&server, args);
        assert_eq!(said.code, Some(0), "{args:?}: {}", said.all());
    }
    server.kill9();
    server.start_again();
    let refused = run(&server, &["get", "/app/a"]);
    assert_ne!(refused.code, Some(0), "{}", refused.all());
    let served = run(&server, &["-u", "bob:secret", "get", "/app/a"]);
    assert_eq!(
        (served.code, served.stdout.trim()),
        (Some(0), "1"),
        "{}",
        served.all()
    );
    for (method, path, form) in [
        ("GET", "/v1/keys/app/a", ""),
        ("POST", "/v1/keys/app/a", "value=2"),
        ("DELETE", "/v1/keys/app/a", ""),
        ("GET", "/v1/watch/app/a", ""),
        ("GET", "/v2/keys/app/a?wait=true", ""),
        ("GET", "/v2/keys/app/a?quorum=true", ""),
        ("HEAD", "/v2/keys/app/a", ""),
        ("DELETE", "/v2/keys/app/a", ""),
    ] {
        assert_eq!(
            server.http(method, path, form).status,
            401,
            "{method} {path}"
        );
    }
    // v3 shares the users, so that it asks for root as well
    for (path, json) in [
        ("/v3/auth/user/add", r#"{"name":"eve","password":"x"}"#),
        (
            "/v3/auth/user/changepw",
            r#"{"name":"root","password":"x"}"#,
        ),
        ("/v3/auth/user/grant", r#"{"user":"bob","role":"root"}"#),
    ] {
        let said = server.http("POST", path, json);
        assert!(
            said.text().contains("user name is empty"),
            "{path}: {}",
            said.text()
        );
    }
}

#[test]
fn while_v3_asks_who_its_callers_are_its_users_are_guarded_in_v2() {
    let server = Launch::witan().start();
    let user = "/v2/auth/users/root";
    let body = r#"{"user":"root","password":"pw"}"#;
    server.answers(201, "PUT", user, body);
    server.v3("auth/enable", "{}");
    for (method, path) in [
        ("GET", "/v2/auth/users"),
        ("PUT", user),
        ("DELETE", user),
        ("PUT", "/v2/auth/enable"),
    ] {
        server.answers(401, method, path, body);
    }
    for (args, code) in [
        (["-u", "root:pw", "user", "get", "root"], Some(0)),
        (["-u", "root:no", "user", "get", "root"], Some(1)),
    ] {
        let said = run(&server, &args);
        assert_eq!(said.code, code, "{}", said.all());
    }
    // the key space of v2 has a switch of its own
    server.answers(201, "PUT", "/v2/keys/a", "value=1");
}

#[test]
fn patterns_see_a_path_as_it_was_sent() {
    let said = pair().map(|server| {
        for args in [
            &["user", "add", "root:pw"][..],
            &["set", "/d/k", "1"],
            &["set", "/f", "1"],
            &["auth", "enable"],
            &[
                "-u",
                "root:pw",
                "role",
                "revoke",
                "guest",
                "--path",
                "/*",
                "--readwrite",
            ],
            &[
                "-u", "root:pw", "role", "grant", "guest", "--path", "/d/*", "--read",
            ],
            &[
                "-u", "root:pw", "role", "grant", "guest", "--path", "/f", "--read",
            ],
        ] {
            let said = run(&server, args);
            assert_eq!(said.code, Some(0), "{args:?}: {}", said.all());
        }
        [
            "",
            "/",
            "/d",
            "/d/",
            "/d/k",
            "/d/k/",
            "/d/?recursive=true",
            "/d?recursive=true",
            "/f",
            "/f/",
            "/x",
        ]
        .map(|path| {
            (
                path,
                server.http("GET", &format!("/v2/keys{path}"), "").status,
            )
        })
    });
    assert_eq!(said[0], said[1]);
    assert!(said[0].contains(&("/d/", 200)) && said[0].contains(&("/d", 401)));
}

#[test]
fn invalid_bodies_are_refused_as_in_etcd() {
    let said = pair().map(|server| {
        [
            "[]",
            "null",
            "7",
            "{",
            "",
            r#"{"user":7}"#,
            r#"{"user":"b"}"#,
            r#"{"user":"a"} x"#,
        ]
        .map(|body| {
            let said = server.http("PUT", "/v2/auth/users/a", body);
            (said.status, said.text())
        })
    });
    assert_eq!(said[0], said[1]);
}

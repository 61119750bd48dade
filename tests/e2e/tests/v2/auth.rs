//! v2 users and roles that etcdctl 3.4 creates: after a kill, and with patterns.

use witan_e2e::{Kind, Launch, Server, Tool};

/// Runs etcdctl, which must succeed. Returns its output.
fn done(server: &Server, args: &[&str]) -> String {
    let said = Tool::Etcdctl34V2.run(&server.url(), args);
    assert_eq!(said.code, Some(0), "{args:?}: {}", said.all());
    said.stdout
}

#[test]
fn patterns_see_a_path_as_it_was_sent() {
    let said = [Kind::Witan, Kind::Etcd34].map(|kind| {
        let server = Launch::new(kind).start();
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
            done(&server, args);
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

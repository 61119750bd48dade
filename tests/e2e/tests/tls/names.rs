//! A certificate's common name as the user of a call, compared with etcd 3.7's.

use witan_e2e::{Kind, Tool, tool::CommandOutput, with_etcd};

use super::stage::Stage;

fn told(said: &CommandOutput) -> String {
    let error = said.stderr.lines().find(|line| line.starts_with("Error:"));
    let error = error.unwrap_or_default();
    format!("{:?} {}{error}", said.code, said.stdout)
}

#[test]
fn a_certificate_identifies_the_user_except_on_the_gateway() {
    let said = with_etcd(Kind::Etcd37, |kind| {
        let stage = Stage::mutual(kind, &[]);
        let [alice, root, nobody] = ["alice", "root", "nobody"].map(|name| stage.issue(name));
        for line in [
            "user add root:secret",
            "user grant-role root root",
            "user add alice --no-password",
            "role add reader",
            "role grant-permission reader read app",
            "user grant-role alice reader",
            "put app 1",
            "auth enable",
        ] {
            let args: Vec<&str> = line.split(' ').collect();
            stage.etcdctl(Some(&nobody), &args).succeeded();
        }
        let mut said = Vec::new();
        let get = ["get", "app"];
        let put = ["put", "app", "2"];
        for pair in [&alice, &root, &nobody] {
            for args in [&get[..], &put, &["user", "list"], &["auth", "status"]] {
                said.push(told(&stage.etcdctl(Some(pair), args)));
            }
        }
        // A token has priority over a certificate.
        let by_token = ["--user=root:secret", "put", "app", "3"];
        said.push(told(&stage.etcdctl(Some(&alice), &by_token)));
        let [cert, key] = root.paths();
        let shown = ["--cert", &cert, "--key", &key, "-d", r#"{"key":"YXBw"}"#];
        let refused = stage.curl(&shown, "/v3/kv/range").1;
        // etcd does not serve such a call (see docs/reference/differences.md).
        let expected = match kind {
            Kind::Witan => r#"{"code":3,"message":"etcdserver: user name is empty","error":"#,
            Kind::Etcd34 | Kind::Etcd36 | Kind::Etcd37 => {
                "CommonName of client sending a request against gateway"
            }
        };
        assert!(refused.starts_with(expected), "{refused}");
        said
    });
    assert_eq!(said[0], said[1]);
    let [ours, _] = said;
    assert!(ours[0].contains("app"), "{ours:#?}");
    assert!(ours[1].contains("permission denied"), "{ours:#?}");
}

#[test]
fn a_watch_from_before_auth_keeps_the_user_of_its_certificate() {
    let events = with_etcd(Kind::Etcd37, |kind| {
        let stage = Stage::mutual(kind, &[]);
        let [alice, root] = ["alice", "root"].map(|name| stage.issue(name));
        let [cert, key] = alice.paths();
        let files = [
            format!("--cacert={}", stage.ca),
            format!("--cert={cert}"),
            format!("--key={key}"),
        ];
        let [ca, cert, key] = files.each_ref().map(String::as_str);
        let args = [ca, cert, key, "watch", "--rev=1", "app"];
        let mut watch = Tool::Etcdctl36.follow(&stage.url(), &args);
        let mut event = || [(); 3].map(|()| watch.line());
        let run = |line: &str| {
            let args: Vec<&str> = line.split(' ').collect();
            stage.etcdctl(Some(&root), &args).succeeded();
        };
        run("put app 1");
        let before = event();
        for line in [
            "user add root --no-password",
            "user grant-role root root",
            "user add alice --no-password",
            "role add reader",
            "role grant-permission reader read app",
            "user grant-role alice reader",
            "auth enable",
            "put app 2",
        ] {
            run(line);
        }
        [before, event()]
    });
    assert_eq!(events[0], events[1]);
    let expected = ["1", "2"].map(|value| ["PUT", "app", value].map(|line| Some(line.to_owned())));
    assert_eq!(events[0], expected);
}

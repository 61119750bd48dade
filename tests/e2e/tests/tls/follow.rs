//! A cluster follows etcd over TLS as a user.

use witan_e2e::{Kind, Launch, Server, Tool, tool::witan, wait};

use super::stage::Stage;

fn source() -> (Stage, [String; 6]) {
    let source = Stage::mutual(Kind::Etcd37, &[]);
    source.server.etcdctl(&["put", "a", "1"]);
    source.server.require_users(&["root:secret"]);
    let [cert, key] = source.issue("follower").paths();
    let files = [("cacert", source.ca.clone()), ("cert", cert), ("key", key)];
    let files = files.map(|(name, path)| [format!("--from-{name}"), path]);
    (source, files.concat().try_into().expect("three pairs"))
}

fn member(source: &Stage, files: &[String], user: &[&str]) -> Server {
    let mut member = Launch::witan().prepare();
    member.add_args(["--from", &source.url()]);
    member.add_args(files);
    member.add_args(user.iter().copied());
    member
}

#[test]
fn a_source_that_does_not_know_the_client_is_not_followed() {
    let (source, files) = source();
    let right = ["--from-user", "root", "--from-password", "secret"];
    let wrong = ["--from-user", "root", "--from-password", "wrong"];
    for (files, user, said) in [
        (&files[..], wrong, "authentication failed"),
        (&files[2..], right, "certificate"),
        (&files[..2], right, "sent no snapshot"),
    ] {
        let mut member = member(&source, files, &user);
        member.start_unready_again();
        assert_eq!(member.wait_exit().code(), Some(1));
        member.wait_log(0, said);
    }
    let mut unverified = member(&source, &files[2..], &right);
    unverified.add_args(["--from-insecure-skip-tls-verify"]);
    unverified.start_again();
}

/// Clients log in to the member as they did to the source.
#[test]
fn a_source_with_tls_and_users_is_followed() {
    let (source, files) = source();
    // The flags are --from-cacert, --from-cert and --from-key.
    let user = ["--from-user", "root", "--from-password", "secret"];
    let mut member = member(&source, &files, &user);
    member.start_again();
    let put = ["put", "a", "2", "--user", "root:secret"];
    let said = Tool::Etcdctl37.run(&source.server.url(), &put);
    assert_eq!(said.stdout, "OK\n", "{}", said.all());
    let get = ["get", "a", "--user", "root:secret"];
    wait::until_true("the change is copied", || {
        Tool::Etcdctl37.run(&member.url(), &get).stdout == "a\n2\n"
    });
    for (method, path) in [
        ("GET", "/follow"),
        ("POST", "/follow/cut-over"),
        ("POST", "/follow/source-gone"),
    ] {
        member.answers(401, method, path, "");
    }
    let as_root = ["follow", "cut-over", "--user", "root:secret"];
    let cut_over = witan(&[&as_root[..], &["--endpoint", &member.url()]].concat());
    let said = &cut_over.stdout;
    assert!(said.starts_with("cut over at revision 3: "), "{cut_over:?}");
    let put = ["put", "a", "3", "--user", "root:secret"];
    assert_eq!(Tool::Etcdctl37.run(&member.url(), &put).stdout, "OK\n");
}

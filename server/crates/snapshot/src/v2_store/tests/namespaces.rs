//! Tests the import of members, users and roles.

use witan_etcd::RequestV2;
use witan_machine::{
    auth::{Auth, Role, User, path_permissions::PathPatterns},
    command::{ChangeMembers, ClusterVersion, PublishAttributes, UpdatePeerUrls},
    member::{Member, MemberId},
};

use super::{V2Change, V2Store, store};

#[test]
fn members_and_the_version_are_read() {
    let registry = store().members().unwrap();
    let id = 0x9e73_7feb_b6b9_9eee;
    let member = Member {
        id,
        name: "m0".into(),
        peer_urls: vec!["http://127.0.0.1:22380".into()],
        client_urls: vec!["http://127.0.0.1:22379".into()],
        ..Member::default()
    };
    assert_eq!(registry.by_id.get(&MemberId(id)), Some(&member));
    assert_eq!(registry.by_id.len(), 1);
    assert_eq!(registry.cluster_version, "3.4.0");
    assert!(registry.removed_ids.is_empty());
}

#[test]
fn members_are_added_changed_and_removed_as_in_etcd() {
    let mut store = store();
    let mut index = store.tree.index();
    let mut steps = |store: &V2Store| {
        let before = std::mem::replace(&mut index, store.tree.index());
        index - before
    };
    let urls = |url: &str| vec![url.to_owned()];
    let member = Member {
        id: 5,
        peer_urls: urls("http://a:1"),
        learner: true,
        ..Member::default()
    };
    let add = ChangeMembers { add: Some(member.clone()), ..ChangeMembers::default() };
    let publish = |client_url: &str| PublishAttributes {
        id: 5,
        name: "five".into(),
        client_urls: urls(client_url),
        ..PublishAttributes::default()
    };
    store.change_members(&add);
    assert_eq!(steps(&store), 1);
    assert_eq!(
        store.members().unwrap().by_id.get(&MemberId(5)),
        Some(&member)
    );
    store.change_members(&ChangeMembers { promote: 5, ..ChangeMembers::default() });
    store.set_peer_urls(&UpdatePeerUrls { id: 5, peer_urls: urls("http://b:1") });
    store.publish(&publish("http://c:1"));
    store.set_cluster_version(&ClusterVersion::of("3.5.0"));
    assert_eq!(steps(&store), 4);
    let registry = store.members().unwrap();
    let changed = Member {
        name: "five".into(),
        peer_urls: urls("http://b:1"),
        client_urls: urls("http://c:1"),
        id: 5,
        ..Member::default()
    };
    assert_eq!(registry.by_id.get(&MemberId(5)), Some(&changed));
    assert_eq!(registry.cluster_version, "3.5.0");
    let remove = ChangeMembers { remove: 5, ..ChangeMembers::default() };
    store.change_members(&remove);
    assert_eq!(steps(&store), 2);
    assert!(store.members().unwrap().removed_ids.contains(&MemberId(5)));
    // Try each change to a removed member.
    store.change_members(&remove);
    store.change_members(&add);
    store.set_peer_urls(&UpdatePeerUrls { id: 5, peer_urls: urls("http://d:1") });
    store.publish(&publish("http://d:1"));
    let attributes = RequestV2 {
        method: "PUT".into(),
        path: "/0/members/5/attributes".into(),
        val: r#"{"name":"five"}"#.into(),
        ..RequestV2::default()
    };
    store.apply(&attributes);
    assert_eq!(steps(&store), 0);
}

#[test]
fn v2_users_and_roles_are_merged_into_v3_users_and_roles() {
    let mut auth = Auth::default();
    assert_eq!(V2Store::default().import_auth(&mut auth), Ok(Vec::new()));
    assert!(!auth.path_auth_enabled());
    let mut with_hidden = store();
    let hidden = RequestV2 {
        method: "PUT".into(),
        path: "/2/users/_hidden".into(),
        val: "{}".into(),
        ..RequestV2::default()
    };
    with_hidden.apply(&hidden);
    assert_eq!(with_hidden.import_auth(&mut auth), Ok(Vec::new()));
    assert!(auth.path_auth_enabled() && !auth.enabled());
    let names: Vec<&str> = auth.users().map(|user| user.name.as_str()).collect();
    assert_eq!(names, ["_hidden", "ann", "bob", "root"]);
    let ann = auth.user("ann").unwrap();
    assert_eq!(ann.roles, ["reader"]);
    assert!(ann.password.starts_with(b"$2a$10$Zmfz"));
    let list = |names: &[&str]| names.iter().map(|&name| name.into()).collect();
    let reader = PathPatterns {
        read: list(&["/a", "/dir/*", "/queue*"]),
        write: list(&["/queue*"]),
    };
    assert_eq!(auth.patterns("reader"), Some(reader));
    let guest = PathPatterns { read: list(&["/*"]), write: Vec::new() };
    assert_eq!(auth.patterns("guest"), Some(guest));

    let ann = User {
        name: "ann".into(),
        password: "of v3".into(),
        roles: vec!["writer".into()],
        no_password: false,
    };
    let reader = Role { name: "reader".into(), permissions: Vec::new() };
    let mut auth = Auth::restored(true, 7, [ann], [reader]);
    let shared = store().import_auth(&mut auth).unwrap();
    assert_eq!(shared, ["reader", "ann"]);
    let ann = auth.user("ann").unwrap();
    assert_eq!(
        (&ann.password[..], &ann.roles[..]),
        (&b"of v3"[..], &["reader".to_owned(), "writer".into()][..])
    );
    assert_eq!((auth.enabled(), auth.revision()), (true, 7));
}

#[test]
fn requests_are_distinguished_by_namespace() {
    let change = |method: &str, path: &str, value: &str| {
        let request = RequestV2 {
            method: method.into(),
            path: path.to_owned().into(),
            val: value.to_owned().into(),
            ..RequestV2::default()
        };
        super::super::as_witan_change(&request)
    };
    let tree_path = |method, path| match change(method, path, "v") {
        Ok(V2Change::Tree(operation)) => format!("{operation:?}"),
        other => panic!("{other:?}"),
    };
    assert!(tree_path("PUT", "/1/a/b").contains(r#"path: b"/a/b""#));
    assert!(tree_path("POST", "/1").contains(r#"path: b"/", "#));
    assert!(tree_path("SYNC", "").starts_with("Expire"));
    let attributes = r#"{"name":"m","clientURLs":["http://c:1"]}"#;
    let publish = PublishAttributes {
        id: 0xab,
        name: "m".into(),
        client_urls: vec!["http://c:1".into()],
        ..PublishAttributes::default()
    };
    let path = "/0/members/ab/attributes";
    assert_eq!(
        change("PUT", path, attributes),
        Ok(V2Change::Publish(publish))
    );
    assert!(change("PUT", path, "{").is_err());
    let version = ClusterVersion::of("3.4.0");
    assert_eq!(
        change("PUT", "/0/version", "3.4.0"),
        Ok(V2Change::ClusterVersion(version))
    );
    assert_eq!(change("DELETE", "/2/users/ann", ""), Ok(V2Change::Auth));
    for path in ["/1/a", "/2/users/ann"] {
        assert_eq!(change("QGET", path, ""), Ok(V2Change::Nothing));
    }
}

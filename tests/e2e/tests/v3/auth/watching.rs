//! A watcher does not get events that its user is not allowed to read. Permissions are checked when it is created and after
//! each change of users and roles.

use witan_api::v3::etcdserverpb::WatchResponse;
use witan_e2e::{
    Kind, Server, grpc,
    watching::{Watching, create, from},
};

use super::{populate, start};

const DENIED: &str = "rpc error: code = PermissionDenied desc = etcdserver: permission denied";

/// Opens a stream and creates its first watcher, because etcd answers nothing before then.
async fn begin(
    server: &Server,
    user: Option<(&str, &str)>,
    (key, range_end): (&str, &str),
) -> (Watching, WatchResponse) {
    let channel = grpc::connect(&server.address()).await;
    let token = user.map(|(name, password)| server.token(name, password));
    let first = create(from(key, range_end, 0));
    let mut watch = Watching::open_with(&channel, token.as_deref(), first).await;
    let created = watch.next().await;
    (watch, created)
}

async fn add(watch: &mut Watching, key: &str, range_end: &str) -> WatchResponse {
    watch.send(create(from(key, range_end, 0))).await;
    watch.next().await
}

/// etcd once treated an open end as a single key (GHSA-xg4h-6gfc-h4m8).
#[test]
fn only_permitted_ranges_are_watched() {
    let answers = [Kind::Witan, Kind::Etcd37].map(|kind| {
        let server = start(kind);
        populate(&server);
        grpc::runtime().block_on(async {
            let alice = Some(("alice", "a"));
            let (mut watch, first) = begin(&server, alice, ("a", "\0")).await;
            let mut seen = vec![first];
            for (key, end) in [("", "\0"), ("a", "f"), ("x", ""), ("a", "e"), ("d", "")] {
                seen.push(add(&mut watch, key, end).await);
            }
            seen.push(begin(&server, None, ("a", "")).await.1);
            let told = |w: WatchResponse| (w.watch_id, w.created, w.canceled, w.cancel_reason);
            seen.into_iter().map(told).collect::<Vec<_>>()
        })
    });
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0][0].3, DENIED);
    assert_eq!(answers[0][4], (0, true, false, String::new()));
}

#[test]
fn a_watcher_that_loses_its_permission_is_canceled() {
    let server = start(Kind::Witan);
    populate(&server);
    grpc::runtime().block_on(async {
        let (mut watch, both) = begin(&server, Some(("alice", "a")), ("a", "e")).await;
        let one = add(&mut watch, "a", "").await;
        let root = |args: &[&str]| server.etcdctl(&[&["--user", "root:r"], args].concat());
        root(&["put", "d", "2"]);
        let seen = watch.next().await;
        assert_eq!((seen.watch_id, seen.events.len()), (both.watch_id, 1));
        root(&["role", "revoke-permission", "app", "c", "e"]);
        root(&["put", "d", "3"]);
        let cancelled = watch.next().await;
        assert_eq!(cancelled.watch_id, both.watch_id);
        assert!(cancelled.canceled && cancelled.events.is_empty());
        assert_eq!(cancelled.cancel_reason, DENIED);
        // The other watcher continues.
        root(&["put", "a", "9"]);
        let seen = watch.next().await;
        assert_eq!((seen.watch_id, seen.events.len()), (one.watch_id, 1));
        root(&["user", "delete", "alice"]);
        let cancelled = watch.next().await;
        assert_eq!(cancelled.watch_id, one.watch_id);
        assert!(cancelled.canceled);
    });
}

#[test]
fn a_watcher_from_before_auth_must_authenticate() {
    let server = start(Kind::Witan);
    grpc::runtime().block_on(async {
        let (mut watch, created) = begin(&server, None, ("a", "")).await;
        assert!(!created.canceled);
        populate(&server);
        let seen = watch.next().await;
        assert_eq!(seen.events.len(), 1, "populate puts it before auth is on");
        let cancelled = watch.next().await;
        assert!(cancelled.canceled, "{cancelled:?}");
        let reason = "rpc error: code = InvalidArgument desc = etcdserver: user name is empty";
        assert_eq!(cancelled.cancel_reason, reason);
    });
}

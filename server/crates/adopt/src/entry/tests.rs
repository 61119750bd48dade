//! Tests the conversion of etcd's log entries.

use witan_api::v3::{
    authpb,
    etcdserverpb::{
        AlarmRequest, AuthRoleGrantPermissionRequest, Compare, DeleteRangeRequest,
        LeaseGrantRequest, PutRequest, RangeRequest, RequestOp, TxnRequest, request_op::Request,
    },
};
use witan_etcd::raft_internal::RequestHeader;
use witan_machine::{
    StateMachine,
    kv::{KvCommand, Txn},
    lease::LeaseCommand,
    member::MemberId,
};

use super::*;

fn log(payload: EntryPayload) -> LogEntry {
    LogEntry { index: 7, term: 2, payload }
}

fn entry(request: InternalRaftRequest) -> Entry {
    let change = of(&log(EntryPayload::Request(Box::new(request))), 1).expect("a known change");
    match change {
        Change::Entry(entry) => *entry,
        Change::None | Change::PathAuth => panic!("not an entry"),
    }
}

#[test]
fn the_caller_is_the_user_that_etcd_recorded() {
    let put = PutRequest { key: "k".into(), ..PutRequest::default() };
    let header =
        |username: &str| RequestHeader { id: 1, username: username.into(), auth_revision: 3 };
    let of_user = |username| {
        entry(InternalRaftRequest {
            header: Some(header(username)),
            put: Some(put.clone()),
            ..InternalRaftRequest::default()
        })
    };
    assert_eq!(of_user("").caller, None);
    let caller = Caller { user: "anne".into(), revision: 3 };
    assert_eq!(of_user("anne").caller, Some(caller));
}

/// Witan's read limits apply only to its clients' requests. etcd has already executed this transaction.
#[test]
fn a_transaction_that_etcd_has_executed_has_no_read_limit() {
    let delete = DeleteRangeRequest { key: "a".into(), prev_kv: true, ..Default::default() };
    let op = |request| RequestOp { request: Some(request) };
    let inner = TxnRequest {
        failure: vec![op(Request::RequestDeleteRange(delete))],
        ..TxnRequest::default()
    };
    let outer = TxnRequest {
        success: vec![op(Request::RequestTxn(inner))],
        ..TxnRequest::default()
    };
    let converted = entry(InternalRaftRequest { txn: Some(outer), ..Default::default() });
    let Some(Command::Kv(KvCommand { operation: Some(KvOperation::Txn(txn)) })) = converted.command
    else {
        panic!("no transaction")
    };
    let Some(TxnOpKind::Txn(Txn { failure, bounded: false, .. })) = &txn.success[0].kind else {
        panic!("{txn:?}")
    };
    assert!(!txn.bounded);
    assert!(matches!(&failure[0].kind, Some(TxnOpKind::Delete(delete)) if !delete.bounded));
}

#[test]
fn a_lease_has_at_least_the_ttl_that_etcd_has_granted() {
    for (asked, granted) in [(1, 2), (60, 60)] {
        let grant = LeaseGrantRequest { id: 5, ttl: asked };
        let converted =
            entry(InternalRaftRequest { lease_grant: Some(grant), ..Default::default() });
        let grant = LeaseOperation::Grant(LeaseGrant { id: 5, ttl_s: granted });
        let command = LeaseCommand { operation: Some(grant) };
        assert_eq!(converted.command, Some(Command::Lease(command)));
    }
}

#[test]
fn reads_and_logins_change_nothing() {
    let asked = AlarmRequest::default();
    let unknown = AlarmRequest { action: 1, alarm: 99, ..asked };
    for request in [
        InternalRaftRequest { alarm: Some(asked), ..Default::default() },
        InternalRaftRequest { alarm: Some(unknown), ..Default::default() },
        InternalRaftRequest::default(),
    ] {
        let change = of(&log(EntryPayload::Request(Box::new(request))), 1);
        assert_eq!(change.expect("a known change"), Change::None);
    }
}

/// etcd accepts such values. In Witan's log, an unknown value means that a later release wrote the entry.
#[test]
fn unknown_values_are_converted_or_refused() {
    let compare = vec![Compare { result: 99, target: 99, ..Compare::default() }];
    let range = RangeRequest { sort_order: 99, sort_target: 99, ..RangeRequest::default() };
    let success = vec![RequestOp { request: Some(Request::RequestRange(range)) }];
    let txn = TxnRequest { compare, success, ..TxnRequest::default() };
    let txn = entry(InternalRaftRequest { txn: Some(txn), ..Default::default() });
    assert!(txn.command.is_some_and(|command| command.is_known()));
    let grant = |perm_type| {
        let perm = Some(authpb::Permission { perm_type, ..Default::default() });
        let grant = AuthRoleGrantPermissionRequest { perm, ..Default::default() };
        let request = InternalRaftRequest {
            auth_role_grant_permission: Some(grant),
            ..InternalRaftRequest::default()
        };
        of(&log(EntryPayload::Request(Box::new(request))), 1)
    };
    assert!(grant(2).is_ok());
    let refused = grant(99).expect_err("an unknown type");
    assert!(
        refused
            .to_string()
            .contains("permission of an unknown type"),
        "{refused}"
    );
}

/// etcd 3.4 logs the password, so all members must compute the same hash.
#[test]
fn a_password_in_the_log_gets_the_same_hash_at_each_member() {
    let hash = |index| password_hash("", "secret", index, 1).expect("a hash");
    let one = hash(7);
    assert_eq!(one, hash(7));
    assert!(one.starts_with(b"$2a$10$"), "{one:?}");
    assert_ne!(one, hash(8));
}

#[test]
fn members_are_added_changed_and_removed() {
    let mut machine = StateMachine::default();
    let mut change = |kind: ConfChangeKind, node_id, context: &str| {
        let change = ConfChange {
            kind: kind as i32,
            node_id,
            context: context.to_owned().into(),
            ..ConfChange::default()
        };
        let command = members(&change, 7).expect("a known change");
        machine.apply(&Entry { command: Some(command), ..Entry::default() });
        machine.members.clone()
    };
    let (added, learns) = (ConfChangeKind::AddNode, ConfChangeKind::AddLearnerNode);
    let first = change(added, 1, r#"{"id":1,"peerURLs":["http://a:1"],"name":"a"}"#);
    assert_eq!(first.by_id[&MemberId(1)].peer_urls, ["http://a:1"]);
    let learner = r#"{"id":2,"peerURLs":["http://b:1"],"isLearner":true,"isPromote":false}"#;
    assert!(change(learns, 2, learner).by_id[&MemberId(2)].learner);
    let promoted = r#"{"id":2,"peerURLs":null,"isPromote":true}"#;
    let voter = change(added, 2, promoted);
    assert!(!voter.by_id[&MemberId(2)].learner);
    assert_eq!(voter.by_id[&MemberId(2)].peer_urls, ["http://b:1"]);
    let moved = r#"{"id":2,"peerURLs":["http://c:1"]}"#;
    let moved = change(ConfChangeKind::UpdateNode, 2, moved);
    assert_eq!(moved.by_id[&MemberId(2)].peer_urls, ["http://c:1"]);
    let left = change(ConfChangeKind::RemoveNode, 1, "");
    assert!(left.removed_ids.contains(&MemberId(1)) && !left.by_id.contains_key(&MemberId(1)));
}

//! gRPC clients of our own: errors with code and text, limits, health, reflection, unknown methods.

use tonic::{Code, Request, Status, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::{
    v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    },
    v1alpha,
};
use witan_api::v3::etcdserverpb::{
    self as pb, PutRequest, RangeRequest, RequestOp, TxnRequest, cluster_client::ClusterClient,
    kv_client::KvClient, request_op::Request as Op,
};
use witan_e2e::{Kind, Server, grpc};

use super::{pair, start};

fn put(key: &str, value: &str) -> PutRequest {
    PutRequest {
        key: key.to_owned().into(),
        value: value.to_owned().into(),
        ..Default::default()
    }
}

fn op(request: Op) -> RequestOp {
    RequestOp { request: Some(request) }
}

fn success(ops: Vec<RequestOp>) -> TxnRequest {
    TxnRequest { success: ops, ..Default::default() }
}

/// How a call ended: its code, and the text of an error.
pub(super) fn outcome<T>(result: Result<T, Status>) -> (Code, String) {
    match result {
        Ok(_) => (Code::Ok, String::new()),
        Err(status) => (status.code(), status.message().to_owned()),
    }
}

/// Runs the calls on both servers; what comes out must be the same, and is what `expect` says.
fn both<F>(expect: &[(Code, &str)], calls: impl Fn(Channel) -> F)
where
    F: Future<Output = Vec<(Code, String)>>,
{
    let servers = pair();
    let [ours, theirs] = servers.each_ref().map(|server: &Server| {
        grpc::runtime().block_on(async { calls(grpc::connect(&server.address()).await).await })
    });
    assert_eq!(ours, theirs, "ours and etcd's");
    let expect: Vec<(Code, String)> = expect
        .iter()
        .map(|(code, text)| (*code, (*text).into()))
        .collect();
    assert_eq!(ours, expect);
}

const KEYS_REFUSED: &[(Code, &str)] = &[
    (Code::InvalidArgument, "etcdserver: key is not provided"),
    (Code::InvalidArgument, "etcdserver: value is provided"),
    (Code::InvalidArgument, "etcdserver: lease is provided"),
    (Code::InvalidArgument, "etcdserver: key not found"),
    (Code::NotFound, "etcdserver: requested lease not found"),
    (Code::InvalidArgument, "etcdserver: request is too large"),
    (
        Code::ResourceExhausted,
        "grpc: received message larger than max (3145736 vs. 2097152)",
    ),
    (Code::InvalidArgument, "etcdserver: invalid sort option"),
    (
        Code::OutOfRange,
        "etcdserver: mvcc: required revision is a future revision",
    ),
    (Code::InvalidArgument, "etcdserver: key is not provided"),
    (Code::InvalidArgument, "etcdserver: key is not provided"),
];

#[test]
fn puts_and_ranges_are_refused_in_etcds_words() {
    both(KEYS_REFUSED, |channel| async move {
        let mut kv = KvClient::new(channel);
        let range = RangeRequest { key: "a".into(), ..Default::default() };
        vec![
            outcome(kv.put(put("", "v")).await),
            outcome(
                kv.put(PutRequest { ignore_value: true, ..put("a", "v") })
                    .await,
            ),
            outcome(
                kv.put(PutRequest { ignore_lease: true, lease: 1, ..put("a", "v") })
                    .await,
            ),
            outcome(
                kv.put(PutRequest { ignore_value: true, ..put("a", "") })
                    .await,
            ),
            outcome(kv.put(PutRequest { lease: 1, ..put("a", "v") }).await),
            outcome(kv.put(put("a", &"v".repeat(1_572_864))).await),
            outcome(kv.put(put("a", &"v".repeat(3 << 20))).await),
            outcome(
                kv.range(RangeRequest { sort_order: 9, ..range.clone() })
                    .await,
            ),
            outcome(
                kv.range(RangeRequest { revision: 99, ..range.clone() })
                    .await,
            ),
            outcome(kv.range(RangeRequest::default()).await),
            outcome(kv.delete_range(pb::DeleteRangeRequest::default()).await),
        ]
    });
}

const DUPLICATE: (Code, &str) = (
    Code::InvalidArgument,
    "etcdserver: duplicate key given in txn request",
);
const OPS: (Code, &str) = (
    Code::InvalidArgument,
    "etcdserver: too many operations in txn request",
);
const TXNS_REFUSED: &[(Code, &str)] = &[
    DUPLICATE,
    DUPLICATE,
    DUPLICATE,
    (Code::Ok, ""),
    OPS,
    OPS,
    (Code::InvalidArgument, "etcdserver: key not found"),
    (Code::InvalidArgument, "etcdserver: key is not provided"),
    (
        Code::OutOfRange,
        "etcdserver: mvcc: required revision is a future revision",
    ),
    (
        Code::OutOfRange,
        "etcdserver: mvcc: required revision is a future revision",
    ),
    (Code::NotFound, "etcdserver: requested lease not found"),
];

#[test]
fn transactions_are_refused_in_etcds_words() {
    both(TXNS_REFUSED, |channel| async move {
        let mut kv = KvClient::new(channel);
        let a = || op(Op::RequestPut(put("a", "1")));
        let delete = |key: &str, end: &str| {
            let (key, range_end) = (key.to_owned().into(), end.to_owned().into());
            let request = pb::DeleteRangeRequest { key, range_end, ..Default::default() };
            op(Op::RequestDeleteRange(request))
        };
        let nested = |success: Vec<RequestOp>, failure: Vec<RequestOp>| {
            op(Op::RequestTxn(TxnRequest {
                success,
                failure,
                ..Default::default()
            }))
        };
        let future = || {
            let range = RangeRequest { key: "a".into(), revision: 99, ..Default::default() };
            op(Op::RequestRange(range))
        };
        let many = |count: i32| {
            (0..count)
                .map(|i| op(Op::RequestPut(put(&i.to_string(), ""))))
                .collect()
        };
        let leased = op(Op::RequestPut(PutRequest { lease: 5, ..put("l", "") }));
        let no_key = TxnRequest { compare: vec![pb::Compare::default()], ..Default::default() };
        vec![
            outcome(kv.txn(success(vec![a(), a()])).await),
            outcome(kv.txn(success(vec![delete("a", "b"), a()])).await),
            outcome(kv.txn(success(vec![nested(vec![], vec![a()]), a()])).await),
            outcome(
                kv.txn(success(vec![
                    nested(vec![a()], vec![a()]),
                    delete("b", "\0"),
                ]))
                .await,
            ),
            outcome(kv.txn(success(many(129))).await),
            outcome(kv.txn(success(vec![nested(many(128), vec![])])).await),
            outcome(kv.txn(success(vec![RequestOp { request: None }])).await),
            outcome(kv.txn(no_key).await),
            outcome(kv.txn(success(vec![future()])).await),
            outcome(kv.txn(success(vec![a(), future()])).await),
            outcome(kv.txn(success(vec![leased])).await),
        ]
    });
}

const CHANGES_REFUSED: &[(Code, &str)] = &[
    (Code::Ok, ""),
    (
        Code::OutOfRange,
        "etcdserver: mvcc: required revision has been compacted",
    ),
    (
        Code::OutOfRange,
        "etcdserver: mvcc: required revision is a future revision",
    ),
    (
        Code::InvalidArgument,
        "etcdserver: given member URLs are invalid",
    ),
    (
        Code::InvalidArgument,
        "etcdserver: given member URLs are invalid",
    ),
    (
        Code::FailedPrecondition,
        "etcdserver: Peer URLs already exists",
    ),
    (Code::NotFound, "etcdserver: member not found"),
    (Code::NotFound, "etcdserver: member not found"),
    (Code::NotFound, "etcdserver: member not found"),
    (
        Code::FailedPrecondition,
        "etcdserver: can only promote a learner member",
    ),
    (
        Code::Unknown,
        "etcdserver: re-configuration failed due to not enough started members",
    ),
];

#[test]
fn compaction_and_membership_are_refused_in_etcds_words() {
    both(CHANGES_REFUSED, |channel| async move {
        let mut kv = KvClient::new(channel.clone());
        let mut cluster = ClusterClient::new(channel);
        let add =
            |url: &str| pb::MemberAddRequest { peer_urls: vec![url.into()], is_learner: false };
        let compact = |revision| pb::CompactionRequest { revision, physical: false };
        let list = cluster
            .member_list(pb::MemberListRequest { linearizable: true })
            .await
            .unwrap();
        let own = list.into_inner().members[0].id;
        vec![
            outcome(kv.compact(compact(1)).await),
            outcome(kv.compact(compact(1)).await),
            outcome(kv.compact(compact(99)).await),
            outcome(cluster.member_add(pb::MemberAddRequest::default()).await),
            outcome(cluster.member_add(add("http://127.0.0.1:1/path")).await),
            outcome(cluster.member_add(add(super::PEER)).await),
            outcome(
                cluster
                    .member_remove(pb::MemberRemoveRequest { id: 1 })
                    .await,
            ),
            outcome(
                cluster
                    .member_update(pb::MemberUpdateRequest { id: 1, ..Default::default() })
                    .await,
            ),
            outcome(
                cluster
                    .member_promote(pb::MemberPromoteRequest { id: 1 })
                    .await,
            ),
            outcome(
                cluster
                    .member_promote(pb::MemberPromoteRequest { id: own })
                    .await,
            ),
            outcome(
                cluster
                    .member_remove(pb::MemberRemoveRequest { id: own })
                    .await,
            ),
        ]
    });
}

#[test]
fn unknown_methods_and_services_are_named() {
    let expect = [
        (
            Code::Unimplemented,
            "unknown method Nope for service etcdserverpb.KV",
        ),
        (Code::Unimplemented, "unknown service etcdserverpb.Nope"),
    ];
    both(&expect, |channel| async move {
        let mut outcomes = Vec::new();
        for path in ["/etcdserverpb.KV/Nope", "/etcdserverpb.Nope/Range"] {
            let mut client = tonic::client::Grpc::new(channel.clone());
            client.ready().await.unwrap();
            let codec = tonic_prost::ProstCodec::<RangeRequest, pb::RangeResponse>::default();
            let request = Request::new(RangeRequest::default());
            outcomes.push(outcome(
                client.unary(request, path.parse().unwrap(), codec).await,
            ));
        }
        outcomes
    });
}

#[test]
fn health_is_served_for_the_server_only() {
    let expect = [(Code::Ok, ""), (Code::NotFound, "unknown service")];
    both(&expect, |channel| async move {
        let mut health = HealthClient::new(channel);
        let check = |service: &str| HealthCheckRequest { service: service.into() };
        let mut watch = health.watch(check("")).await.unwrap().into_inner();
        assert_eq!(watch.message().await.unwrap().unwrap().status, 1, "SERVING");
        let mut unknown = health.watch(check("nope")).await.unwrap().into_inner();
        assert_eq!(
            unknown.message().await.unwrap().unwrap().status,
            3,
            "SERVICE_UNKNOWN"
        );
        let served = health.check(check("")).await;
        assert_eq!(served.as_ref().unwrap().get_ref().status, 1, "SERVING");
        vec![outcome(served), outcome(health.check(check("nope")).await)]
    });
}

#[test]
fn a_client_that_wants_a_leader_gets_one() {
    both(&[(Code::Ok, "")], |channel| async move {
        let mut request = Request::new(put("a", "1"));
        request
            .metadata_mut()
            .insert("hasleader", "true".parse().unwrap());
        vec![outcome(KvClient::new(channel).put(request).await)]
    });
}

const SERVICES: [&str; 11] = [
    "etcdserverpb.Auth",
    "etcdserverpb.Cluster",
    "etcdserverpb.KV",
    "etcdserverpb.Lease",
    "etcdserverpb.Maintenance",
    "etcdserverpb.Watch",
    "grpc.health.v1.Health",
    "v3electionpb.Election",
    "v3lockpb.Lock",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
];

#[test]
fn reflection_lists_every_service_in_both_versions() {
    let server = start(Kind::Witan);
    grpc::runtime().block_on(async {
        let channel = grpc::connect(&server.address()).await;
        let ask = |request| ServerReflectionRequest {
            host: String::new(),
            message_request: Some(request),
        };
        let requests = vec![
            ask(MessageRequest::ListServices(String::new())),
            ask(MessageRequest::FileContainingSymbol(
                "etcdserverpb.KV".into(),
            )),
        ];
        let mut client = ServerReflectionClient::new(channel.clone());
        let answers = client
            .server_reflection_info(futures_util::stream::iter(requests))
            .await
            .unwrap();
        let mut answers = answers.into_inner();
        let first = answers.message().await.unwrap().unwrap().message_response;
        let Some(MessageResponse::ListServicesResponse(list)) = first else {
            panic!("{first:?}")
        };
        let names: Vec<&str> = list
            .service
            .iter()
            .map(|service| service.name.as_str())
            .collect();
        for service in &SERVICES[..10] {
            assert!(names.contains(service), "{service} is not among {names:?}");
        }
        let second = answers.message().await.unwrap().unwrap().message_response;
        assert!(
            matches!(second, Some(MessageResponse::FileDescriptorResponse(_))),
            "{second:?}"
        );

        let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(channel);
        let list = v1alpha::server_reflection_request::MessageRequest::ListServices(String::new());
        let ask =
            v1alpha::ServerReflectionRequest { host: String::new(), message_request: Some(list) };
        let answers = client
            .server_reflection_info(futures_util::stream::iter([ask]))
            .await
            .unwrap();
        assert!(answers.into_inner().message().await.unwrap().is_some());
    });
}

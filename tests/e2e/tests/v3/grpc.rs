//! Generic gRPC clients: health, unknown methods. `tests/clients` tests reflection.

use bytes::Bytes;
use tonic::{Code, Request, Status, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use witan_api::v3::etcdserverpb::{PutRequest, kv_client::KvClient};
use witan_e2e::grpc::Whole;

use super::both;

fn outcome<T>(result: Result<T, Status>) -> (Code, String) {
    match result {
        Ok(_) => (Code::Ok, String::new()),
        Err(status) => (status.code(), status.message().to_owned()),
    }
}

#[test]
fn unknown_methods_health_and_a_required_leader() {
    let expect = [
        (
            Code::Unimplemented,
            "unknown method Nope for service etcdserverpb.KV",
        ),
        (Code::Unimplemented, "unknown service etcdserverpb.Nope"),
        (Code::Ok, ""),
        (Code::NotFound, "unknown service"),
        (Code::Ok, ""),
    ];
    let told = both(|channel| async move {
        let mut outcomes = unknown(&channel).await;
        outcomes.extend(health(&channel).await);
        let mut request = Request::new(PutRequest { key: "a".into(), ..Default::default() });
        let wish = "true".parse().unwrap();
        request.metadata_mut().insert("hasleader", wish);
        outcomes.push(outcome(KvClient::new(channel).put(request).await));
        outcomes
    });
    assert_eq!(told, expect.map(|(code, text)| (code, text.to_owned())));
}

async fn unknown(channel: &Channel) -> Vec<(Code, String)> {
    let mut outcomes = Vec::new();
    for path in ["/etcdserverpb.KV/Nope", "/etcdserverpb.Nope/Range"] {
        let mut client = tonic::client::Grpc::new(channel.clone());
        client.ready().await.expect("a connection");
        let path = path.parse().expect("a path");
        let request = Request::new(Bytes::new());
        outcomes.push(outcome(client.unary(request, path, Whole).await));
    }
    outcomes
}

/// Calls the health service, which supports only the server as a whole.
async fn health(channel: &Channel) -> Vec<(Code, String)> {
    let mut health = HealthClient::new(channel.clone());
    let check = |service: &str| HealthCheckRequest { service: service.into() };
    let mut watch = health.watch(check("")).await.expect("a watch").into_inner();
    let told = watch.message().await.expect("an answer");
    assert_eq!(told.expect("no end").status, 1, "SERVING");
    let unknown = health.watch(check("nope")).await;
    let mut unknown = unknown.expect("a watch").into_inner();
    let told = unknown.message().await.expect("an answer");
    assert_eq!(told.expect("no end").status, 3, "SERVICE_UNKNOWN");
    let served = health.check(check("")).await;
    let status = served.as_ref().expect("an answer").get_ref().status;
    assert_eq!(status, 1, "SERVING");
    vec![outcome(served), outcome(health.check(check("nope")).await)]
}

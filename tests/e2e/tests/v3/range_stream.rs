//! RangeStream, which etcd 3.6 lacks. Its combined parts must equal the answer of Range.

use tonic::Code;
use witan_api::v3::etcdserverpb::{
    CompactionRequest, RangeRequest, kv_client::KvClient, range_request::SortOrder,
    range_request::SortTarget,
};
use witan_e2e::{Kind, grpc, requests};

use super::start;

const KEYS: usize = 24;
const VALUE_BYTES: usize = 512 << 10;

type Kv = KvClient<tonic::transport::Channel>;

async fn fill(kv: &mut Kv) {
    for at in 0..KEYS {
        let put = requests::put(format!("k{at:02}"), vec![b'v'; VALUE_BYTES]);
        kv.put(put).await.expect("the put is taken");
    }
}

fn everything() -> RangeRequest {
    requests::range("k", "l")
}

#[test]
fn a_stream_shows_one_revision_until_that_is_compacted() {
    let server = start(Kind::Witan);
    grpc::runtime().block_on(async {
        let channel = grpc::connect(&server.address()).await;
        let mut kv = KvClient::new(channel);
        fill(&mut kv).await;
        let mut streams = Vec::new();
        for _ in 0..2 {
            let mut stream = kv.range_stream(everything()).await.unwrap().into_inner();
            let first = stream.message().await.unwrap().unwrap();
            let keys = first.range_response.unwrap().kvs.len();
            assert!(keys < KEYS, "the client has read one part of many");
            streams.push((stream, keys));
        }
        let delete = requests::delete("k", "l");
        let deleted = kv.delete_range(delete).await.unwrap().into_inner();
        let revision = deleted.header.unwrap().revision;
        let [(mut stream, mut keys), (mut other, _)] = streams.try_into().expect("two");
        let mut last = None;
        while let Some(part) = stream.message().await.unwrap() {
            let part = part.range_response.unwrap();
            keys += part.kvs.len();
            last = part.header.map(|header| (header.revision, part.count));
        }
        assert_eq!(keys, KEYS);
        assert_eq!(last, Some((revision - 1, KEYS as i64)));
        let compact = CompactionRequest { revision, physical: true };
        kv.compact(compact).await.unwrap();
        // Parts may still be in transit.
        let ended = loop {
            match other.message().await {
                Ok(part) => assert!(part.is_some(), "the whole range in spite of the compaction"),
                Err(status) => break status,
            }
        };
        assert_eq!(ended.code(), Code::OutOfRange, "{ended}");
    });
}

#[test]
fn unsupported_options_of_a_stream_are_refused() {
    let server = start(Kind::Witan);
    grpc::runtime().block_on(async {
        let mut kv = KvClient::new(grpc::connect(&server.address()).await);
        let sorts = "RangeStream does not support custom sort orders";
        let filters = "RangeStream does not support revision filters";
        for (request, code, text) in [
            (
                RangeRequest { sort_order: SortOrder::Descend.into(), ..everything() },
                Code::Unimplemented,
                sorts,
            ),
            (
                RangeRequest {
                    sort_target: SortTarget::Mod.into(),
                    sort_order: SortOrder::Ascend.into(),
                    ..everything()
                },
                Code::Unimplemented,
                sorts,
            ),
            (
                RangeRequest { min_mod_revision: 1, ..everything() },
                Code::Unimplemented,
                filters,
            ),
            (
                RangeRequest { revision: 100, ..everything() },
                Code::OutOfRange,
                "etcdserver: mvcc: required revision is a future revision",
            ),
            (
                RangeRequest::default(),
                Code::InvalidArgument,
                "etcdserver: key is not provided",
            ),
        ] {
            let refused = kv.range_stream(request.clone()).await.expect_err("refused");
            assert_eq!(
                (refused.code(), refused.message()),
                (code, text),
                "{request:?}"
            );
        }
    });
}

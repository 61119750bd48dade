//! Refusals of RangeStream. `server/crates/v3/src/range_stream.rs` tests its parts.

use tonic::Code;
use witan_api::v3::etcdserverpb::{
    RangeRequest, kv_client::KvClient, range_request::SortOrder, range_request::SortTarget,
};
use witan_e2e::{Kind, grpc, requests};

use super::start;

fn everything() -> RangeRequest {
    requests::range("k", "l")
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
            let seen = (refused.code(), refused.message());
            assert_eq!(seen, (code, text), "{request:?}");
        }
    });
}

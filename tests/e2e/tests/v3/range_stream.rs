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
        let sorts = (Code::Unimplemented, sorts);
        let filters = "RangeStream does not support revision filters";
        let filters = (Code::Unimplemented, filters);
        let future = "etcdserver: mvcc: required revision is a future revision";
        let no_key = "etcdserver: key is not provided";
        let descending = RangeRequest { sort_order: SortOrder::Descend.into(), ..everything() };
        let by_revision = RangeRequest {
            sort_target: SortTarget::Mod.into(),
            sort_order: SortOrder::Ascend.into(),
            ..everything()
        };
        let filtered = RangeRequest { min_mod_revision: 1, ..everything() };
        let later = RangeRequest { revision: 100, ..everything() };
        for (request, refusal) in [
            (descending, sorts),
            (by_revision, sorts),
            (filtered, filters),
            (later, (Code::OutOfRange, future)),
            (RangeRequest::default(), (Code::InvalidArgument, no_key)),
        ] {
            let refused = kv.range_stream(request.clone()).await.expect_err("refused");
            let seen = (refused.code(), refused.message());
            assert_eq!(seen, refusal, "{request:?}");
        }
    });
}

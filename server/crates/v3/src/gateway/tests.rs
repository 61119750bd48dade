//! Tests of the charges for the responses of unary calls.

use witan_api::v3::{
    etcdserverpb::{RangeRequest, RangeResponse},
    mvccpb::KeyValue,
};
use witan_base::account::Resource;
use witan_machine::kv::Kv;
use witan_node::testing::NodeOfStates;

use super::*;
use crate::test_context::context;

const VALUE_BYTES: usize = 64 << 10;

#[test]
fn a_response_is_charged_or_refused() {
    actix_rt::System::new().block_on(async {
        let states = NodeOfStates::begin(&Kv::default());
        let ctx = context(states.node.clone());
        let run = async || {
            let (gateway_version, encoding) = (GatewayVersion::V3_6, Encoding::Base64);
            let call = UnaryCall {
                ctx: &ctx,
                json_format: JsonFormat { gateway_version, encoding },
                body: Vec::new(),
                message_max: 1 << 20,
            };
            let verb = async |_: &Context, _: RangeRequest| {
                let value = vec![b'v'; VALUE_BYTES].into();
                let kvs = vec![KeyValue { value, ..KeyValue::default() }];
                let response = RangeResponse { kvs, ..RangeResponse::default() };
                Ok::<_, RpcError>(WithPermit::without(response))
            };
            call.run(verb).await.expect("the call succeeds")
        };
        let text = run().await.expect("there is memory");
        assert!(text.bytes.len() > VALUE_BYTES && text.charge.is_some());
        drop(text);
        let answers = Resource::Answers;
        let all = ctx.account().hold(answers, answers.limit());
        assert!(all.is_some() && run().await.is_err());
        drop(all);
        assert!(run().await.is_ok(), "refusals leave no charge");
    });
}

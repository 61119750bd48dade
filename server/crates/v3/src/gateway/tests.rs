//! Tests of the limits on the requests of unary calls, and of the charges for their responses.

use witan_api::v3::{
    etcdserverpb::{RangeRequest, RangeResponse, TxnRequest, TxnResponse},
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
        // The account can still charge one and a half times the value: more than the JSON, but less than two encodings.
        let most = (answers.limit() - VALUE_BYTES * 3 / 2) / 2;
        let most = ctx.account().hold(answers, most);
        assert!(most.is_some() && run().await.is_err());
        drop(most);
        assert!(run().await.is_ok(), "refusals leave no charge");
    });
}

#[test]
fn a_transaction_with_too_many_operations_is_not_decoded() {
    actix_rt::System::new().block_on(async {
        let states = NodeOfStates::begin(&Kv::default());
        let ctx = context(states.node.clone());
        let max = txn::total_max(ctx.settings.max_txn_ops);
        let run = async |operations: usize, gateway_version: GatewayVersion| {
            let success = vec!["{}"; operations].join(",");
            let call = UnaryCall {
                ctx: &ctx,
                json_format: JsonFormat { gateway_version, encoding: Encoding::Base64 },
                body: format!(r#"{{"success":[{success}]}}"#).into_bytes(),
            };
            let verb = async |ctx: &Context, txn: TxnRequest| {
                assert_eq!(txn.success.len(), operations);
                assert!(ctx.account().charged(Resource::Requests) > operations);
                Ok::<_, RpcError>(WithPermit::without(TxnResponse::default()))
            };
            call.run(verb).await.map(|_| ())
        };
        for gateway_version in [GatewayVersion::V3_6, GatewayVersion::V3_4] {
            assert_eq!(run(max, gateway_version).await, Ok(()));
            let refusal = Err(GatewayError::from(RpcError::TooManyOps));
            // The second body is decoded on another thread.
            for operations in [max + 1, INLINE_BYTES] {
                assert_eq!(run(operations, gateway_version).await, refusal);
            }
        }
    });
}

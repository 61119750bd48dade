//! The public messages to the core's types and back. Keys and values are shared, never copied.

use witan_api::v3::{
    etcdserverpb::{self as pb, compare::TargetUnion, request_op::Request, response_op::Response},
    mvccpb,
};
use witan_replica::machine::kv::{self, OpReply};

pub(in crate::api) fn range(request: pb::RangeRequest) -> kv::Range {
    kv::Range {
        key: request.key,
        range_end: request.range_end,
        limit: request.limit,
        revision: request.revision,
        sort_order: request.sort_order,
        sort_target: request.sort_target,
        keys_only: request.keys_only,
        count_only: request.count_only,
        min_mod_revision: request.min_mod_revision,
        max_mod_revision: request.max_mod_revision,
        min_create_revision: request.min_create_revision,
        max_create_revision: request.max_create_revision,
    }
}

pub(in crate::api) fn put(request: pb::PutRequest) -> kv::Put {
    kv::Put {
        key: request.key,
        value: request.value,
        lease: request.lease,
        prev_kv: request.prev_kv,
        ignore_value: request.ignore_value,
        ignore_lease: request.ignore_lease,
    }
}

pub(in crate::api) fn delete_range(request: pb::DeleteRangeRequest) -> kv::DeleteRange {
    kv::DeleteRange {
        key: request.key,
        range_end: request.range_end,
        prev_kv: request.prev_kv,
        // without pairs to return it reads nothing, and may delete any number of keys
        bounded: request.prev_kv,
    }
}

/// The outermost transaction, and with it all that is nested, keeps to the limits of what it reads.
pub(in crate::api) fn txn(request: pb::TxnRequest) -> kv::Txn {
    kv::Txn {
        compare: request.compare.into_iter().map(compare).collect(),
        success: request.success.into_iter().map(op).collect(),
        failure: request.failure.into_iter().map(op).collect(),
        bounded: true,
    }
}

fn op(op: pb::RequestOp) -> kv::Op {
    let kind = op.request.map(|request| match request {
        Request::RequestRange(request) => kv::OpKind::Range(range(request)),
        Request::RequestPut(request) => kv::OpKind::Put(put(request)),
        Request::RequestDeleteRange(request) => kv::OpKind::Delete(delete_range(request)),
        Request::RequestTxn(request) => kv::OpKind::Txn(txn(request)),
    });
    kv::Op { kind }
}

fn compare(compare: pb::Compare) -> kv::Compare {
    let value = compare.target_union.map(|value| match value {
        TargetUnion::Version(version) => kv::TargetValue::Version(version),
        TargetUnion::CreateRevision(revision) => kv::TargetValue::Create(revision),
        TargetUnion::ModRevision(revision) => kv::TargetValue::Mod(revision),
        TargetUnion::Value(value) => kv::TargetValue::Value(value),
        TargetUnion::Lease(lease) => kv::TargetValue::Lease(lease),
    });
    kv::Compare {
        result: compare.result,
        target: compare.target,
        key: compare.key,
        range_end: compare.range_end,
        value,
    }
}

pub(super) fn key_value(kv: kv::KeyValue) -> mvccpb::KeyValue {
    mvccpb::KeyValue {
        key: kv.key,
        create_revision: kv.create_revision,
        mod_revision: kv.mod_revision,
        version: kv.version,
        value: kv.value,
        lease: kv.lease,
    }
}

fn key_values(kvs: Vec<kv::KeyValue>) -> Vec<mvccpb::KeyValue> {
    kvs.into_iter().map(key_value).collect()
}

type Header = Option<pb::ResponseHeader>;

pub(in crate::api) fn range_response(header: Header, reply: kv::RangeReply) -> pb::RangeResponse {
    pb::RangeResponse {
        header,
        kvs: key_values(reply.kvs),
        more: reply.more,
        count: reply.count,
    }
}

pub(in crate::api) fn put_response(header: Header, reply: kv::PutReply) -> pb::PutResponse {
    pb::PutResponse {
        header,
        prev_kv: reply.prev_kv.map(key_value),
    }
}

pub(in crate::api) fn delete_response(
    header: Header,
    reply: kv::DeleteReply,
) -> pb::DeleteRangeResponse {
    pb::DeleteRangeResponse {
        header,
        deleted: reply.deleted,
        prev_kvs: key_values(reply.prev_kvs),
    }
}

pub(in crate::api) fn txn_response(header: Header, reply: kv::TxnReply) -> pb::TxnResponse {
    let responses = reply.replies.into_iter().map(|(reply, revision)| {
        // an operation's own header carries nothing but the revision
        let header = Some(pb::ResponseHeader {
            revision,
            ..Default::default()
        });
        let response = match reply {
            OpReply::Range(reply) => Response::ResponseRange(range_response(header, reply)),
            OpReply::Put(reply) => Response::ResponsePut(put_response(header, reply)),
            OpReply::Delete(reply) => Response::ResponseDeleteRange(delete_response(header, reply)),
            OpReply::Txn(reply) => Response::ResponseTxn(txn_response(header, reply)),
        };
        pb::ResponseOp {
            response: Some(response),
        }
    });
    pb::TxnResponse {
        header,
        succeeded: reply.succeeded,
        responses: responses.collect(),
    }
}

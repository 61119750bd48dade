//! Calls to etcd's KV service.

use std::time::Duration;

use witan_api::v3::{
    MESSAGE_BYTES_MAX,
    etcdserverpb::{self as pb, kv_client::KvClient},
};

use super::{
    super::{Address, CallError},
    Call, GrpcMembers, succeed_if_already,
};

/// Timeout of a call that reads or writes keys.
const KEYS_TIMEOUT: Duration = Duration::from_secs(10);

impl GrpcMembers {
    /// Compacts the key space up to a revision. Succeeds if the revision is already compacted.
    pub(super) async fn compact(&self, of: &Address, revision: i64) -> Result<(), CallError> {
        let body = pb::CompactionRequest { revision, physical: false };
        let compacted = call!(self, of, "Compact": KvClient.compact(body), KEYS_TIMEOUT);
        succeed_if_already(compacted, "required revision has been compacted")
    }

    /// Reads keys. Times out after 10 s.
    pub async fn range(
        &self,
        of: &Address,
        body: pb::RangeRequest,
    ) -> Result<pb::RangeResponse, CallError> {
        let call = Call { name: "Range", timeout: KEYS_TIMEOUT };
        self.call(of, call, body, |channel, request| async move {
            let client = KvClient::new(channel);
            client
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .range(request)
                .await
        })
        .await
    }

    /// Executes a transaction. Times out after 10 s.
    pub async fn txn(
        &self,
        on: &Address,
        body: pb::TxnRequest,
    ) -> Result<pb::TxnResponse, CallError> {
        call!(self, on, "Txn": KvClient.txn(body), KEYS_TIMEOUT)
    }
}

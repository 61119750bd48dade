//! Keys, which the operator itself never reads: people do, by the plugin for kubectl. It asks for their hashes and compacts
//! them.

use std::time::Duration;

use witan_api::v3::etcdserverpb::{
    self as pb, kv_client::KvClient, maintenance_client::MaintenanceClient,
};

use super::{
    super::{Address, CallError, KeysHash},
    Call, GrpcMembers, unless,
};

/// How long a page of keys or a transaction may take.
const KEYS_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the hash of all keys may take.
const HASH_TIMEOUT: Duration = Duration::from_secs(60);

/// Bytes of an answer at most: a value may be larger than tonic's default.
const ANSWER_BYTES_MAX: usize = 64 << 20;

const RANGE: Call = Call { name: "Range", timeout: KEYS_TIMEOUT };
const TXN: Call = Call { name: "Txn", timeout: KEYS_TIMEOUT };

const COMPACT: Call = Call { name: "Compact", timeout: KEYS_TIMEOUT };

const HASH_KV: Call = Call { name: "HashKV", timeout: HASH_TIMEOUT };

impl GrpcMembers {
    /// Asks for the hash of all keys at a revision.
    pub(super) async fn hash_kv(&self, of: &Address, revision: i64) -> Result<KeysHash, CallError> {
        let body = pb::HashKvRequest { revision };
        let answer = self.call(of, HASH_KV, body, |channel, request| async move {
            MaintenanceClient::new(channel).hash_kv(request).await
        });
        let answer = answer.await?;
        Ok(KeysHash { hash: answer.hash, compact_revision: answer.compact_revision })
    }

    /// Compacts keys up to a revision. One that was compacted before is no error.
    pub(super) async fn compact(&self, of: &Address, revision: i64) -> Result<(), CallError> {
        let body = pb::CompactionRequest { revision, physical: false };
        let compacted = self.call(of, COMPACT, body, |channel, request| async move {
            KvClient::new(channel).compact(request).await
        });
        let already = "required revision has been compacted";
        unless(compacted.await.map(drop), already)
    }

    /// Reads keys.
    pub async fn range(
        &self,
        of: &Address,
        body: pb::RangeRequest,
    ) -> Result<pb::RangeResponse, CallError> {
        self.call(of, RANGE, body, |channel, request| async move {
            let client = KvClient::new(channel);
            client
                .max_decoding_message_size(ANSWER_BYTES_MAX)
                .range(request)
                .await
        })
        .await
    }

    /// Executes a transaction.
    pub async fn txn(
        &self,
        on: &Address,
        body: pb::TxnRequest,
    ) -> Result<pb::TxnResponse, CallError> {
        self.call(on, TXN, body, |channel, request| async move {
            KvClient::new(channel).txn(request).await
        })
        .await
    }
}

//! The pairs in the answer to a write are previous pairs, or the results of ranges in a transaction. They have only values that
//! clients wrote to their keys, even if the member that answers has read them from its disk.

use witan_machine::{
    Reply,
    kv::{KeyValue, KvReply, OpReply},
};

use super::{Fact, Invariant, Scene};
use crate::{adopted, oracle::End};

#[derive(Debug, Default)]
pub(super) struct PairsWritten;

impl Invariant for PairsWritten {
    fn observe(&mut self, fact: &Fact<'_>, scene: &Scene<'_>) -> Result<(), String> {
        if let Fact::Acknowledged { op } = fact
            && let End::Applied { outcome, .. } = &op.end
            && let Reply::Kv(Ok(KvReply::Op(reply))) = &outcome.reply
        {
            let mut pairs = Vec::new();
            collect(reply, &mut pairs);
            let unknown = |pair: &&&KeyValue| {
                scene.writer(pair).is_none() && !pair.key.starts_with(adopted::KEYS)
            };
            if let Some(pair) = pairs.iter().find(unknown) {
                return Err(format!(
                    "operation {} on m{} returned a value of {:?} that no client wrote",
                    op.id, op.member, pair.key
                ));
            }
        }
        Ok(())
    }
}

/// Adds the pairs in a reply to `pairs`.
fn collect<'a>(reply: &'a OpReply, pairs: &mut Vec<&'a KeyValue>) {
    match reply {
        OpReply::Range(range) => pairs.extend(&range.kvs),
        OpReply::Put(put) => pairs.extend(&put.prev_kv),
        OpReply::Delete(delete) => pairs.extend(&delete.prev_kvs),
        OpReply::Txn(txn) => txn
            .replies
            .iter()
            .for_each(|(reply, _)| collect(reply, pairs)),
    }
}

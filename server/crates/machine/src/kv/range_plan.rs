//! Ranges whose responses are too large to be in memory as a whole. A plan measures a response without reading its values,
//! except to sort by them. The caller then reads the pairs in parts from the same state.
//!
//! In key order, a plan contains only the key at which the next part begins. In any other order, the plan contains all keys.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    KeyRange, KeyValue, Kv, KvError, NextPart, Range, RangePartBounds, RangeReply, ReadBudget,
    SortTarget, ValueSource, ValueUse, history::BlockVersion, range::sorts,
};
use crate::revision::Revision;

/// The response to a range without the pairs, which [`Kv::planned_part`] reads.
#[derive(Clone, Debug)]
pub struct RangePlan {
    /// The response without its pairs.
    pub reply: RangeReply,
    /// The range in key order. If `keys` is `None`, the next part begins at the range's `key`.
    range: Range,
    /// The keys in the order of the response, or `None` for key order.
    keys: Option<Arc<Vec<Bytes>>>,
    /// Number of pairs in the response.
    pairs: usize,
    /// Number of pairs that were read.
    read: usize,
}

impl RangePlan {
    /// Returns whether all pairs were read.
    pub fn is_done(&self) -> bool {
        self.read >= self.pairs
    }

    /// Returns the size in bytes of the list of keys, without the keys' contents. Returns 0 for key order.
    pub fn list_bytes(&self) -> usize {
        let keys = self.keys.as_ref();
        keys.map_or(0, |keys| size_of_val(keys.as_slice()))
    }
}

/// Receives a pair of a planned response without its value, and the length of the value in bytes.
pub type MeasurePair<'a> = dyn FnMut(KeyValue, usize) + 'a;

impl Kv {
    /// Plans the response of [`Kv::range`], with the same errors. Passes each pair to `measure`. Reads values, possibly from
    /// disk, only to sort by them. Fails with `ResponseTooLarge` once the pairs to sort take more than `sorted_bytes` bytes of
    /// memory.
    pub fn plan_range(
        &self,
        range: &Range,
        sorted_bytes: u64,
        measure: &mut MeasurePair<'_>,
    ) -> Result<RangePlan, KvError> {
        self.check_range(range, self.revision)?;
        if range.count_only || sorts(range) {
            self.plan_sorted(range, sorted_bytes, measure)
        } else {
            self.plan_in_order(range, measure)
        }
    }

    /// Plans a response in key order. `check_range` must have accepted the range, which must request neither another order nor
    /// only the count.
    fn plan_in_order(
        &self,
        range: &Range,
        measure: &mut MeasurePair<'_>,
    ) -> Result<RangePlan, KvError> {
        let mut reads = ReadBudget::of_range(self.pacing);
        let at = self.past_revision(range);
        let value_use = ValueUse::of(range);
        let limit = usize::try_from(range.limit).ok();
        let limit = limit.filter(|limit| *limit > 0).unwrap_or(usize::MAX);
        let (mut pairs, mut more) = (0, false);
        let whole = self.visit_pairs(range, at, &mut reads, |(block, version), reads| {
            reads.hold()?;
            if pairs == limit {
                more = true;
                return Ok(());
            }
            pairs += 1;
            let value_len = value_use.value_len(version);
            reads.return_pair(version.key.len(), value_len)?;
            measure(block.without_value(version), value_len);
            Ok(())
        })?;
        let span = KeyRange::new(&range.key, &range.range_end);
        let count = match whole {
            Some(count) => count,
            None => self.count(&span, at, &mut reads)?,
        };
        let reply = RangeReply { more, count, ..RangeReply::default() };
        Ok(RangePlan { reply, range: range.clone(), keys: None, pairs, read: 0 })
    }

    /// Plans a response in another order, or a response that contains only the count. `check_range` must have accepted
    /// the range.
    fn plan_sorted(
        &self,
        range: &Range,
        sorted_bytes: u64,
        measure: &mut MeasurePair<'_>,
    ) -> Result<RangePlan, KvError> {
        let mut reads = ReadBudget::of_range(self.pacing).collecting(sorted_bytes);
        let at = self.past_revision(range);
        let by_value = ValueUse::of(range) == ValueUse::Compare;
        let listed = Range { keys_only: range.keys_only || !by_value, ..range.clone() };
        let RangeReply { kvs, more, count } = self.read(&listed, self.revision, &mut reads)?;
        let mut keys = Vec::with_capacity(kvs.len());
        for mut pair in kvs {
            let mut value_len = std::mem::take(&mut pair.value).len();
            if listed.keys_only && !range.keys_only {
                let found = self.live_version(&pair.key, at);
                value_len = found.map_or(0, |(_, version)| version.value_len);
                reads.return_pair(0, value_len)?;
            }
            keys.push(pair.key.clone());
            measure(pair, value_len);
        }
        Ok(RangePlan {
            reply: RangeReply { more, count, ..RangeReply::default() },
            range: Range { sort_target: SortTarget::Key as i32, ..range.clone() },
            pairs: keys.len(),
            keys: Some(Arc::new(keys)),
            read: 0,
        })
    }

    /// Reads the next pairs of a plan that was made on this state. Advances the plan unless the read fails. The result can be
    /// empty before the plan is done.
    pub fn planned_part(
        &self,
        plan: &mut RangePlan,
        bounds: &RangePartBounds,
        source: ValueSource,
    ) -> Result<Vec<KeyValue>, KvError> {
        let pairs = bounds.pairs.min(plan.pairs - plan.read);
        let bounds = RangePartBounds { pairs, ..*bounds };
        if plan.keys.is_some() {
            return self.listed_part(plan, &bounds, source);
        }
        let part = self.range_part(&plan.range, &bounds, source)?;
        plan.read += part.kvs.len();
        match part.next {
            NextPart::End => plan.read = plan.pairs,
            NextPart::Pair(key) | NextPart::Unread(key) => plan.range.key = key,
        }
        Ok(part.kvs)
    }

    /// Reads the next pairs in the order of a plan's keys.
    fn listed_part(
        &self,
        plan: &mut RangePlan,
        bounds: &RangePartBounds,
        source: ValueSource,
    ) -> Result<Vec<KeyValue>, KvError> {
        let reads = ReadBudget::of_range(self.pacing).from(source).scanning();
        let value_use = ValueUse::of(&plan.range);
        let at = self.past_revision(&plan.range);
        let (mut kvs, mut bytes, mut read) = (Vec::new(), 0, 0);
        let keys = plan.keys.iter().flat_map(|keys| &keys[plan.read..]);
        for key in keys.take(bounds.pairs.min(bounds.keys)) {
            if bytes >= bounds.bytes {
                break;
            }
            read += 1;
            let Some(found) = self.live_version(key, at) else {
                continue;
            };
            let pair = reads.pair(&found, value_use)?;
            bytes += pair.key.len() + pair.value.len();
            kvs.push(pair);
        }
        plan.read += read;
        Ok(kvs)
    }

    /// Returns the revision that a range reads, or `None` if the range reads the newest revision.
    fn past_revision(&self, range: &Range) -> Option<Revision> {
        let revision = Revision(range.revision);
        (range.revision > 0 && revision < self.revision).then_some(revision)
    }

    /// Returns a key's version at revision `at` or the newest revision (`None`). Returns `None` if the key does not exist
    /// there.
    fn live_version(&self, key: &[u8], at: Option<Revision>) -> Option<BlockVersion<'_>> {
        let location = self.index.get(key)?.location;
        let found = match at {
            Some(revision) => self.history.at(location, revision)?,
            None => self.history.get(location)?,
        };
        (!found.1.tombstone).then_some(found)
    }
}

//! Range reads the keys in a range at a revision, completely or in parts.

use std::cmp::Ordering;

use bytes::Bytes;

use super::{
    KeyRange, KeyValue, Kv, KvError, Range, RangeReply, ReadBudget, SortOrder, SortTarget,
    ValueSource, ValueUse,
    history::BlockVersion,
    index::{Count, WalkStep},
    version::Version,
};
use crate::revision::Revision;

/// Number of 16-byte keys in a page of the index.
const KEYS_PER_PAGE: usize = 140;

/// Number of versions that a read at an older revision examines for a key with about a hundred versions.
const VERSIONS_PER_KEY: u64 = 16;

/// The limits of one part of a range.
#[derive(Clone, Copy, Debug)]
pub struct RangePartBounds {
    /// Maximum number of pairs.
    pub pairs: usize,
    /// Maximum size of keys and values in bytes. The pair that reaches the maximum is included.
    pub bytes: usize,
    /// Maximum number of examined keys, including deleted keys.
    pub keys: usize,
}

/// A part of a range, in key order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangePart {
    /// The pairs.
    pub kvs: Vec<KeyValue>,
    /// The position at which the range continues.
    pub next: NextPart,
}

/// The position at which a range continues after a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextPart {
    /// The part contains the end of the range.
    End,
    /// The next pair has this key.
    Pair(Bytes),
    /// The limit on keys was reached. The remaining pairs have this key or greater keys.
    Unread(Bytes),
}

impl Kv {
    /// Reads the first pairs of a range in key order, within `bounds`. Ignores the range's order, limit and `count_only`; the
    /// range must not sort by value. To continue on the same state, the caller sets `key` to the key in [`RangePart::next`].
    /// Fails for a compacted or future revision, or if `source` does not have a value.
    pub fn range_part(
        &self,
        range: &Range,
        bounds: &RangePartBounds,
        source: ValueSource,
    ) -> Result<RangePart, KvError> {
        self.check_range(range, self.revision)?;
        let reads = ReadBudget::of_range(self.pacing).from(source).scanning();
        let value_use = ValueUse::of(range);
        let at_newest = range.revision <= 0 || range.revision >= self.revision.0;
        let span = KeyRange::new(&range.key, &range.range_end);
        let mut part = RangePart { kvs: Vec::new(), next: NextPart::End };
        let (mut bytes, mut keys, mut outcome) = (0, 0, Ok(()));
        self.index.visit(&span, &mut |key, entry| {
            if keys == bounds.keys {
                part.next = NextPart::Unread(Bytes::copy_from_slice(key));
                return false;
            }
            keys += 1;
            let found = if at_newest {
                self.history
                    .get(entry.location)
                    .filter(|_| !entry.tombstone)
            } else {
                self.history.at(entry.location, Revision(range.revision))
            };
            let wanted = |version: &Version<'_>| !version.tombstone && passes(range, version);
            let Some(found) = found.filter(|(_, version)| wanted(version)) else {
                return true;
            };
            if part.kvs.len() >= bounds.pairs || bytes >= bounds.bytes {
                part.next = NextPart::Pair(Bytes::copy_from_slice(key));
                return false;
            }
            match reads.pair(&found, value_use) {
                Ok(kv) => {
                    bytes += kv.key.len() + kv.value.len();
                    part.kvs.push(kv);
                }
                Err(error) => outcome = Err(error),
            }
            outcome.is_ok()
        });
        outcome.map(|()| part)
    }

    /// Fails if the requested revision is above `current` (`FutureRevision`) or below the compacted revision (`Compacted`). A
    /// revision of 0 or less passes.
    pub(super) fn check_range(&self, range: &Range, current: Revision) -> Result<(), KvError> {
        if range.revision > current.0 {
            Err(KvError::FutureRevision { current })
        } else if range.revision > 0 && range.revision < self.compacted.0 {
            Err(KvError::Compacted { compacted: self.compacted })
        } else {
            Ok(())
        }
    }

    /// Checks the revision of a range in a transaction, where etcd also refuses a negative revision below the compacted
    /// revision.
    pub(super) fn check_range_in_txn(&self, range: &Range) -> Result<(), KvError> {
        if range.revision < 0 && range.revision < self.compacted.0 {
            return Err(KvError::Compacted { compacted: self.compacted });
        }
        self.check_range(range, self.revision)
    }

    /// Executes a checked range. A requested revision of 0 or less means `current`. Fails if the budget `reads` is exhausted.
    /// The reply is empty if `reads` discards results, except for a range that only counts.
    pub(super) fn read(
        &self,
        range: &Range,
        current: Revision,
        reads: &mut ReadBudget,
    ) -> Result<RangeReply, KvError> {
        let revision = if range.revision > 0 {
            Revision(range.revision)
        } else {
            current
        };
        let at = (revision < current).then_some(revision);
        let span = KeyRange::new(&range.key, &range.range_end);
        if range.count_only {
            let count = self.count(&span, at, reads)?;
            return Ok(RangeReply { count, ..RangeReply::default() });
        }
        let (mut kvs, whole) = self.collect_pairs(range, at, reads)?;
        let count = match whole {
            Some(count) => count,
            None => self.count(&span, at, reads)?,
        };
        let limit = usize::try_from(range.limit).unwrap_or(0);
        let more = limit > 0 && kvs.len() > limit;
        let by_order = |a: &KeyValue, b: &KeyValue| order(range, a, b);
        if more {
            if sorts(range) {
                kvs.select_nth_unstable_by(limit - 1, by_order);
            }
            kvs.truncate(limit);
        }
        // The charge depends on the returned pairs, not on their order.
        if sorts(range) && reads.returns_results() {
            kvs.sort_unstable_by(by_order);
        }
        if range.keys_only {
            kvs.iter_mut().for_each(|kv| kv.value = Bytes::new());
        }
        kvs.iter()
            .try_for_each(|kv| reads.return_pair(kv.key.len(), kv.value.len()))?;
        Ok(reads.answer(RangeReply { kvs, more, count }))
    }

    /// Reads up to `fetch_limit` keys in key order, at revision `at` or the newest revision (`None`). Returns the pairs that
    /// pass the filters. Also returns the number of keys in the range, unless the read stopped at the limit.
    fn collect_pairs(
        &self,
        range: &Range,
        at: Option<Revision>,
        reads: &mut ReadBudget,
    ) -> Result<(Vec<KeyValue>, Option<i64>), KvError> {
        let value_use = ValueUse::of(range);
        // Number of leading pairs that are certain to be returned with their values.
        let returned = match (range.keys_only, usize::try_from(range.limit)) {
            (true, _) => 0,
            (false, Ok(1..)) if sorts(range) => 0,
            (false, Ok(limit @ 1..)) => limit,
            (false, _) => usize::MAX,
        };
        let (mut kvs, mut returned_bytes) = (Vec::new(), 0);
        let whole = self.visit_pairs(range, at, reads, |found, reads| {
            let version = &found.1;
            let value_len = value_use.value_len(version);
            reads.collect(version.key.len(), value_len)?;
            if kvs.len() < returned {
                // Fail before the pairs take more memory than a response may take.
                returned_bytes += (version.key.len() + value_len) as u64;
                reads.can_return(returned_bytes)?;
            }
            kvs.push(reads.pair(found, value_use)?);
            Ok(())
        })?;
        Ok((kvs, whole))
    }

    /// Calls `visit` with each pair of [`Self::collect_pairs`]. Returns the number of keys in the range, or `None` if the walk
    /// stopped at the limit.
    pub(super) fn visit_pairs<'a>(
        &'a self,
        range: &Range,
        at: Option<Revision>,
        reads: &mut ReadBudget,
        mut visit: impl FnMut(&BlockVersion<'a>, &mut ReadBudget) -> Result<(), KvError>,
    ) -> Result<Option<i64>, KvError> {
        let span = KeyRange::new(&range.key, &range.range_end);
        let (limit, mut count) = (fetch_limit(range), 0);
        reads.read_key()?;
        self.walk(&span, at, reads, |found, reads| {
            count += 1;
            if passes(range, &found.1) {
                visit(&found, reads)?;
            }
            Ok(count < limit)
        })?;
        Ok((count < limit).then_some(count as i64))
    }

    /// Charges the values that a range sorts, and the keys that the charge reads. Charges nothing unless the range sorts by
    /// value.
    pub(super) fn charge_sorted_values(
        &self,
        range: &Range,
        reads: &mut ReadBudget,
    ) -> Result<(), KvError> {
        if !range.compares_values() {
            return Ok(());
        }
        let at = range
            .reads_history(self.revision)
            .then_some(Revision(range.revision));
        let span = KeyRange::new(&range.key, &range.range_end);
        let (limit, mut count) = (fetch_limit(range), 0);
        self.walk(&span, at, reads, |(_, version), reads| {
            count += 1;
            if passes(range, &version) {
                reads.compare_bytes(version.value_len)?;
            }
            Ok(count < limit)
        })
    }

    /// Calls `visit` with each live version in a range, at revision `at` or the newest revision (`None`), in key order until
    /// `visit` returns false. Charges all examined keys.
    pub(super) fn walk<'a>(
        &'a self,
        span: &KeyRange<'_>,
        at: Option<Revision>,
        reads: &mut ReadBudget,
        mut visit: impl FnMut(BlockVersion<'a>, &mut ReadBudget) -> Result<bool, KvError>,
    ) -> Result<(), KvError> {
        let mut outcome = Ok(());
        // The closure runs for each key and therefore stores only errors.
        let mut goes_on = |step: Result<bool, KvError>| {
            step.unwrap_or_else(|error| {
                outcome = Err(error);
                false
            })
        };
        let mut found = |found: Option<BlockVersion<'a>>, reads: &mut ReadBudget| {
            reads.read_key()?;
            match found {
                Some(found) if !found.1.tombstone => visit(found, reads),
                Some(_) | None => Ok(true),
            }
        };
        let mut newest = self.history.reader();
        match at {
            Some(revision) => self.index.visit(span, &mut |_, entry| {
                goes_on(found(self.history.at(entry.location, revision), reads))
            }),
            None => self.index.visit_live(span, &mut |walked| {
                goes_on(match walked {
                    WalkStep::Live(_, location) => found(newest.get(location), reads),
                    WalkStep::Deleted(keys) => reads.passed(keys).map(|()| true),
                })
            }),
        }
        outcome
    }

    /// Counts the live keys in a range, at revision `at` or the newest revision (`None`). Charges the keys that it examines,
    /// including deleted keys. Fails if the budget is exhausted.
    pub(super) fn count(
        &self,
        span: &KeyRange<'_>,
        at: Option<Revision>,
        reads: &mut ReadBudget,
    ) -> Result<i64, KvError> {
        let mut count = 0;
        if at.is_none() {
            let found = self.index.count(span, reads.enough_counted());
            reads.count_keys(found.all)?;
            count = found.live as i64;
        } else {
            self.walk(span, at, reads, |_, _| {
                count += 1;
                Ok(true)
            })?;
        }
        Ok(count)
    }

    /// Returns whether a range may need more work than reading `keys` keys. The estimate costs a fraction of that work.
    pub fn reads_more_than(&self, range: &Range, keys: u64) -> bool {
        let mut reads = ReadBudget::of_estimate(self.pacing, keys);
        self.charge_read(range, &mut reads).is_err()
    }

    /// Returns whether a range compares values or may take longer than reading `keys` keys at the newest revision.
    pub fn reads_longer_than(&self, range: &Range, keys: u64) -> bool {
        let history = range.reads_history(self.revision);
        range.compares_values() || self.reads_more_than(range, reachable_keys(keys, history))
    }

    /// Charges the work of a range. Fails if the budget is exhausted.
    pub(super) fn charge_read(&self, range: &Range, reads: &mut ReadBudget) -> Result<(), KvError> {
        if range.range_end.is_empty() {
            return reads.read_key();
        }
        let span = KeyRange::new(&range.key, &range.range_end);
        if range.revision > 0 && range.revision < self.revision.0 {
            // A limit does not reduce the work, because all keys are counted.
            return self.charge_walk(&span, None, reads);
        }
        if range.count_only {
            return self.charge_count(&span, reads);
        }
        let limit = fetch_limit(range);
        self.charge_walk(&span, Some(limit), reads)?;
        if limit == usize::MAX {
            return Ok(());
        }
        self.charge_count(&span, reads)
    }

    /// Charges a walk over a range, up to `limit` live keys; `None` is a walk over all keys at an older revision. Fails if the
    /// budget is exhausted.
    pub(super) fn charge_walk(
        &self,
        span: &KeyRange<'_>,
        limit: Option<usize>,
        reads: &mut ReadBudget,
    ) -> Result<(), KvError> {
        let Some(limit) = limit else {
            let enough = Count { all: reads.keys_left().saturating_add(1), ..Count::MAX };
            return reads.keys(self.index.count(span, enough).all);
        };
        let enough = Count { live: limit, all: reads.passed_left().saturating_add(1) };
        let count = self.index.count(span, enough);
        reads.keys(count.live.min(limit))?;
        reads.passed(count.all - count.live)
    }

    /// Charges the count of a range. If the budget suffices for the entire index, charges the entire index without counting.
    fn charge_count(&self, span: &KeyRange<'_>, reads: &mut ReadBudget) -> Result<(), KvError> {
        // In a store of typical size, the pages of the range need not be counted.
        if reads.count_keys(self.index.pages() * KEYS_PER_PAGE).is_ok() {
            return Ok(());
        }
        let count = self.index.count(span, reads.enough_counted());
        reads.count_keys(count.all)
    }
}

/// Returns the number of keys that can be read in the time that reading `keys` keys at the newest revision takes. If `history`
/// is set, older versions are read.
pub(super) fn reachable_keys(keys: u64, history: bool) -> u64 {
    if history {
        keys / VERSIONS_PER_KEY
    } else {
        keys
    }
}

/// Returns the number of pairs to read: `limit` plus one, or all pairs (`usize::MAX`) with a filter, a sort order or no limit.
/// As in etcd, a sort target without an order sorts only the pairs that were read.
pub(super) fn fetch_limit(range: &Range) -> usize {
    let filters = [
        range.min_mod_revision,
        range.max_mod_revision,
        range.min_create_revision,
        range.max_create_revision,
    ];
    let all = range.sort_order() != SortOrder::None || filters.iter().any(|filter| *filter != 0);
    match usize::try_from(range.limit) {
        Ok(limit) if limit > 0 && !all => limit.saturating_add(1),
        Ok(_) | Err(_) => usize::MAX,
    }
}

/// Returns whether a version passes the range's filters by mod and create revision; 0 means no filter.
fn passes(range: &Range, version: &Version<'_>) -> bool {
    let least = |filter: i64, revision: Revision| filter == 0 || revision.0 >= filter;
    let most = |filter: i64, revision: Revision| filter == 0 || revision.0 <= filter;
    least(range.min_mod_revision, version.main)
        && most(range.max_mod_revision, version.main)
        && least(range.min_create_revision, version.create)
        && most(range.max_create_revision, version.create)
}

/// Returns whether a range requests an order other than ascending key order, in which keys are read.
pub(super) fn sorts(range: &Range) -> bool {
    range.sort_target() != SortTarget::Key || range.sort_order() == SortOrder::Descend
}

/// Compares two pairs in the requested order. Pairs that compare equal are in ascending key order, also if the order is
/// descending.
fn order(range: &Range, a: &KeyValue, b: &KeyValue) -> Ordering {
    let ascending = match range.sort_target() {
        SortTarget::Key => a.key.cmp(&b.key),
        SortTarget::Version => a.version.cmp(&b.version),
        SortTarget::Create => a.create_revision.cmp(&b.create_revision),
        SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
        SortTarget::Value => a.value.cmp(&b.value),
    };
    let asked = match range.sort_order() {
        SortOrder::None | SortOrder::Ascend => ascending,
        SortOrder::Descend => ascending.reverse(),
    };
    asked.then_with(|| a.key.cmp(&b.key))
}

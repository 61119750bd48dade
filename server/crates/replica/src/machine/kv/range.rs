//! Range: read the keys of a span at a revision, at once or in parts.

use std::cmp::Ordering;

use bytes::Bytes;

use super::{
    Error, KeyValue, Kv, Range, RangeReply, ReadBudget, SortOrder, SortTarget, Span, leaf::Entry,
};

/// What one part of a range may take.
#[derive(Clone, Copy, Debug)]
pub struct PartBounds {
    /// Pairs.
    pub pairs: usize,
    /// Bytes of keys and values; the pair that reaches it is still part of it.
    pub bytes: usize,
    /// Keys to look at, whether or not they are alive.
    pub keys: usize,
}

/// A part of a range, in the order of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The pairs.
    pub kvs: Vec<KeyValue>,
    /// What follows.
    pub next: Next,
}

/// What follows a part of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing.
    End,
    /// At least the pair of this key.
    Pair(Bytes),
    /// Enough keys were looked at; whatever follows begins at this key or above it.
    Unseen(Bytes),
}

impl Kv {
    /// Reads the first pairs of a range in the order of keys: its sort options, filters and limit are
    /// not looked at. Go on with the same state and `key` at what follows.
    pub fn range_part(&self, range: &Range, bounds: &PartBounds) -> Result<Part, Error> {
        self.check_range(range, self.revision)?;
        let at_newest = range.revision <= 0 || range.revision >= self.revision;
        let span = Span::new(&range.key, &range.range_end);
        let mut part = Part {
            kvs: Vec::new(),
            next: Next::End,
        };
        let (mut bytes, mut keys) = (0, 0);
        self.index.visit(&span, &mut |key, entry| {
            if keys == bounds.keys {
                part.next = Next::Unseen(Bytes::copy_from_slice(key));
                return false;
            }
            keys += 1;
            let found = if at_newest {
                self.history.get(entry.place).filter(|_| !entry.tombstone)
            } else {
                self.history.at(entry.place, range.revision)
            };
            let Some((block, version)) = found.filter(|(_, version)| !version.tombstone) else {
                return true;
            };
            if part.kvs.len() >= bounds.pairs || bytes >= bounds.bytes {
                part.next = Next::Pair(Bytes::copy_from_slice(key));
                return false;
            }
            let mut kv = block.key_value(&version);
            if range.keys_only {
                kv.value = Bytes::new();
            }
            bytes += kv.key.len() + kv.value.len();
            part.kvs.push(kv);
            true
        });
        Ok(part)
    }

    /// Whether the revision can be read at all. `current` is the newest one that can.
    pub(super) fn check_range(&self, range: &Range, current: i64) -> Result<(), Error> {
        if range.revision > current {
            Err(Error::FutureRevision { current })
        } else if range.revision > 0 && range.revision < self.compacted {
            Err(Error::Compacted {
                compacted: self.compacted,
            })
        } else {
            Ok(())
        }
    }

    /// Inside a transaction etcd does not read a negative revision as the present one.
    pub(super) fn check_range_in_txn(&self, range: &Range) -> Result<(), Error> {
        if range.revision < 0 && range.revision < self.compacted {
            return Err(Error::Compacted {
                compacted: self.compacted,
            });
        }
        self.check_range(range, self.revision)
    }

    /// The check has passed; a revision of 0 or less means `current`.
    pub(super) fn read(
        &self,
        range: &Range,
        current: i64,
        reads: &mut ReadBudget,
    ) -> Result<RangeReply, Error> {
        let revision = if range.revision > 0 {
            range.revision
        } else {
            current
        };
        let newest = revision >= current;
        let span = Span::new(&range.key, &range.range_end);
        if range.count_only {
            let count = self.count(&span, revision, newest, reads)?;
            return Ok(RangeReply {
                count,
                ..RangeReply::default()
            });
        }
        let at = (!newest).then_some(revision);
        let (mut kvs, whole) = self.collect(&span, at, fetch_limit(range), reads)?;
        let count = if whole {
            kvs.len() as i64
        } else {
            self.count(&span, revision, newest, reads)?
        };
        kvs.retain(|kv| passes(range, kv));
        sort(range, &mut kvs);
        let limit = usize::try_from(range.limit).unwrap_or(0);
        let more = limit > 0 && kvs.len() > limit;
        if more {
            kvs.truncate(limit);
        }
        if range.keys_only {
            kvs.iter_mut().for_each(|kv| kv.value = Bytes::new());
        }
        kvs.iter().try_for_each(|kv| reads.pair(kv))?;
        Ok(reads.answer(RangeReply { kvs, more, count }))
    }

    /// The first pairs of a span, at an older revision or the newest, and whether these are all of it.
    fn collect(
        &self,
        span: &Span<'_>,
        at: Option<i64>,
        limit: usize,
        reads: &mut ReadBudget,
    ) -> Result<(Vec<KeyValue>, bool), Error> {
        let mut kvs = Vec::new();
        let mut whole = true;
        let (mut outcome, mut passed) = (Ok(()), 0);
        self.index.visit(span, &mut |_, entry| {
            if kvs.len() == limit {
                whole = false;
                return false;
            }
            if at.is_none() && entry.tombstone {
                passed += 1;
                return true;
            }
            outcome = reads.key();
            let found = match at {
                Some(revision) => self.history.at(entry.place, revision),
                None => self.history.get(entry.place),
            };
            if let Some((block, version)) = found.filter(|(_, version)| !version.tombstone) {
                kvs.push(block.key_value(&version));
            }
            outcome.is_ok()
        });
        outcome.and_then(|()| reads.count(passed))?;
        Ok((kvs, whole))
    }

    fn count(
        &self,
        span: &Span<'_>,
        revision: i64,
        newest: bool,
        reads: &mut ReadBudget,
    ) -> Result<i64, Error> {
        if newest {
            let count = self.index.count(span);
            reads.count(count as u64)?;
            return Ok(count as i64);
        }
        let (mut outcome, mut count) = (Ok(()), 0);
        self.index.visit(span, &mut |_, entry: Entry| {
            outcome = reads.key();
            let found = self.history.at(entry.place, revision);
            count += i64::from(found.is_some_and(|(_, version)| !version.tombstone));
            outcome.is_ok()
        });
        outcome?;
        Ok(count)
    }

    /// Whether a range looks at more keys than that. It is said without looking at them.
    pub fn reads_beyond(&self, range: &Range, keys: usize) -> bool {
        self.reads_at_most(range, keys + 1) > keys
    }

    /// Keys that a range looks at, or `enough` if they are as many.
    pub(super) fn reads_at_most(&self, range: &Range, enough: usize) -> usize {
        if range.range_end.is_empty() || range.count_only && range.revision <= 0 {
            return 1;
        }
        let limit = fetch_limit(range).min(enough);
        if limit < enough {
            return limit;
        }
        self.count_of(&range.key, &range.range_end).min(enough)
    }

    /// Number of live keys of a span.
    pub(super) fn count_of(&self, key: &[u8], range_end: &[u8]) -> usize {
        self.index.count(&Span::new(key, range_end))
    }
}

/// How many pairs must be looked at. As in etcd, a sort target without an order sorts only what
/// the limit lets through in the order of keys, plus one.
fn fetch_limit(range: &Range) -> usize {
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

fn passes(range: &Range, kv: &KeyValue) -> bool {
    let least = |filter: i64, revision: i64| filter == 0 || revision >= filter;
    let most = |filter: i64, revision: i64| filter == 0 || revision <= filter;
    least(range.min_mod_revision, kv.mod_revision)
        && most(range.max_mod_revision, kv.mod_revision)
        && least(range.min_create_revision, kv.create_revision)
        && most(range.max_create_revision, kv.create_revision)
}

/// The pairs come in ascending order of keys; equal ones stay so in either direction.
fn sort(range: &Range, kvs: &mut [KeyValue]) {
    let target = range.sort_target();
    let by = |a: &KeyValue, b: &KeyValue| -> Ordering {
        match target {
            SortTarget::Key => a.key.cmp(&b.key),
            SortTarget::Version => a.version.cmp(&b.version),
            SortTarget::Create => a.create_revision.cmp(&b.create_revision),
            SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
            SortTarget::Value => a.value.cmp(&b.value),
        }
    };
    match range.sort_order() {
        SortOrder::None if target == SortTarget::Key => {}
        SortOrder::None | SortOrder::Ascend => kvs.sort_by(by),
        SortOrder::Descend => kvs.sort_by(|a, b| by(b, a)),
    }
}

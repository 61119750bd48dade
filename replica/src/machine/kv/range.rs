//! Range: read the keys of a span at a revision, at once or in parts.

use std::cmp::Ordering;

use bytes::Bytes;

use super::{Error, KeyValue, Kv, Range, RangeReply, SortOrder, SortTarget, Span, leaf::Entry};

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
    pub(super) fn read(&self, range: &Range, current: i64) -> RangeReply {
        let revision = if range.revision > 0 {
            range.revision
        } else {
            current
        };
        let newest = revision >= current;
        let span = Span::new(&range.key, &range.range_end);
        if range.count_only {
            let count = self.count(&span, revision, newest);
            return RangeReply {
                count,
                ..RangeReply::default()
            };
        }
        let (mut kvs, whole) = self.collect(&span, revision, newest, fetch_limit(range));
        let count = if whole {
            kvs.len() as i64
        } else {
            self.count(&span, revision, newest)
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
        RangeReply { kvs, more, count }
    }

    /// The first pairs of a span, and whether these are all of it.
    fn collect(
        &self,
        span: &Span<'_>,
        revision: i64,
        newest: bool,
        limit: usize,
    ) -> (Vec<KeyValue>, bool) {
        let mut kvs = Vec::new();
        let mut whole = true;
        self.index.visit(span, &mut |_, entry| {
            if kvs.len() == limit {
                whole = false;
            } else if newest {
                if !entry.tombstone {
                    kvs.extend(self.history.key_value(entry.place));
                }
            } else if let Some((block, version)) = self.history.at(entry.place, revision)
                && !version.tombstone
            {
                kvs.push(block.key_value(&version));
            }
            whole
        });
        (kvs, whole)
    }

    fn count(&self, span: &Span<'_>, revision: i64, newest: bool) -> i64 {
        if newest {
            return self.index.count(span) as i64;
        }
        let mut count = 0;
        self.index.visit(span, &mut |_, entry: Entry| {
            let found = self.history.at(entry.place, revision);
            count += i64::from(found.is_some_and(|(_, version)| !version.tombstone));
            true
        });
        count
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

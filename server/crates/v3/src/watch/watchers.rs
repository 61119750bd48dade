//! The watchers of a stream, by ID and by range. Each range is read once for all its watchers.

use std::collections::{BTreeSet, HashMap};

use witan_api::v3::etcdserverpb::{WatchCreateRequest, watch_create_request::FilterType};
use witan_base::account::Charge;
use witan_node::{WatchRange, WatchStream, WatcherGroupId};

use super::{
    limits::{RANGE_BYTES, WATCHER_BYTES},
    watcher_group::WatcherGroup,
};
use crate::{RpcResult, error::RpcError};
use witan_machine::revision::Revision;

/// The options and the state of a watcher.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct WatcherFlags {
    pub(super) no_put: bool,
    pub(super) no_delete: bool,
    pub(super) prev_kv: bool,
    pub(super) fragment: bool,
    pub(super) progress_notify: bool,
    /// Whether no event has been sent since the last notification.
    pub(super) idle: bool,
    /// Whether the watcher is unsynced: it reads changes from before its creation.
    pub(super) unsynced: bool,
    /// Whether the watcher's changes were compacted. As in etcd, the watcher keeps its ID until the client cancels it.
    pub(super) compacted: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Watcher {
    pub(super) group_id: WatcherGroupId,
    /// The first revision that the watcher receives.
    pub(super) next: Revision,
    pub(super) flags: WatcherFlags,
}

impl Watcher {
    /// Returns whether the watcher receives its group's events as they are published.
    pub(super) fn is_synced(&self) -> bool {
        !self.flags.unsynced && !self.flags.compacted
    }
}

const EMPTY_RANGE: RpcError = RpcError::Plain("mvcc: watcher range is empty");
const DUPLICATE_ID: RpcError =
    RpcError::Plain("mvcc: duplicate watch ID provided on the WatchStream");

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CreatedWatcher {
    pub(super) id: i64,
    /// The newest published revision, after which a watch without a start revision begins.
    pub(super) published: Revision,
    pub(super) unsynced: bool,
}

/// The watchers of one stream. The owner must remove all watchers with [`StreamWatchers::unregister`].
#[derive(Debug)]
pub(super) struct StreamWatchers {
    memory: Charge,
    pub(super) by_id: HashMap<i64, Watcher>,
    pub(super) groups: HashMap<WatcherGroupId, WatcherGroup>,
    by_span: HashMap<WatchRange, WatcherGroupId>,
    next_id: i64,
    /// The watchers with `progress_notify`.
    pub(super) notify: BTreeSet<i64>,
    /// Start revision and ID of watchers that wait for a future revision.
    future: BTreeSet<(Revision, i64)>,
    /// Number of compacted watchers that still have an ID.
    lost: usize,
}

impl StreamWatchers {
    /// Creates an empty set. Its memory is charged to `memory`.
    pub(super) fn new(memory: Charge) -> Self {
        Self {
            memory,
            by_id: HashMap::new(),
            groups: HashMap::new(),
            by_span: HashMap::new(),
            next_id: 0,
            notify: BTreeSet::new(),
            future: BTreeSet::new(),
            lost: 0,
        }
    }

    /// Returns whether no watcher is compacted or waits for a revision above `revision`.
    pub(super) fn all_reach(&self, revision: Revision) -> bool {
        self.lost == 0
            && self
                .future
                .last()
                .is_none_or(|(start, _)| *start <= revision)
    }

    /// Returns whether a watcher is still waiting for its start revision, above `revision`.
    pub(super) fn is_future(&self, id: i64, revision: Revision) -> bool {
        let watcher = self.by_id.get(&id);
        watcher.is_some_and(|watcher| {
            watcher.next > revision && self.future.contains(&(watcher.next, id))
        })
    }

    /// Creates a watcher on the requested range and revision. Fails if the range or revision is invalid or the ID is in use.
    /// Fails with `TooManyRequests` if there is no memory for the watcher.
    pub(super) fn create(
        &mut self,
        reader: &WatchStream,
        request: &WatchCreateRequest,
    ) -> RpcResult<CreatedWatcher> {
        let span = requested_range(request)?;
        let id = self.pick_id(request.watch_id)?;
        let (group_id, published) = self.join(reader, span, id)?;
        let start = Revision(request.start_revision);
        let unsynced = start != Revision::NONE && start <= published;
        let next = if unsynced {
            start
        } else {
            start.max(published.next())
        };
        // An explicit start at the next revision is also a future revision.
        if start > published {
            // Forget the watchers whose start revision has been published.
            self.future = self.future.split_off(&(published.next(), i64::MIN));
            self.future.insert((next, id));
        }
        let filter = |kind: FilterType| request.filters.contains(&i32::from(kind));
        let flags = WatcherFlags {
            no_put: filter(FilterType::Noput),
            no_delete: filter(FilterType::Nodelete),
            prev_kv: request.prev_kv,
            fragment: request.fragment,
            progress_notify: request.progress_notify,
            idle: true,
            unsynced,
            compacted: false,
        };
        if flags.progress_notify {
            self.notify.insert(id);
        }
        if let Some(group) = self.groups.get_mut(&group_id) {
            group.prev_kv_count += usize::from(flags.prev_kv);
        }
        let watcher = Watcher { group_id, next, flags };
        self.by_id.insert(id, watcher);
        Ok(CreatedWatcher { id, published, unsynced })
    }

    /// Returns the requested ID, or the next free ID if the requested ID is 0. Fails with `DUPLICATE_ID` if the ID is in use.
    fn pick_id(&mut self, requested: i64) -> RpcResult<i64> {
        if requested != 0 {
            let taken = self.by_id.contains_key(&requested);
            return if taken {
                Err(DUPLICATE_ID)
            } else {
                Ok(requested)
            };
        }
        while self.by_id.contains_key(&self.next_id) {
            self.next_id += 1;
        }
        self.next_id += 1;
        Ok(self.next_id - 1)
    }

    /// Adds a watcher to the group of its range and registers the range if it is new. Returns the group and the newest
    /// published revision. Fails with `TooManyRequests` if there is no memory for the watcher.
    fn join(
        &mut self,
        reader: &WatchStream,
        span: WatchRange,
        id: i64,
    ) -> RpcResult<(WatcherGroupId, Revision)> {
        let known = self.by_span.get(&span).copied();
        let of_range = known.map_or_else(|| range_bytes(&span), |_| 0);
        if !self.memory.grow(WATCHER_BYTES + of_range) {
            return Err(RpcError::TooManyRequests);
        }
        if let Some(group_id) = known {
            if let Some(group) = self.groups.get_mut(&group_id) {
                group.insert(id);
            }
            return Ok((group_id, reader.join(group_id)));
        }
        let (group_id, published) = reader.register(&span);
        let group = WatcherGroup::of_one(span.clone(), id);
        self.groups.insert(group_id, group);
        self.by_span.insert(span, group_id);
        Ok((group_id, published))
    }

    /// Removes a watcher and returns it, with its group's ID if the group is now empty. Returns `None` if the watcher does not
    /// exist.
    pub(super) fn cancel(
        &mut self,
        reader: &WatchStream,
        id: i64,
    ) -> Option<(Watcher, Option<WatcherGroupId>)> {
        let watcher = self.by_id.remove(&id)?;
        self.notify.remove(&id);
        self.future.remove(&(watcher.next, id));
        self.lost -= usize::from(watcher.flags.compacted);
        let group = self.groups.get_mut(&watcher.group_id)?;
        group.prev_kv_count -= usize::from(watcher.flags.prev_kv);
        self.memory.shrink(WATCHER_BYTES);
        if !group.remove(id) {
            reader.leave(watcher.group_id);
            return Some((watcher, None));
        }
        if let Some(group) = self.groups.remove(&watcher.group_id) {
            self.memory.shrink(range_bytes(&group.span));
            self.by_span.remove(&group.span);
            reader.unregister([(watcher.group_id, &group.span)].into_iter());
        }
        Some((watcher, Some(watcher.group_id)))
    }

    /// Marks a watcher as compacted, so that it receives no further events. Does nothing if the watcher does not exist or is
    /// compacted already.
    pub(super) fn mark_compacted(&mut self, id: i64) {
        let Some(watcher) = self.by_id.get_mut(&id).filter(|w| !w.flags.compacted) else {
            return;
        };
        watcher.flags.compacted = true;
        watcher.flags.unsynced = false;
        self.lost += 1;
    }

    /// Unregisters the ranges of all watchers from the node.
    pub(super) fn unregister(self, reader: &WatchStream) {
        reader.unregister(self.groups.iter().map(|(id, group)| (*id, &group.span)));
    }
}

/// Returns the requested range. As in etcd, fails with `Compacted` for a negative start revision, and then with `EMPTY_RANGE`
/// for an empty range.
fn requested_range(request: &WatchCreateRequest) -> RpcResult<WatchRange> {
    let span = WatchRange::new(first_key(request), &request.range_end);
    if request.start_revision < 0 {
        Err(RpcError::Compacted)
    } else if span.is_empty() {
        Err(EMPTY_RANGE)
    } else {
        Ok(span)
    }
}

/// Returns the first key of the requested range. An empty key means the smallest key.
pub(super) fn first_key(request: &WatchCreateRequest) -> &[u8] {
    if request.key.is_empty() {
        b"\0"
    } else {
        &request.key
    }
}

/// Returns the bytes charged for a range: its key and end, and [`RANGE_BYTES`].
fn range_bytes(span: &WatchRange) -> usize {
    use witan_node::RangeEnd;
    let end = match &span.end {
        RangeEnd::At(end) => end.len(),
        RangeEnd::One | RangeEnd::Never => 0,
    };
    RANGE_BYTES + span.key.len() + end
}

#[cfg(test)]
mod tests {
    use witan_base::{
        account::{Resource, Totals},
        metrics::Register,
    };
    use witan_machine::member::MemberId;
    use witan_node::testing::without_replica;

    use super::*;

    /// The limit covers the memory of all watchers in the process, independently of streams and ranges.
    #[test]
    fn watchers_and_their_keys_are_refused_without_memory() {
        let create = |key: &[u8]| WatchCreateRequest {
            key: key.to_vec().into(),
            ..WatchCreateRequest::default()
        };
        let what = Resource::Watchers;
        let totals = Totals::register(&Register::default(), u64::MAX);
        let [other, account] = [(); 2].map(|()| totals.open());
        let left = 20 * WATCHER_BYTES;
        let _held = other.hold(what, what.limit() - left);
        actix_rt::System::new().block_on(async {
            let reader = without_replica(MemberId(1), 1).watch_stream();
            let mut watchers = StreamWatchers::new(account.hold_later(what));
            let long = watchers.create(&reader, &create(&vec![b'l'; left]));
            assert_eq!(long, Err(RpcError::TooManyRequests));
            let same = || watchers.create(&reader, &create(b"s")).ok();
            let ids: Vec<_> = std::iter::from_fn(same).map(|created| created.id).collect();
            assert!((2..20).contains(&ids.len()), "{} watchers", ids.len());
            for id in ids {
                watchers.cancel(&reader, id);
            }
            let created = watchers.create(&reader, &create(b"s"));
            assert!(created.is_ok(), "the other watchers were canceled");
            watchers.unregister(&reader);
            let all = account.hold(what, left / 2);
            assert!(all.is_some(), "all memory is released");
        });
    }
}

//! Decides which v3 watch streams to wake, and which history locations they must read.
//!
//! A stream watches key ranges. A watcher group is one range of one stream, with any number of watchers. When a change matches
//! a group, the location of the change in the history is recorded; events are not copied (I7). The number of recorded locations
//! per stream is bounded. Beyond the bound, or after another state has replaced this state, a group keeps only its first
//! location. The stream then reads the history from there.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
};

use super::{
    interval_tree::IntervalTree,
    range::{RangeEnd, WatchRange},
};
use crate::limits::NOTED_LOCATIONS_MAX;
use witan_machine::{kv::HistoryLocation, revision::Revision};

/// Identifies a stream. The id may be reused after the stream's removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatchStreamId(u32);

/// Identifies a watcher group. The id may be reused after the group's removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatcherGroupId(u32);

/// Locations of the unread changes that match a watcher group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingChanges {
    /// Revision of the first change.
    pub revision: Revision,
    /// Location of the first change.
    pub first: HistoryLocation,
    /// Locations of the other changes, in order. Ignored if `rest` is set.
    pub more: Vec<HistoryLocation>,
    /// Whether the reader must read the entire history, starting at the first revision. Set if there are too many changes, if
    /// the changes were not examined individually, or if another state has replaced the state of the locations.
    pub rest: bool,
}

impl PendingChanges {
    /// Drops all locations except the first and makes the reader read everything, starting at the first location. Subtracts the
    /// dropped locations from the stream's count.
    fn leave_rest(&mut self, stream: &mut StreamEntry) {
        stream.noted -= self.more.len();
        self.more = Vec::new();
        self.rest = true;
    }
}

/// The watcher groups of all streams.
#[derive(Debug, Default)]
pub struct WatcherGroups {
    exact: BTreeMap<Arc<[u8]>, GroupIds>,
    ranges: IntervalTree<GroupIds>,
    groups: Slab<WatcherGroup>,
    streams: Slab<StreamEntry>,
}

#[derive(Debug)]
struct WatcherGroup {
    /// First key of the group's range.
    key: Arc<[u8]>,
    stream: u32,
    /// Number of the stream's watchers for the range.
    watchers: u32,
    pending: Option<Box<PendingChanges>>,
}

#[derive(Debug, Default)]
struct StreamEntry {
    /// Groups with pending changes, and stale ids of groups that have been unregistered since. Removing stale ids one by one
    /// would take quadratic time when a stream ends.
    pending: Vec<WatcherGroupId>,
    /// Number of stale ids in `pending`.
    stale: usize,
    /// Number of recorded locations, without the first location of each group.
    noted: usize,
}

/// Groups of one range, each of a different stream.
#[derive(Debug, Default)]
enum GroupIds {
    #[default]
    None,
    One(u32),
    Many(BTreeSet<u32>),
}

impl GroupIds {
    fn insert(&mut self, id: u32) {
        match self {
            Self::None => *self = Self::One(id),
            Self::One(one) => *self = Self::Many(BTreeSet::from([*one, id])),
            Self::Many(many) => drop(many.insert(id)),
        }
    }

    /// Removes an id. Returns whether no id is left; the caller then drops the entire set, which may still contain the last id.
    fn remove(&mut self, id: u32) -> bool {
        match self {
            Self::None => true,
            Self::One(one) => *one == id,
            Self::Many(many) => {
                many.remove(&id);
                many.is_empty()
            }
        }
    }

    /// Calls `visit` with each id in ascending order.
    fn each(&self, mut visit: impl FnMut(u32)) {
        match self {
            Self::None => {}
            Self::One(one) => visit(*one),
            Self::Many(many) => many.iter().copied().for_each(visit),
        }
    }
}

impl WatcherGroups {
    /// Registers a stream without groups.
    pub fn add_stream(&mut self) -> WatchStreamId {
        WatchStreamId(self.streams.put(StreamEntry::default()))
    }

    /// Removes a stream. Its groups must have been unregistered.
    pub fn remove_stream(&mut self, stream: WatchStreamId) {
        self.streams.take(stream.0);
    }

    /// Returns the number of groups.
    pub fn len(&self) -> usize {
        self.groups.len
    }

    /// Returns whether there are no groups.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Registers a group of one watcher, which is notified of changes from now on.
    pub fn register(&mut self, stream: WatchStreamId, span: &WatchRange) -> WatcherGroupId {
        let group = WatcherGroup {
            key: span.key.clone(),
            stream: stream.0,
            watchers: 1,
            pending: None,
        };
        let id = self.groups.put(group);
        match span.end {
            RangeEnd::One => self.exact.entry(span.key.clone()).or_default().insert(id),
            RangeEnd::At(_) | RangeEnd::Never => self.ranges.entry(span, |ids| ids.insert(id)),
        }
        WatcherGroupId(id)
    }

    /// Adds a watcher to the count of a group. Ignores an unknown group.
    pub fn join(&mut self, id: WatcherGroupId) {
        if let Some(group) = self.groups.get_mut(id.0) {
            group.watchers += 1;
        }
    }

    /// Subtracts a watcher from the count of a group. The group stays registered even without watchers. Ignores an unknown
    /// group.
    pub fn leave(&mut self, id: WatcherGroupId) {
        if let Some(group) = self.groups.get_mut(id.0) {
            group.watchers -= 1;
        }
    }

    /// Returns the number of group slots. Some slots may be empty; see [`Self::in_slots`].
    pub fn slots(&self) -> usize {
        self.groups.slots.len()
    }

    /// Iterates over the groups in a range of slots. Each item is the group's first key, its stream and its number of watchers.
    /// A group keeps its slot, so reading the slots in parts finds every group that stays registered.
    pub fn in_slots(
        &self,
        slots: Range<usize>,
    ) -> impl Iterator<Item = (&Arc<[u8]>, WatchStreamId, u32)> {
        let slots = self.groups.slots.iter().skip(slots.start).take(slots.len());
        slots
            .flatten()
            .map(|group| (&group.key, WatchStreamId(group.stream), group.watchers))
    }

    /// Unregisters a group whose range is `span` and drops its pending changes.
    pub fn unregister(&mut self, id: WatcherGroupId, span: &WatchRange) {
        match span.end {
            RangeEnd::One => {
                if self
                    .exact
                    .get_mut(&span.key)
                    .is_some_and(|ids| ids.remove(id.0))
                {
                    self.exact.remove(&span.key);
                }
            }
            RangeEnd::At(_) | RangeEnd::Never => self.ranges.change(span, |ids| ids.remove(id.0)),
        }
        let Some(group) = self.groups.take(id.0) else {
            return;
        };
        if let (Some(pending), Some(stream)) = (group.pending, self.streams.get_mut(group.stream)) {
            stream.noted -= pending.more.len();
            stream.stale += 1;
            if stream.stale > stream.pending.len() / 2 {
                // A stream can cancel any number of watchers before it takes changes, so stale ids are removed before they are
                // the majority.
                let groups = &mut self.groups;
                stream.pending.retain(|id| {
                    let known = groups.get_mut(id.0);
                    known.is_some_and(|known| {
                        known.stream == group.stream && known.pending.is_some()
                    })
                });
                stream.pending.sort_unstable();
                stream.pending.dedup();
                stream.stale = 0;
            }
        }
    }

    /// Records a change of `key` at `place` for all matching groups. Calls `wake` with each stream that had no pending changes
    /// before. Returns the number of matching groups.
    pub fn notify(
        &mut self,
        key: &[u8],
        place: HistoryLocation,
        revision: Revision,
        mut wake: impl FnMut(WatchStreamId),
    ) -> usize {
        let Self { exact, ranges, groups, streams } = self;
        let mut matched = 0;
        let mut record = |id| {
            matched += 1;
            record_change(groups, streams, id, (place, revision), &mut wake);
        };
        if let Some(ids) = exact.get(key) {
            ids.each(&mut record);
        }
        ranges.visit_containing(key, &mut |ids| ids.each(&mut record));
        matched
    }

    /// Makes every group read all changes, starting with its first recorded change, without examining individual changes. A
    /// group without a recorded change reads from `revision`, whose history location is `place`. Calls `wake` like
    /// [`Self::notify`].
    pub fn notify_all(
        &mut self,
        place: HistoryLocation,
        revision: Revision,
        mut wake: impl FnMut(WatchStreamId),
    ) {
        for id in 0..self.groups.slots.len() as u32 {
            record_change(
                &mut self.groups,
                &mut self.streams,
                id,
                (place, revision),
                &mut wake,
            );
            if let Some(pending) = self.groups.get_mut(id).and_then(|i| i.pending.as_mut()) {
                pending.rest = true;
            }
        }
    }

    /// Makes every group with recorded changes read from the revision of its first change. Call this when the state has been
    /// replaced.
    pub fn forget_locations(&mut self) {
        for group in self.groups.slots.iter_mut().flatten() {
            let stream = self.streams.get_mut(group.stream);
            if let Some((pending, stream)) = group.pending.as_mut().zip(stream) {
                pending.leave_rest(stream);
            }
        }
    }

    /// Takes the pending changes of a stream's groups, in arbitrary order. Returns an empty list for an unknown stream.
    pub fn take(&mut self, stream: WatchStreamId) -> Vec<(WatcherGroupId, PendingChanges)> {
        let Some(entry) = self.streams.get_mut(stream.0) else {
            return Vec::new();
        };
        (entry.noted, entry.stale) = (0, 0);
        let ids = std::mem::take(&mut entry.pending);
        let mut taken = |id: WatcherGroupId| {
            let group = self.groups.get_mut(id.0)?;
            // The id of an unregistered group may belong to another stream now.
            let own = group.stream == stream.0;
            Some((id, *own.then(|| group.pending.take())??))
        };
        ids.into_iter().filter_map(&mut taken).collect()
    }
}

/// Adds a change to the pending changes of watcher group `id` and wakes its stream if it had no pending group. At
/// [`NOTED_LOCATIONS_MAX`] locations per stream, the group keeps only its first location and ignores further changes.
fn record_change(
    groups: &mut Slab<WatcherGroup>,
    streams: &mut Slab<StreamEntry>,
    id: u32,
    (place, revision): (HistoryLocation, Revision),
    wake: &mut impl FnMut(WatchStreamId),
) {
    let Some(group) = groups.get_mut(id) else {
        return;
    };
    let Some(stream) = streams.get_mut(group.stream) else {
        return;
    };
    match &mut group.pending {
        None => {
            group.pending = Some(Box::new(PendingChanges {
                revision,
                first: place,
                more: Vec::new(),
                rest: false,
            }));
            if stream.pending.is_empty() {
                wake(WatchStreamId(group.stream));
            }
            stream.pending.push(WatcherGroupId(id));
        }
        Some(pending) if pending.rest => {}
        Some(pending) if stream.noted >= NOTED_LOCATIONS_MAX => pending.leave_rest(stream),
        Some(pending) => {
            pending.more.push(place);
            stream.noted += 1;
        }
    }
}

/// Stores values under small numbers, which are reused.
#[derive(Debug)]
struct Slab<T> {
    slots: Vec<Option<T>>,
    free: Vec<u32>,
    len: usize,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), len: 0 }
    }
}

impl<T> Slab<T> {
    /// Stores a value and returns its number: a free number, or the next number.
    fn put(&mut self, value: T) -> u32 {
        self.len += 1;
        if let Some(id) = self.free.pop() {
            self.slots[id as usize] = Some(value);
            return id;
        }
        self.slots.push(Some(value));
        (self.slots.len() - 1) as u32
    }

    fn get_mut(&mut self, id: u32) -> Option<&mut T> {
        self.slots.get_mut(id as usize)?.as_mut()
    }

    /// Removes and returns a value, or returns `None` if the number has no value. Frees all memory once no value is left.
    fn take(&mut self, id: u32) -> Option<T> {
        let value = self.slots.get_mut(id as usize)?.take()?;
        self.len -= 1;
        self.free.push(id);
        if self.len == 0 {
            *self = Self::default();
        }
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use witan_machine::kv::{Kv, KvCommand, KvOperation, Put};

    /// Writes one key `count` times to a store. Returns the history locations of these changes.
    fn places(count: usize) -> Vec<HistoryLocation> {
        let mut kv = Kv::default();
        for _ in 0..count {
            let put = Put { key: "k".into(), ..Put::default() };
            kv.apply(&KvCommand { operation: Some(KvOperation::Put(put)) })
                .unwrap();
        }
        kv.changes_from(Revision::NONE, None)
            .map(|(place, _)| place)
            .collect()
    }

    #[test]
    fn a_stream_is_woken_once_and_gets_all_locations() {
        let places = places(3);
        let mut hub = WatcherGroups::default();
        let (one, two) = (hub.add_stream(), hub.add_stream());
        let exact = hub.register(one, &WatchRange::new(b"a", b""));
        let range = hub.register(one, &WatchRange::new(b"a", b"c"));
        let from = hub.register(two, &WatchRange::new(b"b", b"\0"));
        let mut woken = Vec::new();
        hub.notify(b"a", places[0], Revision(2), |stream| woken.push(stream));
        hub.notify(b"b", places[1], Revision(3), |stream| woken.push(stream));
        hub.notify(b"c", places[2], Revision(4), |stream| woken.push(stream));
        assert_eq!(woken, [one, two]);
        let pending = |revision, at: &[usize]| PendingChanges {
            revision: Revision(revision),
            first: places[at[0]],
            more: at[1..].iter().map(|at| places[*at]).collect(),
            rest: false,
        };
        assert_eq!(
            hub.take(one),
            [(exact, pending(2, &[0])), (range, pending(2, &[0, 1]))]
        );
        assert_eq!(hub.take(two), [(from, pending(3, &[1, 2]))]);
        assert_eq!(hub.take(two), []);
        hub.notify(b"b", places[2], Revision(5), |stream| woken.push(stream));
        assert_eq!(woken.len(), 4, "both streams are woken again after reading");
        hub.unregister(range, &WatchRange::new(b"a", b"c"));
        assert_eq!(hub.take(one), []);
        hub.unregister(exact, &WatchRange::new(b"a", b""));
        hub.unregister(from, &WatchRange::new(b"b", b"\0"));
        assert!(hub.is_empty() && hub.exact.is_empty());
    }

    #[test]
    fn locations_for_a_stream_that_does_not_read_are_bounded() {
        let places = places(2);
        let mut hub = WatcherGroups::default();
        let stream = hub.add_stream();
        hub.register(stream, &WatchRange::new(b"a", b""));
        for revision in 0..2 * NOTED_LOCATIONS_MAX as i64 {
            hub.notify(
                b"a",
                places[usize::from(revision > 0)],
                Revision(revision),
                |_| {},
            );
        }
        let taken = hub.take(stream);
        let [(_, pending)] = taken.as_slice() else {
            panic!("{taken:?}")
        };
        assert_eq!((pending.first, pending.rest), (places[0], true));
        assert!(pending.more.is_empty());
    }

    #[test]
    fn a_group_with_a_reused_id_keeps_its_changes() {
        let places = places(2);
        let mut hub = WatcherGroups::default();
        let (one, two) = (hub.add_stream(), hub.add_stream());
        let range = WatchRange::new(b"a", b"c");
        hub.register(one, &WatchRange::new(b"z", b""));
        let gone = hub.register(one, &range);
        hub.notify(b"a", places[0], Revision(2), |_| {});
        hub.unregister(gone, &range);
        let reused = hub.register(two, &range);
        assert_eq!(gone, reused);
        let mut woken = Vec::new();
        hub.notify(b"b", places[1], Revision(3), |stream| woken.push(stream));
        assert_eq!((hub.take(one), woken), (vec![], vec![two]));
        let taken = hub.take(two);
        assert_eq!((taken[0].0, taken[0].1.revision), (reused, Revision(3)));
        // The same stream registers the range again and gets its changes once.
        hub.notify(b"a", places[0], Revision(4), |_| {});
        hub.unregister(reused, &range);
        assert_eq!(hub.register(two, &range), reused);
        hub.notify(b"b", places[1], Revision(5), |_| {});
        let taken = hub.take(two);
        assert_eq!((taken.len(), taken[0].1.revision), (1, Revision(5)));
    }

    #[test]
    fn groups_in_slots_have_their_watchers() {
        let mut hub = WatcherGroups::default();
        let (one, two) = (hub.add_stream(), hub.add_stream());
        let range = WatchRange::new(b"a", b"c");
        let first = hub.register(one, &range);
        let gone = WatchRange::new(b"b", b"");
        let second = hub.register(one, &gone);
        hub.register(two, &range);
        hub.join(first);
        hub.join(first);
        hub.leave(first);
        hub.unregister(second, &gone);
        assert_eq!(hub.slots(), 3);
        let found = |slots: Range<usize>| -> Vec<_> {
            hub.in_slots(slots)
                .map(|(key, stream, watchers)| (key.to_vec(), stream, watchers))
                .collect()
        };
        let (of_one, of_two) = ((b"a".to_vec(), one, 2), (b"a".to_vec(), two, 1));
        assert_eq!(found(0..9), [of_one.clone(), of_two.clone()]);
        assert_eq!(
            (found(0..2), found(2..3), found(3..9)),
            (vec![of_one], vec![of_two], vec![])
        );
    }

    #[test]
    fn ids_of_unregistered_groups_are_bounded() {
        let place = places(1)[0];
        let mut hub = WatcherGroups::default();
        let stream = hub.add_stream();
        let (kept, other) = (WatchRange::new(b"a", b""), WatchRange::new(b"a", b"c"));
        let kept = hub.register(stream, &kept);
        for _ in 0..1000 {
            let group = hub.register(stream, &other);
            hub.notify(b"a", place, Revision(2), |_| {});
            hub.unregister(group, &other);
            let entry = hub.streams.get_mut(stream.0).unwrap();
            assert!(entry.pending.len() <= 4, "{}", entry.pending.len());
        }
        let taken = hub.take(stream);
        assert_eq!(taken.len(), 1);
        assert_eq!((taken[0].0, taken[0].1.more.len()), (kept, 999));
    }

    #[test]
    fn no_location_in_a_replaced_state_stays_recorded() {
        let places = places(3);
        let mut hub = WatcherGroups::default();
        let stream = hub.add_stream();
        let group = hub.register(stream, &WatchRange::new(b"a", b""));
        for revision in 2..4 {
            hub.notify(b"a", places[0], Revision(revision), |_| {});
        }
        hub.forget_locations();
        hub.notify(b"a", places[2], Revision(4), |_| {
            panic!("the stream is already awake")
        });
        let rest = PendingChanges {
            revision: Revision(2),
            first: places[0],
            more: Vec::new(),
            rest: true,
        };
        assert_eq!(hub.take(stream), [(group, rest)]);
        assert_eq!(hub.streams.get_mut(stream.0).unwrap().noted, 0);
    }

    #[test]
    fn all_streams_are_woken_when_changes_are_unknown() {
        let places = places(1);
        let mut hub = WatcherGroups::default();
        let (one, two) = (hub.add_stream(), hub.add_stream());
        hub.register(one, &WatchRange::new(b"a", b""));
        hub.register(two, &WatchRange::new(b"b", b"\0"));
        let mut woken = Vec::new();
        hub.notify_all(places[0], Revision(7), |stream| woken.push(stream));
        assert_eq!(woken, [one, two]);
        assert!(hub.take(one)[0].1.rest && hub.take(two)[0].1.rest);
    }
}

//! Which watch streams of v3 keys to wake, and which locations of the history they have to read.
//!
//! A stream watches ranges of keys. A watcher group is one range of one stream, whatever number of
//! watchers it serves. When a change matches a group, its location in the history is noted; events
//! are not copied (I7). What is noted for a stream that does not read is bounded: after too many
//! changes only the first location of a group is kept, and the stream reads the history from there.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    ranges::Ranges,
    span::{End, Span},
};
use crate::{
    limits::{INTERESTS_MAX, NOTED_PLACES_MAX},
    machine::kv::Place,
};

/// Identifies a stream; reused after it was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReaderId(u32);

/// Identifies a watcher group; reused after it was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterestId(u32);

/// `limits::INTERESTS_MAX` are registered already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many watchers")]
pub struct TooManyInterests;

/// Locations of unread changes that match a watcher group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Touched {
    /// Revision of the first.
    pub revision: i64,
    /// Place of the first.
    pub first: Place,
    /// Locations of the others, in order, unless `rest` is set.
    pub more: Vec<Place>,
    /// There were more changes than are noted: everything after the first must be read.
    pub rest: bool,
}

/// See the module's description.
#[derive(Debug, Default)]
pub struct Interests {
    exact: BTreeMap<Arc<[u8]>, Ids>,
    ranges: Ranges<Ids>,
    interests: Slab<Interest>,
    readers: Slab<Reader>,
}

#[derive(Debug)]
struct Interest {
    reader: u32,
    touched: Option<Box<Touched>>,
}

#[derive(Debug, Default)]
struct Reader {
    touched: Vec<InterestId>,
    /// Number of noted locations beyond the first of each group.
    noted: usize,
}

/// Groups of one range, each of another stream.
#[derive(Debug, Default)]
enum Ids {
    #[default]
    None,
    One(u32),
    Many(BTreeSet<u32>),
}

impl Ids {
    fn insert(&mut self, id: u32) {
        match self {
            Self::None => *self = Self::One(id),
            Self::One(one) => *self = Self::Many(BTreeSet::from([*one, id])),
            Self::Many(many) => drop(many.insert(id)),
        }
    }

    /// Whether none is left.
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

    fn each(&self, mut visit: impl FnMut(u32)) {
        match self {
            Self::None => {}
            Self::One(one) => visit(*one),
            Self::Many(many) => many.iter().copied().for_each(visit),
        }
    }
}

impl Interests {
    /// Registers a stream without groups.
    pub fn enter(&mut self) -> ReaderId {
        ReaderId(self.readers.put(Reader::default()))
    }

    /// Removes a stream. Its groups must have been unregistered.
    pub fn leave(&mut self, reader: ReaderId) {
        self.readers.take(reader.0);
    }

    /// Number of groups.
    pub fn len(&self) -> usize {
        self.interests.len
    }

    /// Whether there are no groups.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Registers a group; it is notified from the next change on.
    pub fn register(
        &mut self,
        reader: ReaderId,
        span: &Span,
    ) -> Result<InterestId, TooManyInterests> {
        if self.len() >= INTERESTS_MAX {
            return Err(TooManyInterests);
        }
        let id = self.interests.put(Interest {
            reader: reader.0,
            touched: None,
        });
        match span.end {
            End::One => self.exact.entry(span.key.clone()).or_default().insert(id),
            End::At(_) | End::Never => self.ranges.entry(span, |ids| ids.insert(id)),
        }
        Ok(InterestId(id))
    }

    /// Unregisters a group of `span`.
    pub fn unregister(&mut self, id: InterestId, span: &Span) {
        match span.end {
            End::One => {
                if self
                    .exact
                    .get_mut(&span.key)
                    .is_some_and(|ids| ids.remove(id.0))
                {
                    self.exact.remove(&span.key);
                }
            }
            End::At(_) | End::Never => self.ranges.change(span, |ids| ids.remove(id.0)),
        }
        let Some(interest) = self.interests.take(id.0) else {
            return;
        };
        if let (Some(touched), Some(reader)) =
            (interest.touched, self.readers.get_mut(interest.reader))
        {
            reader.noted -= touched.more.len();
            reader.touched.retain(|other| *other != id);
        }
    }

    /// Notes a change of `key` for all matching groups. Calls `wake` with each stream that had
    /// nothing to read before. Returns whether any group matches.
    pub fn touch(
        &mut self,
        key: &[u8],
        place: Place,
        revision: i64,
        mut wake: impl FnMut(ReaderId),
    ) -> bool {
        let Self {
            exact,
            ranges,
            interests,
            readers,
        } = self;
        let mut concerned = false;
        let mut note = |id| {
            concerned = true;
            note(interests, readers, id, (place, revision), &mut wake);
        };
        if let Some(ids) = exact.get(key) {
            ids.each(&mut note);
        }
        ranges.holding(key, &mut |ids| ids.each(&mut note));
        concerned
    }

    /// Notifies every group, when the changes from this revision on are unknown.
    pub fn touch_all(&mut self, place: Place, revision: i64, mut wake: impl FnMut(ReaderId)) {
        for id in 0..self.interests.slots.len() as u32 {
            note(
                &mut self.interests,
                &mut self.readers,
                id,
                (place, revision),
                &mut wake,
            );
            if let Some(touched) = self.interests.get_mut(id).and_then(|i| i.touched.as_mut()) {
                touched.rest = true;
            }
        }
    }

    /// Takes what a stream has to read, unordered.
    pub fn take(&mut self, reader: ReaderId) -> Vec<(InterestId, Touched)> {
        let Some(reader) = self.readers.get_mut(reader.0) else {
            return Vec::new();
        };
        reader.noted = 0;
        let ids = std::mem::take(&mut reader.touched);
        ids.into_iter()
            .filter_map(|id| Some((id, *self.interests.get_mut(id.0)?.touched.take()?)))
            .collect()
    }
}

fn note(
    interests: &mut Slab<Interest>,
    readers: &mut Slab<Reader>,
    id: u32,
    (place, revision): (Place, i64),
    wake: &mut impl FnMut(ReaderId),
) {
    let Some(interest) = interests.get_mut(id) else {
        return;
    };
    let Some(reader) = readers.get_mut(interest.reader) else {
        return;
    };
    match &mut interest.touched {
        None => {
            interest.touched = Some(Box::new(Touched {
                revision,
                first: place,
                more: Vec::new(),
                rest: false,
            }));
            if reader.touched.is_empty() {
                wake(ReaderId(interest.reader));
            }
            reader.touched.push(InterestId(id));
        }
        Some(touched) if touched.rest => {}
        Some(touched) if reader.noted >= NOTED_PLACES_MAX => {
            reader.noted -= touched.more.len();
            touched.more = Vec::new();
            touched.rest = true;
        }
        Some(touched) => {
            touched.more.push(place);
            reader.noted += 1;
        }
    }
}

/// Values by small numbers, which are used again.
#[derive(Debug)]
struct Slab<T> {
    slots: Vec<Option<T>>,
    free: Vec<u32>,
    len: usize,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            len: 0,
        }
    }
}

impl<T> Slab<T> {
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

    fn take(&mut self, id: u32) -> Option<T> {
        let value = self.slots.get_mut(id as usize)?.take()?;
        self.len -= 1;
        self.free.push(id);
        if self.len == 0 {
            // what a crowd needed is given back when the last of it is gone
            *self = Self::default();
        }
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::kv::{Command, Kv, Put, Verb};

    /// Places to touch with, from a store with so many changes.
    fn places(count: usize) -> Vec<Place> {
        let mut kv = Kv::default();
        for _ in 0..count {
            let put = Put {
                key: "k".into(),
                ..Put::default()
            };
            kv.apply(&Command {
                verb: Some(Verb::Put(put)),
            })
            .unwrap();
        }
        kv.written_from(kv.seek(0))
            .map(|(place, _)| place)
            .collect()
    }

    #[test]
    fn a_stream_is_woken_once_and_gets_all_locations() {
        let places = places(3);
        let mut hub = Interests::default();
        let (one, two) = (hub.enter(), hub.enter());
        let exact = hub.register(one, &Span::new(b"a", b"")).unwrap();
        let range = hub.register(one, &Span::new(b"a", b"c")).unwrap();
        let from = hub.register(two, &Span::new(b"b", b"\0")).unwrap();
        let mut woken = Vec::new();
        hub.touch(b"a", places[0], 2, |reader| woken.push(reader));
        hub.touch(b"b", places[1], 3, |reader| woken.push(reader));
        hub.touch(b"c", places[2], 4, |reader| woken.push(reader));
        assert_eq!(woken, [one, two]);
        let touched = |revision, at: &[usize]| Touched {
            revision,
            first: places[at[0]],
            more: at[1..].iter().map(|at| places[*at]).collect(),
            rest: false,
        };
        assert_eq!(
            hub.take(one),
            [(exact, touched(2, &[0])), (range, touched(2, &[0, 1]))]
        );
        assert_eq!(hub.take(two), [(from, touched(3, &[1, 2]))]);
        assert_eq!(hub.take(two), []);
        hub.touch(b"b", places[2], 5, |reader| woken.push(reader));
        assert_eq!(woken.len(), 4, "all were read, so both are woken again");
        hub.unregister(range, &Span::new(b"a", b"c"));
        assert_eq!(hub.take(one), []);
        hub.unregister(exact, &Span::new(b"a", b""));
        hub.unregister(from, &Span::new(b"b", b"\0"));
        assert!(hub.is_empty() && hub.exact.is_empty());
    }

    #[test]
    fn notes_for_a_stream_that_does_not_read_are_bounded() {
        let places = places(2);
        let mut hub = Interests::default();
        let reader = hub.enter();
        hub.register(reader, &Span::new(b"a", b"")).unwrap();
        for revision in 0..2 * NOTED_PLACES_MAX as i64 {
            hub.touch(b"a", places[usize::from(revision > 0)], revision, |_| {});
        }
        let taken = hub.take(reader);
        let [(_, touched)] = taken.as_slice() else {
            panic!("{taken:?}")
        };
        assert_eq!((touched.first, touched.rest), (places[0], true));
        assert!(touched.more.is_empty());
    }

    #[test]
    fn all_streams_are_woken_when_changes_are_unknown() {
        let places = places(1);
        let mut hub = Interests::default();
        let (one, two) = (hub.enter(), hub.enter());
        hub.register(one, &Span::new(b"a", b"")).unwrap();
        hub.register(two, &Span::new(b"b", b"\0")).unwrap();
        let mut woken = Vec::new();
        hub.touch_all(places[0], 7, |reader| woken.push(reader));
        assert_eq!(woken, [one, two]);
        assert!(hub.take(one)[0].1.rest && hub.take(two)[0].1.rest);
    }
}

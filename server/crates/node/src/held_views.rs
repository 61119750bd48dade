//! Accounts for the memory that jobs and snapshots pin: bytes that the current state has dropped and an older state still
//! contains. The pinned bytes and the current state are charged against the quota. If the sum exceeds the quota, the oldest
//! reader must end. Snapshots for other members are counted but not ended, because those members would have to start over.
//!
//! A reader can also keep files of earlier checkpoints on the disk. If there is not enough disk space to rewrite the
//! checkpoint, the readers that started before the last checkpoint must end.
//!
//! While the memory budget is full, readers may pin only an eighth of it. Otherwise, deletions and compactions would free no
//! memory while a slow client reads.
//!
//! The figures are upper bounds. A reader pins at most the bytes that have been dropped since it started, and at most the size
//! of its state. Bytes dropped after the next reader started are charged to that reader, so that shared bytes are counted once.

use std::{collections::VecDeque, sync::Arc};

use tokio::sync::watch;
use witan_base::sync::Mutex;
use witan_machine::StateMachine;

/// Size in bytes that readers may pin even if the current state uses up the quota.
const HELD_BYTES_FREE: u64 = 64 << 20;

/// Divisor of the memory budget. The quotient is the maximum size of the data that readers may pin while the budget is full.
const MEMORY_DIVISOR: u64 = 8;

/// The readers and the memory that they pin. Clones share the state.
#[derive(Clone, Debug)]
pub(super) struct HeldViews(Arc<Mutex<Held>>);

#[derive(Debug, Default)]
struct Held {
    quota_bytes: Option<u64>,
    /// Number of bytes that the current state and its predecessors have dropped since the process started.
    dropped_bytes: u64,
    /// `StateMachine::dropped_bytes` of the current state when it was last read.
    of_machine: u64,
    /// The readers, oldest first.
    readers: VecDeque<Reader>,
    last_id: u64,
    /// Id of the last reader that started before the last checkpoint was durable.
    before_checkpoint: u64,
}

#[derive(Debug)]
struct Reader {
    id: u64,
    /// The value of `Held::dropped_bytes` when the reader started.
    since: u64,
    /// Size in bytes of the reader's state.
    bytes: u64,
    may_end: bool,
    end: watch::Sender<bool>,
}

/// The registration of a reader. It ends when this value is dropped.
#[derive(Debug)]
pub struct HeldView {
    views: HeldViews,
    id: u64,
    pub(super) end: ViewEnd,
}

/// The signal that tells a reader to release its state.
#[derive(Clone, Debug)]
pub struct ViewEnd(watch::Receiver<bool>);

impl ViewEnd {
    /// Returns whether the reader must release its state.
    pub fn is_told(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns an iterator over `items` that ends early if the reader must release its state.
    pub fn until_told<I: Iterator>(self, items: I) -> impl Iterator<Item = I::Item> {
        items.take_while(move |_| !self.is_told())
    }

    /// Completes when the reader must release its state, or never if the reader ends first.
    pub async fn wait(&mut self) {
        if self.0.wait_for(|end| *end).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Tells a reader to release its state when this value is dropped, unless the reader has ended.
#[derive(Debug)]
pub(super) struct EndOnDrop {
    views: HeldViews,
    id: u64,
}

impl HeldView {
    /// Returns a value whose drop tells this reader to release its state.
    pub(super) fn end_on_drop(&self) -> EndOnDrop {
        EndOnDrop { views: self.views.clone(), id: self.id }
    }
}

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        let held = self.views.0.lock();
        let reader = held.readers.iter().find(|reader| reader.id == self.id);
        reader.into_iter().for_each(Reader::end);
    }
}

impl Drop for HeldView {
    fn drop(&mut self) {
        let mut held = self.views.0.lock();
        held.readers.retain(|reader| reader.id != self.id);
    }
}

impl HeldViews {
    /// Creates an empty list of readers. Without `quota_bytes`, there is no quota.
    pub(super) fn new(quota_bytes: Option<u64>) -> Self {
        Self(Arc::new(Mutex::new(Held {
            quota_bytes,
            ..Held::default()
        })))
    }

    /// Registers a reader of the current state. With `may_end` false, as for a snapshot for another member, the reader is never
    /// told to end.
    pub(super) fn hold(&self, machine: &StateMachine, may_end: bool) -> HeldView {
        let (end, ended) = watch::channel(false);
        let mut held = self.0.lock();
        held.last_id += 1;
        let (id, since) = (held.last_id, held.dropped_bytes);
        let bytes = machine.size_bytes();
        held.readers
            .push_back(Reader { id, since, bytes, may_end, end });
        HeldView { views: self.clone(), id, end: ViewEnd(ended) }
    }

    /// Records the bytes that a turn has dropped. Tells the oldest readers to end until the other readers pin few enough bytes
    /// for the quota.
    pub(super) fn record_dropped(&self, machine: &StateMachine) {
        let mut held = self.0.lock();
        let of_machine = machine.dropped_bytes();
        held.dropped_bytes += of_machine.saturating_sub(held.of_machine);
        held.of_machine = of_machine;
        held.enforce(machine);
    }

    /// Records that a checkpoint is durable. Readers that start after this call do not keep files of earlier checkpoints.
    pub(super) fn checkpointed(&self) {
        let mut held = self.0.lock();
        held.before_checkpoint = held.last_id;
    }

    /// Tells the readers that started before the last checkpoint to end, except snapshots for other members. Returns the number
    /// of readers that were notified for the first time.
    pub(super) fn end_outdated(&self) -> usize {
        let held = self.0.lock();
        let outdated = held
            .readers
            .iter()
            .take_while(|reader| reader.id <= held.before_checkpoint)
            .filter(|reader| reader.may_end && !reader.is_told());
        outdated.inspect(|reader| reader.end()).count()
    }

    /// Tells the oldest readers to end until the other readers pin at most an eighth of `budget_bytes`. Returns the number of
    /// readers that were told.
    pub(super) fn end_beyond_budget(&self, budget_bytes: u64) -> usize {
        self.0.lock().end_beyond(budget_bytes / MEMORY_DIVISOR)
    }

    /// Records that the state `machine` has replaced a state of `bytes` bytes. Ends readers like [`Self::record_dropped`].
    pub(super) fn record_replaced(&self, machine: &StateMachine, bytes: u64) {
        let mut held = self.0.lock();
        held.dropped_bytes += bytes;
        held.of_machine = machine.dropped_bytes();
        held.enforce(machine);
    }
}

impl Held {
    /// Tells the oldest readers to end until the other readers pin at most the free part of the quota plus [`HELD_BYTES_FREE`].
    /// Does nothing if there is no quota.
    fn enforce(&self, present: &StateMachine) {
        if let Some(quota) = self.quota_bytes.filter(|_| !self.readers.is_empty()) {
            self.end_beyond(quota.saturating_sub(present.size_bytes()) + HELD_BYTES_FREE);
        }
    }

    /// Returns an upper bound on the bytes that readers pin, excluding readers that must end.
    fn kept_bytes(&self) -> u64 {
        let mut until = self.dropped_bytes;
        let mut kept = 0;
        for reader in self.readers.iter().rev().filter(|reader| !reader.is_told()) {
            kept += reader.bytes.min(until - reader.since);
            until = reader.since;
        }
        kept
    }

    /// Tells the oldest readers to end until the other readers pin at most `kept_max` bytes or must not end. Returns the number
    /// of readers that were told.
    fn end_beyond(&self, kept_max: u64) -> usize {
        let mut ended = 0;
        while self.kept_bytes() > kept_max
            && let Some(oldest) = self
                .readers
                .iter()
                .find(|reader| reader.may_end && !reader.is_told())
        {
            oldest.end();
            ended += 1;
        }
        ended
    }
}

impl Reader {
    /// Tells the reader to release its state.
    fn end(&self) {
        self.end.send_replace(true);
    }

    /// Returns whether the reader was told to release its state.
    fn is_told(&self) -> bool {
        *self.end.borrow()
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use tokio::time::timeout;
    use witan_machine::view::View;

    use super::{super::testing::stalled_as, *};
    use crate::{NodeError, ProcessIdentity};

    fn reader(id: u64, since: u64, bytes: u64) -> Reader {
        Reader {
            id,
            since,
            bytes,
            may_end: true,
            end: watch::Sender::new(false),
        }
    }

    fn told(held: &Held) -> Vec<u64> {
        let told = held.readers.iter().filter(|reader| reader.is_told());
        told.map(|reader| reader.id).collect()
    }

    #[test]
    fn bytes_that_several_readers_pin_count_once() {
        let readers = [
            reader(1, 0, 100),
            reader(2, 0, 100),
            reader(3, 70, 100),
            reader(4, 370, 60),
        ];
        let held = Held {
            dropped_bytes: 450,
            readers: readers.into(),
            ..Held::default()
        };
        // Nothing was dropped between the first two readers. The last two pin no more than their states.
        assert_eq!(held.kept_bytes(), 70 + 100 + 60);
    }

    #[test]
    fn the_oldest_readers_end_until_the_others_fit() {
        let mib = |mib: u64| mib << 20;
        let readers = [1, 2, 3].map(|id| reader(id, mib(40 * id), mib(40)));
        let held = Held {
            dropped_bytes: mib(160),
            readers: readers.into(),
            ..Held::default()
        };
        assert_eq!(held.kept_bytes(), mib(120));
        held.end_beyond(mib(120));
        assert_eq!(told(&held), [0; 0]);
        held.end_beyond(mib(119));
        assert_eq!(told(&held), [1]);
        assert_eq!(held.kept_bytes(), mib(80));
        held.end_beyond(mib(40));
        assert_eq!(told(&held), [1, 2]);
    }

    #[test]
    fn a_snapshot_for_a_member_counts_and_does_not_end() {
        let for_member = Reader { may_end: false, ..reader(1, 0, 100) };
        let held = Held {
            dropped_bytes: 120,
            readers: [for_member, reader(2, 90, 100), reader(3, 110, 100)].into(),
            ..Held::default()
        };
        assert_eq!(held.kept_bytes(), 90 + 20 + 10);
        held.end_beyond(110);
        assert_eq!(told(&held), [2]);
        held.end_beyond(0);
        assert_eq!(told(&held), [2, 3]);
    }

    #[test]
    fn readers_that_may_keep_files_of_earlier_checkpoints_end() {
        let views = HeldViews::new(None);
        let machine = StateMachine::default();
        let outdated = [true, false].map(|may_end| views.hold(&machine, may_end));
        assert_eq!(views.end_outdated(), 0, "no checkpoint became durable");
        views.checkpointed();
        let later = views.hold(&machine, true);
        assert_eq!((views.end_outdated(), views.end_outdated()), (1, 0));
        assert_eq!(told(&views.0.lock()), [1]);
        drop((outdated, later));
    }

    #[test]
    fn a_full_memory_budget_ends_the_readers_that_pin_much_of_it() {
        let views = HeldViews::new(None);
        let machine = StateMachine::default();
        let held = [true, true].map(|may_end| views.hold(&machine, may_end));
        {
            let mut held = views.0.lock();
            held.dropped_bytes = 100;
            held.readers[0].bytes = 100;
            held.readers[1].since = 100;
        }
        assert_eq!(views.end_beyond_budget(800), 0);
        assert_eq!(views.end_beyond_budget(799), 1);
        assert_eq!(told(&views.0.lock()), [1]);
        drop(held);
    }

    #[tokio::test]
    async fn a_reader_is_told_to_end_and_is_then_forgotten() {
        let views = HeldViews::new(Some(0));
        let machine = StateMachine::default();
        let held = views.hold(&machine, true);
        let mut end = held.end.clone();
        views.0.lock().readers[0].bytes = u64::MAX;
        views.record_replaced(&machine, 1 + HELD_BYTES_FREE);
        end.wait().await;
        drop(held);
        assert!(views.0.lock().readers.is_empty());
    }

    #[test]
    fn a_job_is_told_to_stop_if_its_caller_stops_waiting() {
        actix_rt::System::new().block_on(async {
            let (node, _requests) = stalled_as(ProcessIdentity::default());
            node.shared.latest.publish(Arc::new(View::default()), false);
            let job = node.job(()).await.unwrap();
            let end = job.end_signal();
            let (_finish, finished) = mpsc::sync_channel::<()>(0);
            let work = move |_: &View| finished.recv();
            let stopped_waiting = timeout(Duration::ZERO, job.run(work)).await;
            assert!(stopped_waiting.is_err() && end.is_told());
            let job = node.job(()).await.unwrap();
            let end = job.end_signal();
            assert_eq!(job.run(|_| 7).await, Ok((7, ())));
            assert!(!end.is_told());
        });
    }

    #[test]
    fn a_job_that_is_told_to_stop_ends_with_an_error() {
        actix_rt::System::new().block_on(async {
            let (node, _requests) = stalled_as(ProcessIdentity::default());
            node.shared.latest.publish(Arc::new(View::default()), false);
            let job = node.job(()).await.unwrap();
            {
                let mut held = node.shared.held_views.0.lock();
                held.dropped_bytes = 1;
                held.readers[0].bytes = 1;
                held.end_beyond(0);
            }
            let end = job.end_signal();
            let endless = move |_: &View| end.until_told(std::iter::repeat(())).count();
            assert_eq!(job.run(endless).await, Err(NodeError::TooMany));
        });
    }
}

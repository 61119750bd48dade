//! The write counters.

use super::TreeOperation;

/// Numbers of successful and failed writes since the store was created (`/v2/stats/store`). Each request is counted once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names of etcd's JSON")]
pub struct WriteCounts {
    pub sets_success: u64,
    pub sets_fail: u64,
    pub delete_success: u64,
    pub delete_fail: u64,
    pub update_success: u64,
    pub update_fail: u64,
    pub create_success: u64,
    pub create_fail: u64,
    pub compare_and_swap_success: u64,
    pub compare_and_swap_fail: u64,
    pub compare_and_delete_success: u64,
    pub compare_and_delete_fail: u64,
    pub expire_count: u64,
}

impl WriteCounts {
    /// Counts a request as a success (`done`) or a failure. Ignores expirations, which `expire` counts.
    pub(super) fn count(&mut self, verb: &TreeOperation, done: bool) {
        let (success, fail) = match verb {
            TreeOperation::Set(_) => (&mut self.sets_success, &mut self.sets_fail),
            TreeOperation::Create(_) => (&mut self.create_success, &mut self.create_fail),
            TreeOperation::Update(_) => (&mut self.update_success, &mut self.update_fail),
            TreeOperation::CompareAndSwap(_) => (
                &mut self.compare_and_swap_success,
                &mut self.compare_and_swap_fail,
            ),
            TreeOperation::CompareAndDelete(_) => (
                &mut self.compare_and_delete_success,
                &mut self.compare_and_delete_fail,
            ),
            TreeOperation::Delete(_) => (&mut self.delete_success, &mut self.delete_fail),
            TreeOperation::Expire(_) => return,
        };
        *if done { success } else { fail } += 1;
    }

    /// Returns the largest counter.
    pub fn max(&self) -> u64 {
        self.numbers().into_iter().fold(0, u64::max)
    }

    /// Returns the counters in the order of the fields, as in a checkpoint record.
    pub(super) fn numbers(&self) -> [u64; 13] {
        let mut copy = *self;
        copy.places().map(|place| *place)
    }

    /// Restores the counters from the result of [`Self::numbers`].
    pub(super) fn from_numbers(numbers: [u64; 13]) -> Self {
        let mut counts = Self::default();
        for (place, number) in counts.places().into_iter().zip(numbers) {
            *place = number;
        }
        counts
    }

    /// Returns references to the counters in the order of the fields.
    fn places(&mut self) -> [&mut u64; 13] {
        [
            &mut self.sets_success,
            &mut self.sets_fail,
            &mut self.delete_success,
            &mut self.delete_fail,
            &mut self.update_success,
            &mut self.update_fail,
            &mut self.create_success,
            &mut self.create_fail,
            &mut self.compare_and_swap_success,
            &mut self.compare_and_swap_fail,
            &mut self.compare_and_delete_success,
            &mut self.compare_and_delete_fail,
            &mut self.expire_count,
        ]
    }
}

//! Series of what is free on the disk, and of what counts against the quota besides the v3 key space.

use prometheus::IntGauge;

use super::{gauge, register::SeriesRegistry};

/// Sizes to be shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct SpaceFacts {
    /// v2 size, its history included.
    pub tree_bytes: u64,
    /// Size of users, roles and members.
    pub auth_bytes: u64,
    /// Free bytes of the disk.
    pub free_bytes: u64,
    /// Bytes that are to stay free.
    pub reserve_bytes: u64,
    /// Bytes of the ballast that is there.
    pub ballast_bytes: u64,
}

#[derive(Debug)]
pub(super) struct SpaceSeries {
    tree_bytes: IntGauge,
    auth_bytes: IntGauge,
    free_bytes: IntGauge,
    reserve_bytes: IntGauge,
    ballast_bytes: IntGauge,
}

#[rustfmt::skip]
impl SpaceSeries {
    pub(super) fn new(on: &SeriesRegistry) -> Self {
        Self {
            tree_bytes: on.gauge("witan_v2_size_bytes", "Size of the v2 tree and its history, which counts against the quota."),
            auth_bytes: on.gauge("witan_auth_size_bytes", "Size of users, roles, permissions and members, which counts against the quota."),
            free_bytes: on.gauge("witan_disk_free_bytes", "Free bytes of the file system that holds the data."),
            reserve_bytes: on.gauge("witan_disk_reserve_bytes", "Free bytes below which writes are refused, 0 when nobody watches."),
            ballast_bytes: on.gauge("witan_disk_ballast_bytes", "Bytes of the ballast file that is there."),
        }
    }

    pub(super) fn tell(&self, facts: &SpaceFacts) {
        self.tree_bytes.set(gauge(facts.tree_bytes));
        self.auth_bytes.set(gauge(facts.auth_bytes));
        self.free_bytes.set(gauge(facts.free_bytes));
        self.reserve_bytes.set(gauge(facts.reserve_bytes));
        self.ballast_bytes.set(gauge(facts.ballast_bytes));
    }
}

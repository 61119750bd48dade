//! A snapshot as a file for etcd's tools: all of etcd's buckets, and one bucket for state that etcd does not have. The file is
//! written page by page from a frozen view while the store accepts writes. `witan_v3` sends the file and its digest to clients.

use std::io;

use witan_base::version;
use witan_bolt::{Layout, WriteBytes, Writer};
use witan_machine::{record::RecordChange, versions::release, view::View};

use super::{
    level,
    record::Values,
    schema::{self, BucketSink},
};

/// Name of Witan's own bucket, which etcd ignores. Its keys are numbers. Each value is a checkpoint record: the length of its
/// key (four bytes, big-endian), its key, and its value.
pub(super) const WITAN_BUCKET: &str = "witan";

/// A snapshot file with a computed layout.
pub struct SnapshotFile<'a> {
    view: &'a View,
    layout: Layout,
}

impl<'a> SnapshotFile<'a> {
    /// Computes the layout of the file by reading the entire state once, except values on disk, whose lengths suffice. Fails
    /// with `BrokenPipe` soon after `must_end` returns true.
    pub fn of(view: &'a View, must_end: &dyn Fn() -> bool) -> io::Result<Self> {
        let layout = Layout::of(|writer| fill(view, Values::Lengths, must_end, writer))?;
        Ok(Self { view, layout })
    }

    /// Returns the size of the file in bytes, without a digest.
    pub fn bytes(&self) -> u64 {
        self.layout.bytes()
    }

    /// Writes the file from start to end, without a digest. Ends early only if `out` fails.
    pub fn write(&self, out: &mut WriteBytes<'_>) -> io::Result<()> {
        self.layout.write(out, |writer| {
            fill(self.view, Values::Contents, &|| false, writer)
        })
    }
}

/// Writes etcd's buckets, with a cluster version that etcd accepts, and the bucket for state that etcd does not have. Fails with
/// `BrokenPipe` soon after `must_end` returns true.
fn fill(
    view: &View,
    values: Values,
    must_end: &dyn Fn() -> bool,
    writer: &mut Writer<'_>,
) -> io::Result<()> {
    let known = &view.machine.members.cluster_version;
    // etcd refuses a cluster version that is newer than etcd itself, and upgrades an older cluster version.
    let version = match release(known) > release(version::SNAPSHOT) {
        true => version::SNAPSHOT,
        false => known,
    };
    schema::walk(view, version, values, must_end, writer)?;
    writer.bucket(WITAN_BUCKET.as_bytes())?;
    let (mut number, mut value, mut outcome) = (0_u64, Vec::new(), Ok(()));
    let mut put = |key: &[u8], record: &[u8]| {
        if outcome.is_err() {
            return;
        }
        value.clear();
        value.extend_from_slice(&(key.len() as u32).to_be_bytes());
        value.extend_from_slice(key);
        value.extend_from_slice(record);
        outcome = writer.record(&number.to_be_bytes(), &value);
        number += 1;
    };
    // A release that does not know the level must refuse the file before it reads another record.
    if let Some(key) = level::key(view.machine.members.level()) {
        put(&key, &[]);
    }
    view.machine.witan_records(&mut |change| {
        // Without an earlier state, no record is deleted.
        if let RecordChange::Put { key, value } = change {
            put(&key, &value);
        }
    });
    outcome
}

/// Splits a value in Witan's own bucket into the key and the value of a checkpoint record; `None` if the value is malformed.
pub(super) fn decode_witan_record(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = value.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_be_bytes(*length) as usize)
}

impl BucketSink for Writer<'_> {
    fn bucket(&mut self, name: &str) -> io::Result<()> {
        Writer::bucket(self, name.as_bytes())
    }

    fn record(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        Writer::record(self, key, value)
    }
}

//! A member's state in the layout of etcd 3.6's store, for hashes and snapshots.
//!
//! Reading order: `record` (one version of a key), `schema` (all buckets), `hash`. `level` marks a snapshot with the feature
//! level, `file` writes a snapshot, and `read`, `status` and `digest` read a snapshot. The call that sends a snapshot to a
//! client appends the digest (`server/crates/v3/src/snapshot.rs`). `v2_store` is etcd's v2 store, which is in etcd's data
//! directory but not in the snapshots that etcdctl saves.

pub mod digest;
mod file;
mod hash;
mod level;
mod read;
mod record;
mod schema;
mod status;
#[cfg(test)]
mod tests;
pub mod v2_store;

pub use file::SnapshotFile;
pub use hash::{SnapshotKeys, StateChecksums, of_keys, of_state, of_store, of_versions};
pub use read::{ImportedSnapshot, OnRecordBuilt, bump_revision, read, read_auth};
pub use schema::{known_member, shown_member};
pub use status::{SnapshotStatus, status};
pub use witan_bolt::{BoltError, WriteBytes};

//! A member's state in the layout of etcd 3.6's store, for hashes and snapshots.
//!
//! `witan_machine` implements the state, `witan_storage` the files of the data directory, and `witan_v3` the calls.
//!
//! Reading order: `record` (one version as etcd stores it) → `schema` (all buckets) → `hash` → `file` (writes a snapshot;
//! `witan_bolt` writes its pages) → `read`, `status` (read a snapshot), `digest` (checks its end) → `v2_store` (etcd's v2 store, which is in its data
//! directory and not in its snapshots).

pub mod digest;
mod file;
mod hash;
mod read;
mod record;
mod schema;
mod status;
#[cfg(test)]
mod tests;
pub mod v2_store;

pub use file::SnapshotFile;
pub use hash::{StateChecksums, of_keys, of_state, of_store, of_versions};
pub use read::{ImportedSnapshot, bump_revision, read};
pub use schema::{known_member, shown_member};
pub use status::{SnapshotStatus, status};
pub use witan_bolt::{BoltError, WriteBytes};

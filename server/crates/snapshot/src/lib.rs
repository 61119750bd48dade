//! A member's state in the layout of etcd 3.6's store, for hashes and snapshots.
//!
//! Not here: the state itself (`witan_machine`), the files of the data directory (`witan_storage`) and the calls of clients
//! (`witan_v3`).
//!
//! Reading order: `record` (one version as etcd stores it) → `schema` (all buckets) → `hash` → `file` (writes a snapshot;
//! `witan_bolt` writes its pages) → `read`, `status` (read one), `digest` (checks its end) → `v2_store` (etcd's v2 store,
//! which is in files of its data directory instead of its snapshots).

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

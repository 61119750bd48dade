//! The command `witan-operator backup`, which stores snapshots and changes of members in object stores.
//!
//! A backup consists of two objects in a directory (its location): `NAME.db`, a snapshot in the format of `etcdctl snapshot
//! save`, and `NAME.json`, a [`witan_api::backup::BackupRecord`]. The record is written last; a backup without a record is
//! incomplete. The bytes are streamed from the member to the store through bounded memory, without a local disk. Changes after
//! a snapshot are stored as segments in the directory `changes/CLUSTER`, in the format of `witan_api::changes`.
//!
//! This crate does not use Kubernetes: the operator's jobs run this command in pods, and users can run it by hand.
//!
//! Reading order: `command` (flags) → `run` → `save`, `changes`, `list`, `fetch`, `accept` (one file per command) → `source`,
//! `snapshots`, `members` (reading from members), `digest` (the digest of a snapshot) → `location`, `store`, `s3`, `http`,
//! `upload`, `store_error` (the object store) → `inventory`, `retention`, `name` (stored backups) → `staged` (partial files),
//! `progress`, `stop` (signals) → `result`, `reason`.

mod command;
mod run;
// the commands
mod accept;
mod changes;
mod fetch;
mod list;
mod save;
// shared by the commands
mod digest;
mod http;
mod inventory;
mod location;
mod members;
mod name;
mod progress;
mod reason;
mod result;
mod retention;
mod s3;
mod snapshots;
mod source;
mod staged;
mod stop;
mod store;
mod store_error;
mod upload;

#[cfg(test)]
mod testing;

pub use command::BackupCommand;
pub use run::run;

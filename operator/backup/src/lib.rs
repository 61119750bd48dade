//! The command `witan-operator backup`: snapshots and changes of members in object stores.
//!
//! A backup is two objects of a folder (its location): `NAME.db`, a snapshot as `etcdctl snapshot save` writes it, and
//! `NAME.json`, a [`BackupRecord`], which is written last. Without the record a backup does not count. The bytes go from
//! the member to the store through memory of a fixed size; no local disk holds them. The changes of a cluster after its
//! snapshots are segments in the folder `changes/CLUSTER`, whose format is `witan_api::changes`.
//!
//! Nothing here knows Kubernetes: jobs of the operator run this command in pods, and people can run it by hand.
//!
//! The reading order: `command` (flags), `save`, `changes`, `list`, `fetch`, then what they are made of.

mod command;
mod run;
// the verbs
mod changes;
mod fetch;
mod list;
mod save;
// what they are made of
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
mod source;
mod staged;
mod stop;
mod store;
mod store_error;
mod upload;

#[cfg(test)]
mod testing;

pub use changes::ChangesStatus;
pub use command::BackupCommand;
pub use result::{BackupRecord, FetchedBackup};
pub use run::run;

//! Reads the cluster's metadata from the backend, a bbolt file with the buckets and keys of etcd's `storage/schema`.

use std::{fs, path::PathBuf};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use witan_api::peer::Member;
use witan_bolt::{BoltError, BoltFile};

use super::EtcdError;

/// The cluster's metadata in the backend.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BackendMeta {
    /// Path of the file: `db`, or a file received with a snapshot.
    pub path: PathBuf,
    /// Length of the file in bytes.
    pub length: u64,
    /// Index of the last applied entry; 0 if there is none.
    pub consistent_index: u64,
    /// Term of that entry; 0 in etcd 3.4.
    pub term: u64,
    /// The members.
    pub members: Vec<Member>,
    /// Ids of removed members.
    pub removed: Vec<u64>,
    /// The cluster version.
    pub cluster_version: Option<String>,
    /// A requested downgrade; written since etcd 3.5.
    pub downgrade: Option<Downgrade>,
    /// Version of the storage schema; written since etcd 3.6.
    pub storage_version: Option<String>,
}

/// The context of a single-member change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct MemberContext {
    /// The member after the change.
    #[serde(flatten)]
    pub member: Member,
    /// Whether a learner becomes a voter.
    pub is_promote: bool,
}

impl MemberContext {
    /// Parses the context of a [`crate::ConfChange`]. Returns `None` if it is not valid JSON of a member.
    pub fn parse(context: &[u8]) -> Option<Self> {
        serde_json::from_slice(context).ok()
    }
}

/// A downgrade of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Downgrade {
    /// The target version.
    #[serde(rename = "target-version")]
    pub target_version: String,
    /// Whether the downgrade is in progress.
    pub enabled: bool,
}

impl BackendMeta {
    /// Reads the metadata of the backend at `path`. A missing record leaves its field empty or 0. Fails if the file is missing
    /// or damaged.
    pub(crate) fn read(path: PathBuf) -> Result<Self, EtcdError> {
        let length = fs::metadata(&path)
            .map_err(|error| EtcdError::io(&path, error))?
            .len();
        let mut meta = Self { path, length, ..Self::default() };
        match meta.fill() {
            Ok(()) => Ok(meta),
            Err(error) => Err(EtcdError::Backend { path: meta.path, error }),
        }
    }

    /// Fills the metadata with the records of the file at `path`. Fails if the file or one of the records is damaged.
    fn fill(&mut self) -> Result<(), BoltError> {
        let file = BoltFile::open(&self.path, self.length)?;
        for (name, bucket) in file.buckets()? {
            if ![&b"meta"[..], b"members", b"members_removed", b"cluster"].contains(&&name[..]) {
                continue;
            }
            file.records(&bucket, &mut |key, value| {
                self.take(&name, key, value).map_err(|what| {
                    let (name, key) = (name.escape_ascii(), key.escape_ascii());
                    BoltError::Invalid(format!("bucket {name}, key {key}: {what}"))
                })
            })?;
        }
        Ok(())
    }

    /// Reads one record of a bucket into its field. Ignores unknown keys. Fails if the value of a known key is invalid.
    fn take(&mut self, bucket: &[u8], key: &[u8], value: &[u8]) -> Result<(), String> {
        match (bucket, key) {
            (b"meta", b"consistent_index") => self.consistent_index = number(value)?,
            (b"meta", b"term") => self.term = number(value)?,
            (b"meta", b"storageVersion") => self.storage_version = Some(text(value)?),
            (b"cluster", b"clusterVersion") => self.cluster_version = Some(text(value)?),
            (b"cluster", b"downgrade") => self.downgrade = Some(json(value)?),
            (b"members", key) => {
                let member: Member = json(value)?;
                if member.id != member_id(key)? {
                    return Err("its value belongs to another member".into());
                }
                self.members.push(member);
            }
            (b"members_removed", key) => self.removed.push(member_id(key)?),
            _ => {}
        }
        Ok(())
    }
}

/// Reads a big-endian number of 8 bytes.
fn number(value: &[u8]) -> Result<u64, String> {
    let bytes = value.try_into();
    bytes
        .map(u64::from_be_bytes)
        .map_err(|_| "it is not an 8-byte number".into())
}

fn text(value: &[u8]) -> Result<String, String> {
    String::from_utf8(value.to_vec()).map_err(|error| error.to_string())
}

fn json<T: DeserializeOwned>(value: &[u8]) -> Result<T, String> {
    serde_json::from_slice(value).map_err(|error| error.to_string())
}

/// Parses a member id, which is hexadecimal in the buckets' keys.
fn member_id(key: &[u8]) -> Result<u64, String> {
    u64::from_str_radix(&text(key)?, 16).map_err(|_| "it is not a member id".into())
}

//! Statistics of a snapshot, as printed by `etcdutl snapshot status`.

use std::{collections::HashSet, path::Path};

use prost::Message as _;
use witan_api::v3::mvccpb;
use witan_bolt::{BoltError, BoltFile};
use witan_machine::levels;

use super::{
    file::WITAN_BUCKET,
    level,
    record::parse_revision,
    schema::{KEY, META, STORAGE_VERSION},
};

/// Statistics of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct SnapshotStatus {
    /// CRC-32C of all buckets' names, keys and values.
    pub hash: u32,
    /// The last revision; 0 if the snapshot has no version of a key.
    pub revision: i64,
    /// Number of live keys.
    #[serde(rename = "totalKey")]
    pub keys: usize,
    /// Size of the file in bytes, without a digest.
    #[serde(rename = "totalSize")]
    pub bytes: u64,
    /// Version of the layout; empty in files of etcd 3.5 and earlier.
    pub version: String,
}

/// Computes the statistics of the snapshot in the first `length` bytes of a file. Fails with `Later` if this release does not
/// know the snapshot's feature level.
pub fn status(path: &Path, length: u64) -> Result<SnapshotStatus, BoltError> {
    let file = BoltFile::open(path, length)?;
    let (mut hash, mut revision, mut version) = (0, 0, String::new());
    let mut keys: HashSet<Vec<u8>> = HashSet::new();
    for (name, bucket) in file.buckets()? {
        hash = crc32c::crc32c_append(hash, &name);
        file.records(&bucket, &mut |key, value| {
            hash = crc32c::crc32c_append(hash, key);
            hash = crc32c::crc32c_append(hash, value);
            if name == META.as_bytes() && key == STORAGE_VERSION.as_bytes() {
                version = String::from_utf8_lossy(value).into_owned();
            }
            if name == WITAN_BUCKET.as_bytes() {
                level::read(value, levels::OWN)?;
            }
            if name != KEY.as_bytes() {
                return Ok(());
            }
            let shown = key.escape_ascii();
            let (main, _, deletes) = parse_revision(key)
                .ok_or_else(|| BoltError::Invalid(format!("cannot parse revision key: {shown}")))?;
            let pair = mvccpb::KeyValue::decode(value).map_err(|error| {
                BoltError::Invalid(format!("cannot unmarshal value, key: {shown} err: {error}"))
            })?;
            revision = main.0;
            if deletes {
                keys.remove(&*pair.key);
            } else {
                keys.insert(pair.key.to_vec());
            }
            Ok(())
        })?;
    }
    Ok(SnapshotStatus {
        hash,
        revision,
        keys: keys.len(),
        bytes: file.bytes(),
        version,
    })
}

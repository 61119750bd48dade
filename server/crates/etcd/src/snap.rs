//! Reads `.snap` files: Raft snapshots, each with a checksum.

use std::{fs, path::Path};

use bytes::Bytes;
use prost::Message as _;

use super::{
    EtcdError, RaftSnapshot,
    raft_messages::{SnapFile, SnapMessage, WalSnapshot},
};

/// Returns the newest intact snapshot in `known`, the snapshots that the log refers to; `None` if none is intact. Like etcd,
/// skips missing and damaged files, because the log also contains all entries after older snapshots. Fails if an existing file
/// cannot be read.
pub(crate) fn newest(dir: &Path, known: &[WalSnapshot]) -> Result<Option<RaftSnapshot>, EtcdError> {
    let mut newest_first: Vec<_> = known.iter().filter(|known| known.index > 0).collect();
    newest_first.sort_by_key(|known| std::cmp::Reverse((known.term, known.index)));
    for WalSnapshot { index, term, .. } in newest_first {
        let path = dir.join(format!("{term:016x}-{index:016x}.snap"));
        if !path.is_file() {
            continue;
        }
        let bytes = fs::read(&path).map_err(|error| EtcdError::io(&path, error))?;
        let snapshot = decode(bytes.into());
        if let Some(found) = snapshot.filter(|found| (found.index, found.term) == (*index, *term)) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Decodes a `.snap` file. Returns `None` if the file is damaged.
fn decode(bytes: Bytes) -> Option<RaftSnapshot> {
    let file = SnapFile::decode(bytes).ok()?;
    if file.data.is_empty() || crc32c::crc32c(&file.data) != file.crc {
        return None;
    }
    let message = SnapMessage::decode(file.data).ok()?;
    let metadata = message.metadata?;
    Some(RaftSnapshot {
        index: metadata.index,
        term: metadata.term,
        conf_state: metadata.conf_state.unwrap_or_default(),
        data: message.data,
    })
}

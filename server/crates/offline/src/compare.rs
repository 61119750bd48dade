//! Compares the hash of the snapshot's keys with the hash in the backup's record. The record has the hash of the member's keys
//! at the time of the backup.

use std::{fs, path::Path};

use serde::Deserialize;
use witan_api::backup::KeysHash;
use witan_machine::{kv::Kv, revision::Revision};
use witan_snapshot as snapshot;

use super::error::OfflineError;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    /// A revision that the snapshot contains.
    revision: i64,
    /// Hash of the keys at that revision.
    keys_hash: Option<KeysHash>,
}

/// Compares the hash of the keys with the hash in a record and returns a message for the report. Fails if the hashes or the
/// compacted revisions differ, or if the revision of the record is not available. If the record has no hash, the message says
/// that the keys were not compared.
pub(super) fn keys(record: &Path, kv: &Kv) -> Result<String, OfflineError> {
    let unreadable =
        |reason: String| OfflineError::Record { path: record.display().to_string(), reason };
    let text = fs::read(record).map_err(|error| unreadable(error.to_string()))?;
    let record: Record =
        serde_json::from_slice(&text).map_err(|error| unreadable(error.to_string()))?;
    let Some(wanted) = record.keys_hash else {
        return Ok(", keys not compared: the record has no hash of the keys".to_owned());
    };
    let revision = record.revision;
    let compacted = kv.compacted().0.max(0);
    let wanted_compacted = wanted.compact_revision.max(0);
    let hashed = kv.hash_revision(Revision(revision)).ok();
    let found = hashed.map(|revision| snapshot::of_keys(kv, revision));
    if compacted == wanted_compacted && found == Some(wanted.hash) {
        return Ok(format!(
            ", keys equal to those of the cluster at revision {revision}"
        ));
    }
    let shown = found.map_or_else(|| "none".to_owned(), |hash| hash.to_string());
    Err(OfflineError::OtherKeys(format!(
        "the snapshot's keys differ from the cluster's at revision {revision}: the snapshot's hash is {shown} and its \
         compacted revision is {compacted}; the cluster's hash was {} and its compacted revision was {wanted_compacted}",
        wanted.hash
    )))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use witan_machine::StateMachine;

    use super::*;

    /// Writes `record` to a file and compares it with an empty key space. `name` makes the file unique. Returns the message or
    /// the error's text.
    fn compared(name: &str, record: &str) -> Result<String, String> {
        let path = format!("witan-compare-{}-{name}", std::process::id());
        let path: PathBuf = std::env::temp_dir().join(path);
        fs::write(&path, record).unwrap();
        let found = keys(&path, &StateMachine::default().kv);
        fs::remove_file(&path).unwrap();
        found.map_err(|error| error.to_string())
    }

    #[test]
    fn a_snapshot_with_other_keys_or_another_compaction_is_refused() {
        let own = snapshot::of_keys(&StateMachine::default().kv, Revision::EMPTY);
        let record = |hash: u32, compacted: i64| {
            format!(
                "{{\"revision\":1,\"keysHash\":{{\"hash\":{hash},\"compactRevision\":{compacted}}},\"name\":\"a\"}}"
            )
        };
        for never in [-1, 0] {
            let found = compared("equal", &record(own, never)).unwrap();
            assert!(
                found.contains("equal to those of the cluster at revision 1"),
                "{found}"
            );
        }
        for other in [record(own ^ 1, 0), record(own, 1)] {
            let error = compared("other", &other).unwrap_err();
            assert!(
                error.contains("differ from the cluster's at revision 1"),
                "{error}"
            );
        }
        let later = record(own, 0).replace("\"revision\":1", "\"revision\":2");
        let error = compared("later", &later).unwrap_err();
        assert!(error.contains("hash is none"), "{error}");
    }

    #[test]
    fn keys_are_not_compared_without_a_hash_in_the_record() {
        let found = compared("none", "{\"revision\":1}").unwrap();
        assert!(found.contains("not compared"), "{found}");
        assert!(compared("broken", "{").unwrap_err().contains("--compare"));
    }
}

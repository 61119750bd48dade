//! Reads the state of a stopped member from its data directory.

use std::{path::Path, sync::Arc};

use witan_base::metrics::Register;
use witan_machine::{levels, values::BlockCache, view::View};
use witan_replica::replica::{ForceError, Replica};
use witan_storage::{self as storage, DataIdentity, ReadHold, StorageMetrics};

use super::error::OfflineError;

pub(super) struct StoppedMember {
    pub(super) identity: DataIdentity,
    /// The state after all log entries, with all other members removed.
    pub(super) view: View,
    /// Index and term of the last log entry, for comparing members.
    pub(super) last: (u64, u64),
    /// Keeps the values of `view` that are not in memory readable.
    pub(super) hold: ReadHold,
}

/// Reads a stopped member's data directory without writing to it. Fails if the directory contains no data, if the state is
/// missing, damaged or above this release's feature level, or if the member was removed. `cache` decides which values of the
/// state are in memory.
pub(super) fn read(dir: &Path, cache: &Arc<BlockCache>) -> Result<StoppedMember, OfflineError> {
    let shown = || dir.display().to_string();
    // An offline command has no metrics page.
    let metrics = StorageMetrics::register(&Register::default());
    let found = storage::read(dir, cache, &metrics)?;
    let (identity, mut recovered, hold) = found.ok_or_else(|| OfflineError::NoData(shown()))?;
    let corrupt = |error| match error {
        ForceError::NoState => OfflineError::NoState(shown()),
        ForceError::Corrupt(source) => OfflineError::Corrupt { dir: shown(), source },
    };
    let own = identity.member_id;
    let place = recovered.checkpoint.as_ref().map(|view| &view.position);
    let received = place.map_or((0, 0), |place| (place.index, place.term));
    let forced = Replica::force_new_cluster(&mut recovered, own, levels::OWN).map_err(corrupt)?;
    let added = forced.map_or(0, |forced| forced.batch.records.len());
    let view = Replica::state_alone(&recovered, own).map_err(corrupt)?;
    let view = view.ok_or_else(|| OfflineError::NotAMember(shown()))?;
    let last = recovered.records.iter().rev().nth(added);
    // After a received or restored state, the log may be empty.
    let last = last.map_or(received, |record| (record.index, record.term));
    Ok(StoppedMember { identity, view, last, hold })
}

#[cfg(test)]
mod tests {
    use std::{
        env, fs,
        path::PathBuf,
        process::{self, Command},
    };

    use super::*;

    /// Data directories that earlier releases have written. `tests/upgrade/make-directories` creates them.
    const DIRECTORIES: &str = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../../tests/upgrade/directories"
    );

    /// Unpacks an archive. Uses Python, because not every system has the program `xz`.
    fn unpack(archive: &Path, to: &Path) {
        let script = "import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2])";
        let python = Command::new("python3")
            .args(["-Wignore", "-c", script])
            .args([archive, to])
            .status();
        assert!(python.is_ok_and(|status| status.success()), "{archive:?}");
    }

    /// Members of two releases in one cluster must have the same layout. The sizes of records count toward the quota, and the
    /// blocks determine what a compaction sweeps.
    #[test]
    fn the_log_of_an_earlier_release_gives_the_state_that_the_release_had() {
        let releases = Path::new(DIRECTORIES).read_dir().expect("a folder");
        let folders: Vec<PathBuf> = releases
            .map(|entry| entry.expect("a folder").path())
            .collect();
        assert!(!folders.is_empty());
        for folder in folders {
            let to = env::temp_dir().join(format!("witan-replay-{}", process::id()));
            unpack(&folder.join("replay.tar.xz"), &to);
            let cache = Arc::default();
            let [replayed, applied] =
                ["before", "data"].map(|name| read(&to.join(name), &cache).expect("a state"));
            assert_eq!(replayed.view.position, applied.view.position, "{folder:?}");
            assert_eq!(
                replayed.view.full_fingerprint(),
                applied.view.full_fingerprint(),
                "{folder:?}"
            );
            fs::remove_dir_all(&to).expect("a folder");
        }
    }
}

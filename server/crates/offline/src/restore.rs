//! `witan snapshot restore` creates the data directory of a member of a new cluster from a snapshot.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use witan_adopt::lineage;
use witan_bootstrap as bootstrap;
use witan_config::{Config, Environment, Invocation};
use witan_machine::{member::MemberRegistry, values::BlockCache, view::View};
use witan_snapshot::{self as snapshot, BoltError, digest};
use witan_storage::{self as storage, DataIdentity, NewDirectory, OpenError};

use super::{
    arguments::RestoreArguments, changes::ChangesFolder, compare, error::OfflineError,
    progress::ProgressBar,
};

/// Restores a snapshot and returns the output to print. If the data directory is not empty, fails or, with `--skip-existing`,
/// restores nothing. With `--remove-snapshot`, removes the snapshot and its changes, even if `--skip-existing` prevents the
/// restore. Fails if the data directory cannot be read, or if only one of `--bump-revision` and `--mark-compacted` is set.
pub(super) fn restore(
    arguments: &RestoreArguments,
    cache: &Arc<BlockCache>,
) -> Result<String, OfflineError> {
    if (arguments.bump_revision > 0) != arguments.mark_compacted {
        return Err(OfflineError::Bump);
    }
    let (identity, genesis, dir) = first_member_state(arguments)?;
    match storage::is_free(&dir) {
        Ok(true) => {}
        Ok(false) if arguments.skip_existing => {
            remove_snapshot(arguments)?;
            let dir = dir.display();
            return Ok(format!("{dir} is not empty; nothing was restored\n"));
        }
        // A directory that cannot be read may be empty, so a member must not start on it without the data.
        Ok(false) | Err(_) => {
            return Err(OfflineError::DirectoryNotEmpty(dir.display().to_string()));
        }
    }
    let changes = arguments.changes.as_deref();
    let changes = changes.map(ChangesFolder::open).transpose()?;
    let (length, has_digest) = digest::length("open", &arguments.file)?;
    let mut bar = ProgressBar::new();
    if !arguments.skip_hash_check {
        if !has_digest {
            return Err(OfflineError::NoDigest);
        }
        bar.begin("checking", length);
        digest::check(&arguments.file, length, &mut |bytes| bar.advance(bytes))?;
    }
    bar.begin("reading", length);
    let mut directory = storage::create(&dir, &identity, cache)?;
    let content = (length, changes.as_ref());
    let (mut state, compared) = build(arguments, content, *genesis, &mut directory, &mut bar)?;
    // Members that are restored from different snapshots must not form a cluster.
    state.position.voters.sort_unstable();
    state.position.lineage = lineage::of_restored(&state);
    let text = format!(
        "restored {} into {}: revision {}, {} keys, member {} of cluster {:x}{compared}\n",
        arguments.file.display(),
        dir.display(),
        state.machine.kv.revision(),
        state.machine.kv.len(),
        identity.member_id,
        identity.cluster_id,
    );
    bar.begin("writing", 0);
    let finished = directory.finish(state);
    finished.map_err(|error| finish_error(error, &dir))?;
    bar.end();
    remove_snapshot(arguments)?;
    Ok(text)
}

#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error(transparent)]
    Snapshot(#[from] BoltError),
    #[error(transparent)]
    Storage(#[from] OpenError),
}

/// Converts an error of the last step of a restore to `DirectoryNotEmpty` if another process has filled the data directory in
/// the meantime. Converts any other error to `Storage`.
fn finish_error(error: OpenError, dir: &Path) -> OfflineError {
    if let OpenError::Io { source, .. } = &error {
        // The kind depends on the file system.
        let kinds = [
            io::ErrorKind::DirectoryNotEmpty,
            io::ErrorKind::AlreadyExists,
        ];
        if kinds.contains(&source.kind()) {
            return OfflineError::DirectoryNotEmpty(dir.display().to_string());
        }
    }
    error.into()
}

/// Builds the state from a snapshot of `length` bytes and its changes, and increases the revision by `--bump-revision`. Takes
/// the members, the position and a missing v2 tree from `genesis`, but keeps the feature level of the data. Writes parts of
/// the state to `directory`. Returns the state and the message of `--compare`, which compares the snapshot before its changes.
fn build(
    arguments: &RestoreArguments,
    (length, changes): (u64, Option<&ChangesFolder<'_>>),
    genesis: View,
    directory: &mut NewDirectory,
    bar: &mut ProgressBar,
) -> Result<(View, String), OfflineError> {
    let file = &arguments.file;
    let up_to = changes.and_then(ChangesFolder::up_to);
    let found = snapshot::read(file, length, up_to, &mut |machine, bytes| {
        bar.advance(bytes);
        directory.write_part(machine).map_err(ReadError::from)
    });
    let found = found.map_err(|error| match error {
        ReadError::Snapshot(error) => OfflineError::broken(file)(error),
        ReadError::Storage(error) => error.into(),
    })?;
    let compared = arguments.compare.as_deref();
    let compared = compared.map(|record| compare::keys(record, &found.machine.kv));
    let compared = compared.transpose()?.unwrap_or_default();
    let View { machine: first, position } = genesis;
    let mut machine = found.machine;
    if let Some(changes) = changes {
        changes.apply(&mut machine, &mut |machine| {
            directory.write_part(machine).map_err(OfflineError::from)
        })?;
    }
    if arguments.bump_revision > 0 {
        let bumped = snapshot::bump_revision(&mut machine.kv, arguments.bump_revision);
        bumped.map_err(OfflineError::broken(file))?;
    }
    // The cluster keeps the feature level of its data. If the data has the first level, the new leader decides the level.
    let raised_level = machine.members.raised_level;
    machine.members = MemberRegistry { raised_level, ..first.members };
    if !found.has_tree {
        machine.tree = first.tree;
    }
    Ok((View { machine, position }, compared))
}

/// Removes the snapshot and its changes if `--remove-snapshot` is set. Missing files are not an error.
fn remove_snapshot(arguments: &RestoreArguments) -> Result<(), OfflineError> {
    if !arguments.remove_snapshot {
        return Ok(());
    }
    let removed = |path: &Path, outcome: io::Result<()>| match outcome {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(OfflineError::open("remove", path)(error))
        }
        Ok(()) | Err(_) => Ok(()),
    };
    if let Some(folder) = &arguments.changes {
        removed(folder, fs::remove_dir_all(folder))?;
    }
    removed(&arguments.file, fs::remove_file(&arguments.file))
}

/// Returns the identity, the cluster's first state, and the data directory of a member with these flags. Fails if
/// `--initial-cluster` does not contain this member with its advertised URLs.
fn first_member_state(
    arguments: &RestoreArguments,
) -> Result<(DataIdentity, Box<View>, PathBuf), OfflineError> {
    let flag = |name: &str, value: &str| OsString::from(format!("--{name}={value}"));
    let mut flags = vec![
        // Without this flag, TLS URLs would need a certificate, although a restore does not listen.
        flag("peer-auto-tls", "true"),
        flag("name", &arguments.name),
        flag("initial-cluster", &arguments.initial_cluster),
        flag("initial-cluster-token", &arguments.initial_cluster_token),
        flag(
            "initial-advertise-peer-urls",
            &arguments.initial_advertise_peer_urls,
        ),
    ];
    if let Some(dir) = &arguments.data_dir {
        flags.push("--data-dir".into());
        flags.push(dir.into());
    }
    let Invocation::Start(config) = Config::load(flags.into_iter(), &Environment::default())?
    else {
        unreachable!("the flags start a member")
    };
    config.bootstrap()?;
    let (identity, state) = bootstrap::new_cluster(&config);
    Ok((identity, state, config.data_dir))
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsStr, process};

    use clap::Parser as _;
    use witan_machine::{StateMachine, command::Entry, kv::Put, levels};
    use witan_snapshot::SnapshotFile;

    use super::*;
    use crate::{
        arguments::{SnapshotArguments, SnapshotCommand},
        stopped,
    };

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = format!("witan-restore-{}-{name}", process::id());
            let folder = Self(std::env::temp_dir().join(path));
            drop(fs::remove_dir_all(&folder.0));
            fs::create_dir_all(&folder.0).unwrap();
            folder
        }

        /// Writes a snapshot of a cluster with this level.
        fn snapshot(&self, raised_level: levels::Level) -> PathBuf {
            let members = MemberRegistry {
                cluster_version: "3.7.0".into(),
                raised_level,
                ..MemberRegistry::default()
            };
            let machine = StateMachine { members, ..StateMachine::default() };
            let view = View { machine, ..View::default() };
            self.store(&raised_level.to_string(), &view)
        }

        /// Writes a snapshot of a state.
        fn store(&self, name: &str, view: &View) -> PathBuf {
            let file = SnapshotFile::of(view, &|| false).unwrap();
            let mut bytes = Vec::new();
            file.write(&mut |part| {
                bytes.extend_from_slice(part);
                Ok(())
            })
            .unwrap();
            let path = self.0.join(format!("{name}.db"));
            fs::write(&path, bytes).unwrap();
            path
        }

        fn target(&self) -> PathBuf {
            self.0.join("restored")
        }

        /// Runs `witan snapshot` with this subcommand.
        fn run(&self, verb: &str, snapshot: &Path) -> Result<String, OfflineError> {
            let mut words: Vec<OsString> = vec![verb.into(), snapshot.into()];
            if verb == "restore" {
                let target = self.target();
                let data_dir: [OsString; 2] = ["--data-dir".into(), target.into()];
                words.extend(data_dir);
                words.push("--skip-hash-check".into());
            }
            crate::run("snapshot", words.into_iter()).expect("a command")
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    #[test]
    fn a_snapshot_of_a_later_level_is_refused_and_nothing_is_created() {
        let folder = Folder::new("later");
        let snapshot = folder.snapshot(levels::OWN + 1);
        for verb in ["status", "restore"] {
            let error = folder.run(verb, &snapshot).unwrap_err();
            let text = error.to_string();
            let expected = format!(
                "snapshot file {}: it has feature level {}, and this release has {}; use release ",
                snapshot.display(),
                levels::OWN + 1,
                levels::OWN
            );
            assert!(text.starts_with(&expected), "{verb}: {text}");
            assert_eq!(error.exit_code(), 1);
        }
        assert!(!folder.target().exists());
    }

    /// Otherwise, an init container would succeed, and the member would start without the data.
    #[test]
    fn a_directory_that_cannot_be_read_is_not_skipped() {
        let folder = Folder::new("unreadable");
        let snapshot = folder.snapshot(levels::FIRST);
        fs::write(folder.target(), "a file").unwrap();
        let words: [OsString; 7] = [
            "restore".into(),
            snapshot.clone().into(),
            "--skip-hash-check".into(),
            "--skip-existing".into(),
            "--remove-snapshot".into(),
            "--data-dir".into(),
            folder.target().into(),
        ];
        let ran = crate::run("snapshot", words.into_iter()).expect("a command");
        let error = ran.unwrap_err();
        assert!(
            matches!(error, OfflineError::DirectoryNotEmpty(_)),
            "{error}"
        );
        assert!(snapshot.exists(), "the restore can be repeated");
    }

    #[test]
    fn a_directory_that_another_process_has_filled_is_not_empty() {
        let error = |kind: io::ErrorKind| {
            let path = PathBuf::from("restored");
            let error = OpenError::Io { path: path.clone(), source: kind.into() };
            finish_error(error, &path)
        };
        for kind in [
            io::ErrorKind::DirectoryNotEmpty,
            io::ErrorKind::AlreadyExists,
        ] {
            let error = error(kind);
            assert!(
                matches!(error, OfflineError::DirectoryNotEmpty(_)),
                "{error}"
            );
        }
        let error = error(io::ErrorKind::TimedOut);
        assert!(matches!(error, OfflineError::Storage(_)), "{error}");
    }

    /// The cluster begins with the level of the backup. As in each new cluster, the level rises with the first cluster version.
    #[test]
    fn a_restored_cluster_has_the_level_of_the_backup_and_no_version() {
        for level in levels::FIRST..=levels::OWN {
            let folder = Folder::new(&format!("level-{level}"));
            let snapshot = folder.snapshot(level);
            folder.run("restore", &snapshot).unwrap();
            let restored = stopped::read(&folder.target(), &Arc::default()).unwrap();
            let members = restored.view.machine.members;
            assert_eq!(members.level(), level);
            let known = Some(level + 1);
            assert_eq!(levels::decide(&members, &[known], false), known);
        }
    }

    #[test]
    fn a_state_that_does_not_fit_in_memory_is_restored_like_one_that_fits() {
        let folder = Folder::new("large");
        let mut view = View::default();
        for at in 0..6000 {
            let key = format!("key-{}", at % 2000).into();
            let value = format!("{at:01000}").into();
            let command = Some(Put { key, value, ..Put::default() }.into());
            let entry = Entry { stamp: None, command, caller: None };
            view.machine.apply(&entry);
        }
        let snapshot = folder.store("large", &view);
        let restored = [0, u64::MAX].map(|target_bytes| {
            let cache = Arc::new(BlockCache::new());
            cache.set_target(target_bytes);
            let dir = folder.0.join(format!("restored-{target_bytes}"));
            let words: [&OsStr; 8] = [
                "witan snapshot".as_ref(),
                "restore".as_ref(),
                snapshot.as_os_str(),
                "--skip-hash-check".as_ref(),
                "--bump-revision=9".as_ref(),
                "--mark-compacted".as_ref(),
                "--data-dir".as_ref(),
                dir.as_os_str(),
            ];
            let line = SnapshotArguments::try_parse_from(words).unwrap();
            let SnapshotCommand::Restore(arguments) = line.verb else {
                panic!("another command");
            };
            restore(&arguments, &cache).unwrap();
            assert_eq!(cache.dropped_bytes() > 3 << 20, target_bytes == 0);
            let read = stopped::read(&dir, &cache).unwrap();
            let reads = cache.reads();
            let fingerprint = read.view.full_fingerprint();
            assert_eq!(cache.reads() > reads, target_bytes == 0);
            (read.view.position.clone(), fingerprint)
        });
        assert_eq!(restored[0], restored[1]);
    }
}

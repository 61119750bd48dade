//! Tests changed, truncated, lost and foreign `identity` files, and reads that leave a directory unchanged.

use std::{fs, os::unix::fs::MetadataExt as _};

use super::{disk::Disk, *};
use crate::offline;

/// Creates a directory with three entries and a checkpoint.
fn with_data(who: &DataIdentity) -> TempDir {
    let dir = TempDir::new();
    let (mut storage, _) = open(&dir.data(), who).unwrap();
    storage.log.append(&batch(2..5, 1));
    storage.checkpoint.write(None, &view(3, 10)).unwrap();
    drop(storage);
    dir
}

fn identity_of(dir: &TempDir) -> PathBuf {
    dir.data().join("member/identity")
}

/// Opens the directory as the member in its identity file, and reads it offline. Returns both errors.
fn errors(dir: &TempDir) -> [OpenError; 2] {
    let opened = while_unlocked(|| match super::super::identity(&dir.data())? {
        Some(identity) => open_once(&dir.data(), &identity),
        None => open_once(&dir.data(), &ME),
    });
    [
        opened.expect_err("refused"),
        read(dir).expect_err("refused"),
    ]
}

fn read(dir: &TempDir) -> Result<Recovered, OpenError> {
    let found = while_unlocked(|| offline::read(&dir.data(), &Arc::default(), &metrics()))?;
    Ok(found.expect("a member's directory").1)
}

/// Returns the paths, change times and contents of all files in a directory.
fn everything(dir: &Path) -> Vec<(PathBuf, i64, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let data = fs::symlink_metadata(&path).unwrap();
        match data.is_dir() {
            true => found.extend(everything(&path)),
            false => found.push((
                path.clone(),
                data.ctime_nsec(),
                fs::read(&path).unwrap_or_default(),
            )),
        }
        found.push((path, data.ctime_nsec(), Vec::new()));
    }
    found.sort();
    found
}

/// A process may be killed after it has written the file and before the file's name is durable.
#[test]
fn an_identity_that_a_start_has_read_survives_a_power_cut() {
    let (dir, after) = (with_data(&ME), TempDir::new());
    let (path, staged) = (identity_of(&dir), dir.data().join("member/staged"));
    fs::rename(&path, &staged).unwrap();
    let disk = Disk::watch(&dir.0, |_, _| {});
    disk.keep_all();
    fs::rename(&staged, &path).unwrap();
    let opened = reopen(&dir);
    disk.cut(&after.0, &mut |_| 0);
    disk.forget();
    drop(opened);
    reopen(&after);
}

/// The operator replaces a member that has lost its state.
#[test]
fn a_state_that_cannot_be_read_is_not_a_lost_state() {
    let dir = with_data(&ME);
    let (data, path) = (dir.data(), dir.checkpoint());
    assert!(crate::has_state(&data).unwrap());
    fs::rename(&path, data.join("aside")).unwrap();
    assert!(!crate::has_state(&data).unwrap());
    // Every read of a link to itself fails.
    std::os::unix::fs::symlink(&path, &path).unwrap();
    assert_eq!(crate::has_state(&data).unwrap_err().exit_code(), 26);
}

#[test]
fn each_changed_byte_and_each_cut_of_the_identity_is_refused() {
    let dir = with_data(&ME);
    let file = identity_of(&dir);
    let whole = fs::read(&file).unwrap();
    let cuts = (0..whole.len()).map(|at| whole[..at].to_vec());
    let flips = (0..whole.len()).map(|at| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    });
    let longer = [
        [&whole[..], b"x"].concat(),
        [&whole[..], &whole[..]].concat(),
        vec![0xff; 20],
    ];
    for content in cuts.chain(flips).chain(longer) {
        fs::write(&file, &content).unwrap();
        for error in errors(&dir) {
            let shown = String::from_utf8_lossy(&content);
            assert!([21, 23].contains(&error.exit_code()), "{error}: {shown}");
            assert!(
                error.to_string().contains(file.to_str().unwrap()),
                "{error}"
            );
        }
    }
    fs::write(&file, whole).unwrap();
    reopen(&dir);
}

#[test]
fn a_lost_identity_is_refused() {
    let dir = with_data(&ME);
    fs::remove_file(identity_of(&dir)).unwrap();
    let error = open(&dir.data(), &ME).expect_err("there is data");
    assert_eq!(error.exit_code(), 23, "{error}");
    assert!(error.to_string().contains("identity is missing"), "{error}");
}

#[test]
fn another_format_is_distinguished_from_damage() {
    let dir = with_data(&ME);
    for (text, start) in [
        (
            "format 6\nanything\n",
            ". Start the release that wrote this directory",
        ),
        (
            "format 6\nrelease 0.3.0\nanything\n",
            ": start release 0.3.0 or later",
        ),
        (
            "format 3\n",
            ". Start the release that wrote this directory",
        ),
    ] {
        fs::write(identity_of(&dir), text).unwrap();
        let before = everything(&dir.data());
        for error in errors(&dir) {
            assert_eq!(error.exit_code(), 21, "{error}");
            let format = text.lines().next().unwrap();
            let expected = format!("has {format}, but this release reads formats 4, 5{start}");
            assert!(error.to_string().contains(&expected), "{error}");
        }
        assert_eq!(everything(&dir.data()), before, "a file has changed");
    }
}

#[test]
fn the_identity_of_another_directory_is_refused() {
    let other_member = DataIdentity { member_id: MemberId(7), ..ME };
    let other_cluster = DataIdentity { cluster_id: 7, ..ME };
    for other in [other_member, other_cluster] {
        let (dir, of_other) = (with_data(&ME), TempDir::new());
        drop(open(&of_other.data(), &other).unwrap());
        fs::copy(identity_of(&of_other), identity_of(&dir)).unwrap();
        for error in errors(&dir) {
            assert_eq!(error.exit_code(), 23, "{error}");
            assert!(
                error
                    .to_string()
                    .contains("log/owner contains member 3e of cluster c1"),
                "{error}"
            );
        }
        // The checkpoint contradicts the identity even if the log comes from the other directory.
        let log = dir.data().join("member/log");
        fs::remove_dir_all(&log).unwrap();
        copy(&of_other.data().join("member/log"), &log);
        for error in errors(&dir) {
            assert_eq!(error.exit_code(), 23, "{error}");
            assert!(
                error.to_string().contains("but the checkpoint belongs to"),
                "{error}"
            );
        }
    }
}

#[test]
fn a_log_without_its_owner_is_refused() {
    let dir = with_data(&ME);
    let owner = dir.data().join("member/log/owner");
    let whole = fs::read_to_string(&owner).unwrap();
    fs::write(&owner, whole.replace("3e", "3f")).unwrap();
    for error in errors(&dir) {
        assert_eq!(error.exit_code(), 27, "{error}");
    }
    fs::remove_file(&owner).unwrap();
    for error in errors(&dir) {
        assert_eq!(error.exit_code(), 27, "{error}");
    }
}

#[test]
fn reading_changes_nothing() {
    let torn: fn(&TempDir) = |dir| {
        let log = dir.log_files().pop().unwrap();
        let file = fs::OpenOptions::new().write(true).open(&log).unwrap();
        file.set_len(written(&log) as u64 - 3).unwrap();
    };
    let copied: fn(&TempDir) = |dir| {
        let file = identity_of(dir);
        fs::rename(&file, file.with_file_name("moved")).unwrap();
        fs::copy(file.with_file_name("moved"), &file).unwrap();
        fs::remove_file(dir.data().join("member/LOCK")).unwrap();
    };
    let interrupted: fn(&TempDir) = |dir| {
        fs::write(dir.run_path(9), "half").unwrap();
    };
    for change in [torn, copied, interrupted] {
        let dir = with_data(&ME);
        change(&dir);
        let before = everything(&dir.data());
        let found = read(&dir).unwrap();
        assert_eq!(found.checkpoint.as_ref().unwrap().position.index, 3);
        assert_eq!(everything(&dir.data()), before);
        // Startup finds the same state.
        let (_, opened) = reopen(&dir);
        assert_eq!(found.records, opened.records);
    }
}

#[test]
fn the_directory_of_a_running_member_is_not_read() {
    let dir = with_data(&ME);
    let (_running, _) = reopen(&dir);
    let error = offline::read(&dir.data(), &Arc::default(), &metrics()).expect_err("it runs");
    assert_eq!(error.exit_code(), 20, "{error}");
}

#[test]
fn each_directory_and_each_copy_has_its_own_store_id() {
    let (dir, other) = (with_data(&ME), with_data(&ME));
    let store = |dir: &TempDir| reopen(dir).0.store;
    let first = store(&dir);
    assert!(first.id != 0 && first.ancestors.is_empty());
    assert_eq!(store(&dir), first, "a restart");
    assert!(!store(&other).continues(first.id));
    let mut ids = vec![first.id];
    for _ in 0..crate::ANCESTORS_MAX + 2 {
        let file = identity_of(&dir);
        fs::rename(&file, file.with_file_name("moved")).unwrap();
        fs::copy(file.with_file_name("moved"), &file).unwrap();
        let copy = store(&dir);
        let mut known = vec![copy.id];
        known.extend(&copy.ancestors);
        ids.insert(0, copy.id);
        assert_eq!(known, ids[..ids.len().min(crate::ANCESTORS_MAX + 1)]);
        assert_eq!(store(&dir), copy, "a restart");
    }
}

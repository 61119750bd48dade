//! Writes files and reads them back, and reads damaged files.

use std::{
    cell::Cell,
    fs, io,
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use witan_bolt::{BoltFile as Opened, Layout, Writer};
use witan_machine::{
    StateMachine,
    auth::{self, path_permissions},
    command::{Command, Entry, Stamp},
    counters::{COUNT_IMPORT_MAX, COUNT_MAX},
    kv,
    lease::{Lease, LeaseCheckpoint, LeaseGrant, LeaseId, LeaseOperation, RemainingTtl},
    levels,
    revision::Revision,
    values::test_support::drop_values,
    view::View,
};

use super::{
    BoltError, SnapshotFile, SnapshotKeys, bump_revision, of_keys, of_store, read, read_auth,
    status,
};

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let id = std::process::id();
        let path = std::env::temp_dir().join(format!("witan-snapshot-{name}-{id}"));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, bytes: &[u8]) -> PathBuf {
        let path = self.0.join("db");
        fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn apply(view: &mut View, command: impl Into<Command>) {
    let stamp = Some(Stamp { now_ns: 1, ..Stamp::default() });
    let command = Some(command.into());
    view.machine.apply(&Entry { stamp, command, caller: None });
}

/// Puts a value of `value_bytes` bytes.
fn put(view: &mut View, key: String, value_bytes: usize) {
    let put = kv::Put {
        key: key.into(),
        value: vec![b'v'; value_bytes].into(),
        ..kv::Put::default()
    };
    apply(view, put);
}

fn delete(view: &mut View, key: &str) {
    let delete = kv::DeleteRange { key: key.to_owned().into(), ..kv::DeleteRange::default() };
    apply(view, delete);
}

/// Writes a v2 file.
fn set(view: &mut View, path: &str) {
    let set = witan_tree::Set {
        path: path.to_owned().into(),
        value: "x".into(),
        ..witan_tree::Set::default()
    };
    apply(view, witan_tree::TreeOperation::Set(set));
}

/// Builds a state with all kinds of data: small and large values, deletions, a compaction, a v2 tree, and v2 users and roles.
fn sample(keys: usize) -> View {
    let mut view = View::default();
    view.machine.members.cluster_version = "3.6.0".into();
    for at in 0..keys {
        put(&mut view, format!("key-{}", at % 400), at * 37 % 900);
    }
    put(&mut view, "large".into(), 100_000);
    delete(&mut view, "key-7");
    delete(&mut view, "key-8");
    let revision = view.machine.kv.revision().0 - 1;
    apply(&mut view, kv::Compact { revision });
    put(&mut view, "key-9".into(), 3);
    for path in ["/a/b", "/a-", "/c"] {
        set(&mut view, path);
    }
    for verb in [
        path_permissions::PathAuthOperation::UserCreate(path_permissions::UserCreate {
            name: "root".into(),
            password: "hash".into(),
            roles: Vec::new(),
        }),
        path_permissions::PathAuthOperation::Enable(auth::Enable {}),
    ] {
        apply(&mut view, verb);
    }
    view
}

/// Encodes a state as a snapshot file.
fn bytes(view: &View) -> Vec<u8> {
    let file = SnapshotFile::of(view, &|| false).unwrap();
    let mut bytes = Vec::new();
    file.write(&mut |part| {
        bytes.extend_from_slice(part);
        Ok(())
    })
    .unwrap();
    assert_eq!(bytes.len() as u64, file.bytes());
    bytes
}

#[test]
fn a_layout_and_a_hash_end_when_the_state_must_be_released() {
    let view = sample(100);
    let calls = Cell::new(0);
    let must_end = || calls.replace(calls.get() + 1) == 3;
    let ended = SnapshotFile::of(&view, &must_end).map(drop);
    assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    assert_eq!(calls.replace(0), 4);
    assert!(of_store(&view, &must_end).is_err());
    assert_eq!(calls.get(), 4);
    assert!(of_store(&view, &|| false).is_ok());
}

fn nothing(_: &StateMachine, _: usize) -> Result<(), BoltError> {
    Ok(())
}

fn read_all(path: &PathBuf) -> Result<View, BoltError> {
    let length = fs::metadata(path).unwrap().len();
    let found = read(path, length, None, &mut nothing)?;
    Ok(View { machine: found.machine, ..View::default() })
}

#[test]
fn a_snapshot_round_trips() {
    let folder = Folder::new("round");
    for keys in [0, 1, 50, 5000] {
        let view = sample(keys);
        let path = folder.file(&bytes(&view));
        let found = read_all(&path).unwrap();
        let (ours, theirs) = (&view.machine, &found.machine);
        assert_eq!(ours.kv.revision(), theirs.kv.revision());
        assert_eq!(ours.kv.compacted(), theirs.kv.compacted());
        assert_eq!(ours.tree.index(), theirs.tree.index());
        assert!(theirs.auth.path_auth_enabled());
        assert_eq!(ours.auth.patterns("guest"), theirs.auth.patterns("guest"));
        let revision = ours.kv.revision();
        assert_eq!(of_keys(&ours.kv, revision), of_keys(&theirs.kv, revision));
        let length = fs::metadata(&path).unwrap().len();
        let in_file = SnapshotKeys::read(&path, length).unwrap();
        for revision in [ours.kv.compacted(), revision] {
            let expected = of_keys(&ours.kv, revision);
            assert_eq!(in_file.hash(revision).unwrap(), expected, "{revision}");
        }
        let auth = read_auth(&path, length).unwrap();
        assert_eq!(auth.patterns("guest"), theirs.auth.patterns("guest"));
        // The files are equal byte for byte, including the v2 tree and its history.
        let again = View {
            machine: witan_machine::StateMachine { members: ours.members.clone(), ..found.machine },
            ..View::default()
        };
        assert_eq!(bytes(&again), bytes(&view), "{keys} keys");
        let told = status(&path, length).unwrap();
        assert_eq!(told.revision, revision.0);
        assert_eq!(told.keys, view.machine.kv.len());
        assert_eq!(told.version, "3.6.0");
    }
}

#[test]
fn a_snapshot_has_the_feature_level_of_its_cluster() {
    let folder = Folder::new("level");
    let mut view = sample(10);
    let unraised = bytes(&view);
    view.machine.members.raised_level = levels::FIRST;
    assert_eq!(bytes(&view), unraised, "the first release reads the file");
    view.machine.members.raised_level = levels::OWN;
    let found = read_all(&folder.file(&bytes(&view))).unwrap();
    assert_eq!(found.machine.members.level(), levels::OWN);
}

/// If the record were accepted, a restore would silently lose it.
#[test]
fn a_record_of_a_later_release_in_witans_bucket_is_refused() {
    let folder = Folder::new("own");
    for (key, later) in [(&b"z1"[..], true), (b"uz", true), (b"", false)] {
        let fill = |writer: &mut Writer<'_>| {
            writer.bucket(b"key")?;
            writer.bucket(b"witan")?;
            let length = key.len() as u32;
            writer.record(b"0", &[&length.to_be_bytes(), key].concat())
        };
        let path = folder.file(&file_of(&fill));
        let error = read_all(&path).unwrap_err();
        assert_eq!(matches!(error, BoltError::Later(_)), later, "{error}");
    }
}

/// With a stored remaining TTL, etcd would renew the lease for only that time.
#[test]
fn a_lease_is_exported_with_its_full_ttl() {
    let folder = Folder::new("lease");
    let mut view = sample(1);
    let (id, full) = (7, Lease { ttl_s: 60, remaining_ttl_s: 0 });
    let remaining = vec![RemainingTtl { id, seconds: 5 }];
    for operation in [
        LeaseOperation::Grant(LeaseGrant { id, ttl_s: full.ttl_s }),
        LeaseOperation::Checkpoint(LeaseCheckpoint { remaining }),
    ] {
        apply(&mut view, operation);
    }
    let lease = |view: &View| *view.machine.kv.leases().get(LeaseId(id)).unwrap();
    assert_eq!(lease(&view), Lease { remaining_ttl_s: 5, ..full });
    let found = read_all(&folder.file(&bytes(&view))).unwrap();
    assert_eq!(lease(&found), full);
}

#[test]
fn counters_near_their_limit_are_refused() {
    let folder = Folder::new("counters");
    let mut view = sample(10);
    for (revision, taken) in [
        (COUNT_IMPORT_MAX, true),
        (COUNT_IMPORT_MAX + 1, false),
        (COUNT_MAX, false),
    ] {
        view.machine.auth = auth::Auth::restored(false, revision, [], []);
        let found = read_all(&folder.file(&bytes(&view)));
        match found {
            Ok(_) => assert!(taken, "{revision}"),
            Err(error) => assert!(
                !taken && error.to_string().contains("auth revision"),
                "{error}"
            ),
        }
    }
    let data = bytes(&sample(10));
    let path = folder.file(&data);
    let mut found = read(&path, data.len() as u64, None, &mut nothing).unwrap();
    let error = bump_revision(&mut found.machine.kv, COUNT_IMPORT_MAX).unwrap_err();
    assert!(error.to_string().contains("must not exceed"), "{error}");
}

#[test]
fn a_bumped_revision_is_compacted() {
    let folder = Folder::new("bump");
    let view = sample(10);
    let data = bytes(&view);
    let path = folder.file(&data);
    let length = data.len() as u64;
    let mut found = read(&path, length, None, &mut nothing).unwrap();
    bump_revision(&mut found.machine.kv, 1000).unwrap();
    let revision = view.machine.kv.revision().0 + 1000;
    assert_eq!(found.machine.kv.revision().0, revision);
    assert_eq!(found.machine.kv.compacted().0, revision);
}

#[test]
fn an_import_ends_with_the_error_of_its_caller() {
    let folder = Folder::new("stop");
    let data = bytes(&sample(10));
    let path = folder.file(&data);
    let mut left = 3;
    let stopped = read(&path, data.len() as u64, None, &mut |machine, _| {
        left -= 1;
        match left {
            0 => Err(BoltError::Invalid(machine.kv.revision().to_string())),
            _ => Ok(()),
        }
    });
    let full = read_all(&path).unwrap().machine.kv;
    let third = full.retained_versions().nth(2).unwrap().revision();
    assert_eq!(stopped.unwrap_err().to_string(), third.to_string());
    assert!(third < full.revision());
}

#[test]
fn revisions_after_the_limit_are_omitted() {
    let folder = Folder::new("up-to");
    let view = sample(10);
    let data = bytes(&view);
    let path = folder.file(&data);
    let up_to = |revision| {
        let options = Some(revision);
        read(&path, data.len() as u64, options, &mut nothing).map(|found| found.machine.kv)
    };
    let (last, compacted) = (view.machine.kv.revision(), view.machine.kv.compacted());
    for revision in [last, last.previous(), compacted] {
        let kv = up_to(revision).unwrap();
        assert_eq!(kv.revision(), revision);
        assert_eq!(of_keys(&kv, revision), of_keys(&view.machine.kv, revision));
    }
    assert!(compacted > Revision::EMPTY, "the sample is compacted");
    let error = up_to(compacted.previous()).unwrap_err().to_string();
    assert!(error.contains("is compacted up to"), "{error}");
}

/// Builds a file with one bucket. Its keys have `key_bytes` bytes, and its values have `value_bytes` bytes.
fn tree_of(keys: usize, key_bytes: usize, value_bytes: usize) -> Vec<u8> {
    let fill = |writer: &mut Writer<'_>| {
        writer.bucket(b"key")?;
        (0..keys).try_for_each(|at| {
            let key = format!("{at:0key_bytes$}");
            writer.record(key.as_bytes(), &vec![7; value_bytes])
        })
    };
    file_of(&fill)
}

/// Encodes a bbolt file with the buckets and records that `fill` adds.
fn file_of(fill: &dyn Fn(&mut Writer<'_>) -> io::Result<()>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let layout = Layout::of(fill).unwrap();
    layout
        .write(
            &mut |part| {
                bytes.extend_from_slice(part);
                Ok(())
            },
            fill,
        )
        .unwrap();
    bytes
}

#[test]
fn a_layout_reads_no_value_from_disk() {
    static READS: AtomicUsize = AtomicUsize::new(0);
    let mut view = sample(100);
    for number in 0..100 {
        put(&mut view, format!("long-{number}"), 2000);
    }
    let expected = bytes(&view);
    let _cache = drop_values(&view, || {
        READS.fetch_add(1, Relaxed);
    });
    let file = SnapshotFile::of(&view, &|| false).unwrap();
    assert_eq!(file.bytes(), expected.len() as u64);
    assert_eq!(READS.load(Relaxed), 0);
    assert_eq!(bytes(&view), expected);
    assert!(READS.load(Relaxed) > 0);
}

#[test]
fn trees_of_any_depth_contain_all_records() {
    let folder = Folder::new("depth");
    for (keys, key_bytes, value_bytes) in [
        (0, 1, 0),
        (1, 20, 9000),
        (3, 5000, 1),
        (20_000, 17, 40),
        (300, 1500, 0),
        (100, 4, 4090),
    ] {
        let data = tree_of(keys, key_bytes, value_bytes);
        let path = folder.file(&data);
        let file = Opened::open(&path, data.len() as u64).unwrap();
        let buckets = file.buckets().unwrap();
        assert_eq!(buckets.len(), 1);
        let count = Cell::new(0);
        file.records(&buckets[0].1, &mut |key, value| {
            assert_eq!(key, format!("{:0key_bytes$}", count.get()).as_bytes());
            assert_eq!(value.len(), value_bytes);
            count.set(count.get() + 1);
            Ok(())
        })
        .unwrap();
        assert_eq!(count.get(), keys);
    }
}

/// Returns a generator of pseudo-random numbers below its argument, with the same sequence in each run.
fn numbers() -> impl FnMut(usize) -> usize {
    let mut state = 9_u64;
    move |end| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % end
    }
}

/// Reading a file with arbitrary contents returns a state, or an error that explains the damage.
#[test]
fn damage_is_an_error_and_never_a_panic() {
    let folder = Folder::new("damage");
    let sound = bytes(&sample(60));
    let mut below = numbers();
    let mut refused = 0;
    for round in 0..1500 {
        let mut data = sound.clone();
        for _ in 0..=below(3) {
            // Most changes affect the headers and elements of pages.
            let at = match below(3) {
                0 => below(data.len()),
                _ => below(data.len() / 4096) * 4096 + below(64),
            };
            data[at] = match below(3) {
                0 => 0xff,
                1 => 0,
                _ => below(256) as u8,
            };
        }
        if below(10) == 0 {
            data.truncate(below(data.len()));
        }
        let path = folder.file(&data);
        let length = data.len() as u64;
        if let Err(error) = read_all(&path) {
            assert!(!error.to_string().is_empty(), "round {round}");
            refused += 1;
        }
        // `status` walks the same pages with another callback.
        let _ = status(&path, length);
    }
    assert!(refused > 300, "{refused} of the files were refused");
}

#[test]
fn files_other_than_snapshots_are_refused() {
    let folder = Folder::new("none");
    let told = |data: &[u8]| {
        let path = folder.file(data);
        read_all(&path).unwrap_err().to_string()
    };
    assert_eq!(told(b""), "it is too short");
    assert_eq!(told(&[1; 9000]), "it is not a bbolt file");
    let sound = bytes(&sample(60));
    assert!(told(&sound[..sound.len() - 4096]).starts_with("it ends at byte"));
    let mut loops = sound.clone();
    // Turn every page of the tree into a branch that refers to the root.
    for page in loops.chunks_mut(4096).skip(3) {
        page[8] = 1;
    }
    assert!(told(&loops).starts_with("page "), "{}", told(&loops));
    let mut other = tree_of(3, 4, 4);
    let at = other.windows(3).rposition(|part| part == b"key").unwrap();
    other[at] = b'K';
    assert_eq!(told(&other), "the snapshot has no bucket \"key\"");
}

//! Creates the data directory of the only member of a cluster, from which etcd 3.6 and later start: a backend, raft's
//! snapshot at its entry, and a log that begins there.
//!
//! The directory is made beside its final path and renamed when it is complete and durable: a failure or a crash leaves
//! nothing at that path.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use prost::Message as _;

use super::{
    ConfState, HardState, SegmentEncoder,
    raft_messages::{SnapFile, SnapMessage, SnapMetadata, WalMetadata, WalSnapshot},
};

/// etcd refuses a data directory that others may read.
const DIR_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// The events that etcd's store of v2 keeps; its file has a place for each.
const V2_EVENTS: usize = 1000;

/// Whose data directory is created, and at which entry of raft's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The only member.
    pub member_id: u64,
    /// Its cluster.
    pub cluster_id: u64,
    /// The last entry whose effect is in the backend.
    pub index: u64,
    /// The term of that entry.
    pub term: u64,
}

/// Creates the data directory `dir`, which does not exist or is empty. `backend` writes the file of the backend, whose
/// consistent index is that of `origin`.
pub fn create(
    dir: &Path,
    origin: Origin,
    backend: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let staged = staged(dir)?;
    if staged.exists() {
        // left by a process that was killed
        fs::remove_dir_all(&staged)?;
    }
    let made = fill(&staged, origin, backend).and_then(|()| {
        fs::rename(&staged, dir)?;
        sync(parent(dir))
    });
    if made.is_err() {
        // the error says more than a leftover whose name tells its origin
        let _ = fs::remove_dir_all(&staged);
    }
    made
}

/// The path, beside `dir`, of the directory that is filled before it is renamed to `dir`.
fn staged(dir: &Path) -> io::Result<PathBuf> {
    let name = dir
        .file_name()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path has no last part"))?;
    let mut name = name.to_owned();
    name.push(".exporting");
    Ok(dir.with_file_name(name))
}

fn parent(dir: &Path) -> &Path {
    dir.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

fn fill(
    dir: &Path,
    origin: Origin,
    backend: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let member = dir.join("member");
    let [snap, wal] = ["snap", "wal"].map(|name| member.join(name));
    for folder in [&snap, &wal] {
        DirBuilder::new()
            .recursive(true)
            .mode(DIR_MODE)
            .create(folder)?;
    }
    file(&snap.join("db"), backend)?;
    let name = format!("{:016x}-{:016x}.snap", origin.term, origin.index);
    file(&snap.join(name), |file| file.write_all(&snapshot(origin)))?;
    file(&wal.join(SegmentEncoder::name(0, 0)), |file| {
        file.write_all(&log(origin))
    })?;
    [&*snap, &*wal, &*member, dir]
        .into_iter()
        .try_for_each(sync)
}

/// Creates a durable file with what `write` writes.
fn file(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(path)?;
    write(&mut file)?;
    file.sync_all()
}

/// Makes the names in a folder durable.
fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn configuration(origin: Origin) -> ConfState {
    ConfState { voters: vec![origin.member_id], ..ConfState::default() }
}

/// The only segment of the log: it refers to the snapshot, and has no entry.
fn log(origin: Origin) -> Vec<u8> {
    let Origin { member_id, cluster_id, index, term } = origin;
    let mut segment = SegmentEncoder::new(0, WalMetadata { member_id, cluster_id });
    segment.snapshot(&WalSnapshot::default());
    segment.state(&HardState { term, vote: member_id, commit: index });
    let conf_state = Some(configuration(origin));
    segment.snapshot(&WalSnapshot { index, term, conf_state });
    segment.bytes().to_vec()
}

/// The file of raft's snapshot. Its data is a store of v2 without keys: members are in the backend.
fn snapshot(origin: Origin) -> Vec<u8> {
    let metadata = SnapMetadata {
        conf_state: Some(configuration(origin)),
        index: origin.index,
        term: origin.term,
    };
    let message = SnapMessage { data: v2_store().into(), metadata: Some(metadata) };
    let data = message.encode_to_vec();
    SnapFile { crc: crc32c::crc32c(&data), data: data.into() }.encode_to_vec()
}

/// etcd's JSON of a store of v2 that nothing was written to.
fn v2_store() -> String {
    let folder = |path: &str, children: &str| {
        format!(
            r#"{{"Path":"{path}","CreatedIndex":0,"ModifiedIndex":0,"ExpireTime":"0001-01-01T00:00:00Z","Value":"","Children":{{{children}}}}}"#
        )
    };
    let (members, keys) = (folder("/0", ""), folder("/1", ""));
    let root = folder("/", &format!(r#""0":{members},"1":{keys}"#));
    let events = vec!["null"; V2_EVENTS].join(",");
    let queue =
        format!(r#"{{"Events":[{events}],"Size":0,"Front":0,"Back":0,"Capacity":{V2_EVENTS}}}"#);
    let history = format!(r#"{{"Queue":{queue},"StartIndex":0,"LastIndex":0}}"#);
    format!(
        r#"{{"Root":{root},"WatcherHub":{{"EventHistory":{history}}},"CurrentIndex":0,"Stats":{{}},"CurrentVersion":2}}"#
    )
}

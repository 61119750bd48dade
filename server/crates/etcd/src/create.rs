//! Creates the data directory of a single-member cluster for etcd 3.6 and later. The directory contains a backend, a Raft
//! snapshot at the backend's last entry, and a log that starts at this entry.
//!
//! A failure or a crash leaves nothing at the final path, because the complete, durable directory is renamed to that path last.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
    process,
};

use prost::Message as _;
use serde_json::{Value, json};
use witan_api::peer::Member;

use super::{
    ConfState, HardState, SegmentEncoder,
    raft_messages::{SnapFile, SnapMessage, SnapMetadata, WalMetadata, WalSnapshot},
};

/// Mode of the directory. etcd logs a warning if other users can read it.
const DIR_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// Number of events in the history of etcd's v2 store, whose JSON has a slot for each event.
const V2_EVENTS: usize = 1000;

/// The contents of a new data directory, without its backend.
#[derive(Clone, Debug)]
pub struct NewDirectory {
    /// The only member of the cluster.
    pub member: Member,
    /// The cluster id.
    pub cluster_id: u64,
    /// Index of the last entry that the backend has applied; its consistent index.
    pub index: u64,
    /// Term of that entry.
    pub term: u64,
}

/// Creates etcd's data directory `dir`. Fails if `dir` exists, unless it is an empty directory. `backend` writes
/// `member/snap/db`. The directory is durable on return. It is built next to `dir`, and removed after an error if possible.
pub fn create(
    dir: &Path,
    new: &NewDirectory,
    backend: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let name = dir
        .file_name()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path has no file name"))?;
    let mut staged = name.to_owned();
    staged.push(format!(".exporting-{}", process::id()));
    let staged = dir.with_file_name(staged);
    let begun = DirBuilder::new().mode(DIR_MODE).create(&staged);
    begun
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", staged.display())))?;
    let made = fill(&staged, new, backend).and_then(|()| {
        fs::rename(&staged, dir)?;
        sync(parent(dir))
    });
    if made.is_err() {
        // Ignore a failure, because the original error matters more and the name of the remaining directory shows its origin.
        let _ = fs::remove_dir_all(&staged);
    }
    made
}

/// Returns the parent of `dir`, or `.` if `dir` has one component.
pub fn parent(dir: &Path) -> &Path {
    dir.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// Creates all files below the existing directory `dir` and makes them durable.
fn fill(
    dir: &Path,
    new: &NewDirectory,
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
    let name = format!("{:016x}-{:016x}.snap", new.term, new.index);
    file(&snap.join(name), |file| file.write_all(&snapshot(new)))?;
    file(&wal.join(SegmentEncoder::name(0, 0)), |file| {
        file.write_all(&log(new))
    })?;
    [&*snap, &*wal, &*member, dir]
        .into_iter()
        .try_for_each(sync)
}

/// Creates a durable file with the contents that `write` writes.
fn file(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(path)?;
    write(&mut file)?;
    file.sync_all()
}

/// Makes a directory's entries durable.
fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Returns the Raft configuration, in which the member is the only voter.
fn configuration(new: &NewDirectory) -> ConfState {
    ConfState { voters: vec![new.member.id], ..ConfState::default() }
}

/// Encodes the only segment of the log, which refers to the snapshot and contains no entry.
fn log(new: &NewDirectory) -> Vec<u8> {
    let (member_id, index, term) = (new.member.id, new.index, new.term);
    let metadata = WalMetadata { member_id, cluster_id: new.cluster_id };
    let mut segment = SegmentEncoder::new(0, metadata);
    segment.snapshot(&WalSnapshot::default());
    segment.state(&HardState { term, vote: member_id, commit: index });
    let conf_state = Some(configuration(new));
    segment.snapshot(&WalSnapshot { index, term, conf_state });
    segment.bytes().to_vec()
}

/// Encodes the `.snap` file.
fn snapshot(new: &NewDirectory) -> Vec<u8> {
    let metadata = SnapMetadata {
        conf_state: Some(configuration(new)),
        index: new.index,
        term: new.term,
    };
    let message = SnapMessage {
        data: v2_store(&new.member).to_string().into(),
        metadata: Some(metadata),
    };
    let data = message.encode_to_vec();
    SnapFile { crc: crc32c::crc32c(&data), data: data.into() }.encode_to_vec()
}

/// Builds the JSON of a v2 store that contains only the member. etcd 3.6 starts with the members in the backend but exits when
/// it changes a member that this store lacks.
fn v2_store(member: &Member) -> Value {
    let folder = |path: &str, children: Value| node(path, String::new(), children);
    let file = |path: &str, value: Value| node(path, value.to_string(), Value::Null);
    let path = format!("/0/members/{:x}", member.id);
    let attributes = json!({"name": member.name, "clientURLs": member.client_urls});
    let files = json!({
        "attributes": file(&format!("{path}/attributes"), attributes),
        "raftAttributes": file(
            &format!("{path}/raftAttributes"),
            json!({"peerURLs": member.peer_urls}),
        ),
    });
    let members = json!({format!("{:x}", member.id): folder(&path, files)});
    let cluster = json!({"members": folder("/0/members", members)});
    let children = json!({"0": folder("/0", cluster), "1": folder("/1", json!({}))});
    let queue = json!({
        "Events": vec![Value::Null; V2_EVENTS],
        "Size": 0,
        "Front": 0,
        "Back": 0,
        "Capacity": V2_EVENTS,
    });
    json!({
        "Root": folder("/", children),
        "WatcherHub": {"EventHistory": {"Queue": queue, "StartIndex": 0, "LastIndex": 0}},
        "CurrentIndex": 1,
        "Stats": {},
        "CurrentVersion": 2,
    })
}

/// Returns a node of etcd's v2 store: a file if `children` is null, otherwise a directory.
fn node(path: &str, value: String, children: Value) -> Value {
    json!({
        "Path": path,
        "CreatedIndex": 1,
        "ModifiedIndex": 1,
        "ExpireTime": "0001-01-01T00:00:00Z",
        "Value": value,
        "Children": children,
    })
}

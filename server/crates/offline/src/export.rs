//! `witan export` converts the data directory of a stopped member to etcd's format.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
};

use witan_etcd::NewDirectory;
use witan_machine::{member::Member, view::View};
use witan_snapshot::{self as snapshot, SnapshotFile};
use witan_storage::{self as storage, DataIdentity};

use super::{
    arguments::ExportArguments,
    error::OfflineError,
    progress::ProgressBar,
    stopped::{StoppedMember, read},
    value_cache,
};

const BUFFER_BYTES: usize = 1 << 20;

/// Writes the member's state as a new etcd data directory without v2 keys and returns the output to print. Fails if the target
/// exists, is inside the member's directory, or has too little free space.
pub(super) fn export(arguments: &ExportArguments) -> Result<String, OfflineError> {
    let (from, to) = (&arguments.data_dir, &arguments.etcd);
    check_target(from, to).map_err(OfflineError::export(to))?;
    let mut bar = ProgressBar::new();
    bar.begin("reading", 0);
    let StoppedMember { hold: _hold, identity, view, last } = read(from, &value_cache())?;
    let new = new_directory(&identity, &view);
    let file = SnapshotFile::of(&view, &|| false);
    let file = file.map_err(OfflineError::export(to))?;
    bar.begin("writing", file.bytes());
    let free = storage::free_bytes(witan_etcd::parent(to));
    let created = if free < file.bytes() {
        let text = format!("{free} bytes are free, but the data needs {}", file.bytes());
        Err(io::Error::new(io::ErrorKind::StorageFull, text))
    } else {
        witan_etcd::create(to, &new, |out| write(&file, out, &mut bar))
    };
    created.map_err(OfflineError::export(to))?;
    bar.end();
    let (index, term) = last;
    let kv = &view.machine.kv;
    let left_out = match view.machine.tree.lists_more_than(b"/", false, 0) {
        false => "",
        true => "v2 keys were not exported: etcd 3.6 and later have no v2 API\n",
    };
    Ok(format!(
        "exported {} to {}: member {}, the only member of cluster {:x}, {} keys, revision {}, its log ends at entry \
         {index} of term {term}\n{left_out}",
        from.display(),
        to.display(),
        identity.member_id,
        identity.cluster_id,
        kv.len(),
        kv.revision(),
    ))
}

/// Fails if `to` exists or is inside the member's data directory `from`, or if the parent directory of `to` does not exist.
fn check_target(from: &Path, to: &Path) -> io::Result<()> {
    let refusal = |text: &str| Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    if fs::symlink_metadata(to).is_ok() {
        return refusal("it already exists; specify another path");
    }
    let folder = fs::canonicalize(witan_etcd::parent(to))?;
    // The later read reports a missing source.
    match fs::canonicalize(from) {
        Ok(from) if folder.starts_with(&from) => {
            refusal("it is inside the member's data directory; specify a path outside it")
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Describes the etcd data directory to create. Its only member is the exported member, as a voter.
fn new_directory(identity: &DataIdentity, view: &View) -> NewDirectory {
    let known = view.machine.members.by_id.get(&identity.member_id);
    let member = Member {
        id: identity.member_id.0,
        learner: false,
        ..known.cloned().unwrap_or_default()
    };
    NewDirectory {
        member: snapshot::shown_member(member),
        cluster_id: identity.cluster_id,
        index: view.position.index,
        term: view.position.term,
    }
}

/// Writes the file to `out` and advances `bar` by each part.
fn write(file: &SnapshotFile<'_>, out: &mut File, bar: &mut ProgressBar) -> io::Result<()> {
    let mut out = io::BufWriter::with_capacity(BUFFER_BYTES, out);
    file.write(&mut |part| {
        bar.advance(part.len());
        out.write_all(part)
    })?;
    out.flush()
}

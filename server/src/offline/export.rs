//! `witan export`: the way back to etcd, from the data directory of a stopped member.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
    sync::Arc,
};

use witan_base::metrics::Register;
use witan_etcd::Origin;
use witan_machine::view::View;
use witan_replica::replica::{ForceError, Replica};
use witan_snapshot::SnapshotFile;
use witan_storage::{self as storage, DataIdentity, Storage, StorageMetrics};

use super::{ExportArguments, OfflineError, progress::ProgressBar, restore::is_free};

/// Bytes that are written to the file at once.
const BUFFER_BYTES: usize = 1 << 20;

/// Writes the member's state as a data directory of etcd; returns the text to print.
pub(super) fn export(arguments: &ExportArguments) -> Result<String, OfflineError> {
    let (from, to) = (&arguments.data_dir, &arguments.etcd);
    if !is_free(to) {
        return Err(OfflineError::DirectoryNotEmpty(to.display().to_string()));
    }
    let mut bar = ProgressBar::new();
    bar.begin("reading", 0);
    let (identity, mut view) = state(from)?;
    view.machine.members.downgrade_target.clear();
    let origin = Origin {
        member_id: identity.member_id.0,
        cluster_id: identity.cluster_id,
        index: view.position.index,
        term: view.position.term,
    };
    let file = SnapshotFile::of(&view).map_err(OfflineError::export(to))?;
    bar.begin("writing", file.bytes());
    make_parent(to, file.bytes())
        .and_then(|()| witan_etcd::create(to, origin, |out| write(&file, out, &mut bar)))
        .map_err(OfflineError::export(to))?;
    bar.end();
    let kv = &view.machine.kv;
    Ok(format!(
        "exported {} to {}: member {} of cluster {:x}, the only one of it, {} keys, revision {}, entry {} of term {}\n{}",
        from.display(),
        to.display(),
        identity.member_id,
        identity.cluster_id,
        kv.len(),
        kv.revision(),
        origin.index,
        origin.term,
        match view.machine.tree.lists_more_than(b"/", false, 0) {
            false => "",
            true => "the keys of v2 are left out: etcd 3.6 and later have no v2\n",
        }
    ))
}

/// The state of a stopped member after all entries of its log, as the only member of its cluster.
fn state(dir: &Path) -> Result<(DataIdentity, View), OfflineError> {
    let no_data = || OfflineError::NoData(dir.display().to_string());
    let identity = storage::identity(dir)?.ok_or_else(no_data)?;
    // an offline command has no metrics page
    let metrics = StorageMetrics::register(&Register::default());
    let (storage, mut recovered) = storage::open(dir, &identity, &Arc::default(), &metrics)?;
    let alone = Replica::force_new_cluster(&mut recovered, identity.member_id)
        .and_then(|_| Replica::state_alone(&recovered, identity.member_id));
    let Storage { log, .. } = storage;
    log.close();
    match alone {
        Ok(Some(view)) => Ok((identity, view)),
        Ok(None) | Err(ForceError::NoState) => Err(no_data()),
        Err(ForceError::Corrupt(source)) => {
            Err(OfflineError::Corrupt { dir: dir.display().to_string(), source })
        }
    }
}

/// Makes the folder in which the directory is made, and looks whether so many bytes are free there.
fn make_parent(to: &Path, bytes: u64) -> io::Result<()> {
    let parent = to
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    fs::create_dir_all(parent)?;
    let free = storage::free_bytes(parent);
    if free < bytes {
        let text = format!("there are {free} bytes free, and the data need {bytes}");
        return Err(io::Error::new(io::ErrorKind::StorageFull, text));
    }
    Ok(())
}

fn write(file: &SnapshotFile<'_>, out: &mut File, bar: &mut ProgressBar) -> io::Result<()> {
    let mut out = io::BufWriter::with_capacity(BUFFER_BYTES, out);
    file.write(&mut |part| {
        bar.advance(part.len());
        out.write_all(part)
    })?;
    out.flush()
}

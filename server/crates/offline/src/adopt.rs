//! `witan adopt` adopts an etcd data directory.

use witan_adopt::Progress;
use witan_api::ids;

use super::{arguments::AdoptArguments, error::OfflineError, progress::ProgressBar, value_cache};

/// Adopts the data of etcd and returns the output to print. Shows the progress.
pub(super) fn adopt(arguments: &AdoptArguments) -> Result<String, OfflineError> {
    let mut bar = ProgressBar::new();
    let adopted = witan_adopt::adopt(
        &arguments.data_dir,
        arguments.wal_dir.as_deref(),
        &value_cache(),
        &mut |progress| match progress {
            Progress::Step(step, bytes) => bar.begin(step, bytes),
            Progress::Bytes(bytes) => bar.advance(bytes),
        },
    )?;
    bar.end();
    let shared = match adopted.shared_names.join(", ") {
        names if names.is_empty() => names,
        names => {
            format!("merged v2 and v3 users and roles of the same name: {names}\n")
        }
    };
    let torn = match adopted.torn_bytes {
        0 => String::new(),
        bytes => format!("ignored {bytes} bytes of an incomplete write at the end of etcd's log\n"),
    };
    Ok(format!(
        "adopted {}: member {} of cluster {}, {} members, {} keys, revision {}, last entry {}, {} later entries that \
         the cluster commits or discards\n{torn}{shared}",
        arguments.data_dir.display(),
        adopted.identity.member_id,
        ids::hex(adopted.identity.cluster_id),
        adopted.members,
        adopted.keys,
        adopted.revision,
        adopted.index,
        adopted.undecided,
    ))
}

//! `witan info`: summarizes a stopped member's data directory, to compare it with other members.

use std::path::Path;

use serde::Serialize;
use witan_snapshot as snapshot;

use super::{
    error::OfflineError,
    show,
    stopped::{self, StoppedMember},
    value_cache,
};

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Info {
    name: String,
    member_id: String,
    cluster_id: String,
    /// Term of the last log entry, whose index is `index`. Among the remaining members, the member with the highest term, and
    /// then the highest index, lacks the fewest acknowledged writes.
    term: u64,
    index: u64,
    revision: i64,
    keys: usize,
    /// The hash of all keys at the revision, computed like HashKV.
    hash: u32,
    v2_index: u64,
}

/// Reads a data directory and returns the output to print. Fails if `format` is neither `simple` nor `json`.
pub(super) fn info(dir: &Path, format: &str) -> Result<String, OfflineError> {
    let show: fn(&Info) -> Result<String, OfflineError> = match format {
        "simple" => |info| Ok(info.lines()),
        "json" => show::json,
        _ => return Err(OfflineError::Format),
    };
    let read = stopped::read(dir, &value_cache())?;
    let StoppedMember { hold: _hold, identity, view, last } = read;
    let kv = &view.machine.kv;
    let known = view.machine.members.by_id.get(&identity.member_id);
    let (index, term) = last;
    show(&Info {
        name: known.map(|member| member.name.clone()).unwrap_or_default(),
        member_id: identity.member_id.to_string(),
        cluster_id: format!("{:x}", identity.cluster_id),
        term,
        index,
        revision: kv.revision().0,
        keys: kv.len(),
        hash: snapshot::of_keys(kv, kv.revision()),
        v2_index: view.machine.tree.index(),
    })
}

impl Info {
    /// Formats the summary as text, one field per line.
    fn lines(&self) -> String {
        let rows = [
            ("member", format!("{} ({})", self.name, self.member_id)),
            ("cluster", self.cluster_id.clone()),
            (
                "last entry",
                format!("index {} of term {}", self.index, self.term),
            ),
            ("revision", self.revision.to_string()),
            ("keys", format!("{}, hash {}", self.keys, self.hash)),
            ("index of v2", self.v2_index.to_string()),
        ];
        rows.map(|(name, value)| format!("{name:<12} {value}\n"))
            .concat()
    }
}

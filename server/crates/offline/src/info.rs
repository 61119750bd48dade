//! `witan info` summarizes a stopped member's data directory, to compare it with other members.

use std::path::Path;

use serde_json::json;
use witan_snapshot as snapshot;

use super::{
    error::OfflineError,
    show,
    stopped::{self, StoppedMember},
    value_cache,
};

/// Reads a data directory and returns the output to print: lines of text or JSON. Fails if `format` is neither `simple` nor
/// `json`.
pub(super) fn info(dir: &Path, format: &str) -> Result<String, OfflineError> {
    if !matches!(format, "simple" | "json") {
        return Err(OfflineError::Format);
    }
    let read = stopped::read(dir, &value_cache())?;
    let StoppedMember { hold: _hold, identity, view, last } = read;
    let kv = &view.machine.kv;
    let known = view.machine.members.by_id.get(&identity.member_id);
    let name = known.map_or("", |member| member.name.as_str());
    let member_id = identity.member_id.to_string();
    let cluster_id = format!("{:x}", identity.cluster_id);
    // Among the remaining members, the member with the highest term of its last log entry, and then the highest index, lacks
    // the fewest acknowledged writes.
    let (index, term) = last;
    let (revision, keys) = (kv.revision().0, kv.len());
    // The hash of all keys at the revision, computed like HashKV.
    let hash = snapshot::of_keys(kv, kv.revision());
    let v2_index = view.machine.tree.index();
    if format == "json" {
        return show::json(&json!({
            "name": name,
            "memberId": member_id,
            "clusterId": cluster_id,
            "term": term,
            "index": index,
            "revision": revision,
            "keys": keys,
            "hash": hash,
            "v2Index": v2_index,
        }));
    }
    let rows = [
        ("member", format!("{name} ({member_id})")),
        ("cluster", cluster_id),
        ("last entry", format!("index {index} of term {term}")),
        ("revision", revision.to_string()),
        ("keys", format!("{keys}, hash {hash}")),
        ("index of v2", v2_index.to_string()),
    ];
    Ok(rows
        .map(|(name, value)| format!("{name:<12} {value}\n"))
        .concat())
}

//! Serves hashes of this member's state on the peer port: etcd's `/members/hashkv`, and `/members/statehash`, which members use
//! to detect corruption (`corruption`).

use serde::Deserialize;
use tokio::sync::Semaphore;
use witan_machine::{revision::Revision, view::View};
use witan_node::{Node, NodeError};
use witan_snapshot as snapshot;

use super::page::Page;

/// Allows one key hash for another member at a time, because each hash reads all keys.
static HASHING: Semaphore = Semaphore::const_new(1);

#[derive(Deserialize)]
struct KeysRequest {
    #[serde(default)]
    revision: i64,
}

/// Returns a page with the hash of the keys at a revision, as etcd does. Fails with an error page while another hash is being
/// computed, and for an invalid request or revision.
pub(super) async fn of_keys(node: &Node, body: &[u8]) -> Result<Page, Page> {
    let request = serde_json::from_slice::<KeysRequest>(body);
    let request = request.map_err(|_| Page::bad_request("error unmarshalling request"))?;
    let permit = HASHING.try_acquire();
    let permit = permit.map_err(|_| Page::unavailable(NodeError::TooMany))?;
    let job = node.job(permit).await.map_err(Page::unavailable)?;
    let kv = &job.machine.kv;
    let hash_revision = kv.hash_revision(Revision(request.revision));
    let hash_revision =
        hash_revision.map_err(|error| Page::bad_request(&format!("mvcc: {error}")))?;
    let (revision, compact_revision) = (kv.revision().0, kv.compacted().0);
    let end = job.end_signal();
    let hash = move |view: &View| {
        snapshot::of_versions(end.until_told(view.machine.kv.hashed_versions(hash_revision)))
    };
    let (hash, _) = job.run(hash).await.map_err(Page::unavailable)?;
    // Go omits a compacted revision of 0.
    let mut found = serde_json::json!({ "header": { "revision": revision }, "hash": hash });
    if compact_revision != 0 {
        found["compact_revision"] = compact_revision.into();
    }
    found["hash_revision"] = hash_revision.0.into();
    Ok(Page::json(&found))
}

/// Returns a page with the hash of the entire state after the entry that `query` names (`index=N`). Returns an error page with
/// status 404 if this member does not keep the hash, and with status 400 for any other query.
pub(super) fn of_state(node: &Node, query: &str) -> Page {
    let index = query.strip_prefix("index=");
    let index = index.and_then(|index| index.parse().ok());
    let Some(index) = index else {
        return Page::bad_request("index= must be a number");
    };
    match node.state_hashes().at(index) {
        Some(found) => Page::json(&found),
        None => Page::not_found("there is no hash of the state at this index"),
    }
}

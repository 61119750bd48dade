//! `diff` and `revert` compare the keys with a prefix with their state at an earlier revision, and revert them.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use serde::Serialize;
use witan_api::v3::{
    etcdserverpb::{
        Compare, DeleteRangeRequest, PutRequest, RequestOp, TxnRequest,
        compare::{CompareResult, CompareTarget, TargetUnion},
        request_op::Request,
    },
    mvccpb::KeyValue,
};
use witan_members::CallError;

use super::{
    command::PrefixAt,
    error::PluginError,
    keys::{Keys, REMEMBERED_MAX},
    output::print,
    table::{Table, counted, or_unknown},
};

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Differences {
    newest: i64,
    keys: Vec<Difference>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Difference {
    key: String,
    change: Change,
    /// The revision of the current value; `None` if the key does not exist now.
    now: Option<i64>,
    /// The revision of the earlier value; `None` if the key did not exist then.
    then: Option<i64>,
    #[serde(skip)]
    bytes: Vec<u8>,
    #[serde(skip)]
    lease_then: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
enum Change {
    Added,
    Changed,
    Deleted,
}

/// Compares the keys with a prefix at the newest revision and at an earlier revision. Fails if the earlier revision is in the
/// future or compacted, or if more than [`REMEMBERED_MAX`] keys differ.
pub(super) async fn differences(keys: &Keys, at: &PrefixAt) -> Result<Differences, PluginError> {
    let prefix = at.prefix.as_bytes();
    let (_, newest) = keys.get(prefix, 0).await?;
    if at.revision > newest {
        return Err(words!(
            "revision {} does not exist yet; the newest is {newest}",
            at.revision
        ));
    }
    let mut pages_now = keys.pages(prefix, Some(newest));
    let mut pages_then = keys.pages(prefix, Some(at.revision));
    let (mut now, mut then): (VecDeque<KeyValue>, VecDeque<KeyValue>) = Default::default();
    let mut found = Vec::new();
    loop {
        for (pages, left) in [(&mut pages_now, &mut now), (&mut pages_then, &mut then)] {
            if left.is_empty() {
                let page = pages.next().await;
                left.extend(page.map_err(|error| explained(error, at))?);
            }
        }
        let order = match (now.front(), then.front()) {
            (None, None) => break,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(now), Some(then)) => now.key.cmp(&then.key),
        };
        let own = (order.is_le()).then(|| now.pop_front()).flatten();
        let old = (order.is_ge()).then(|| then.pop_front()).flatten();
        found.extend(difference(own.as_ref(), old.as_ref()));
        if found.len() > REMEMBERED_MAX {
            return Err(words!(
                "more than {REMEMBERED_MAX} keys differ; choose a longer prefix"
            ));
        }
    }
    Ok(Differences { newest, keys: found })
}

/// Converts an error. If the revision was compacted, suggests a later revision.
fn explained(error: CallError, at: &PrefixAt) -> PluginError {
    if error.says("compacted") {
        return words!(
            "revision {} was compacted; choose a later revision",
            at.revision
        );
    }
    error.into()
}

/// Returns how a key differs; `None` if both revisions contain the same put or neither contains the key. A new put of an
/// equal value is a change.
fn difference(now: Option<&KeyValue>, then: Option<&KeyValue>) -> Option<Difference> {
    let change = match (now, then) {
        (Some(now), Some(then)) if now.mod_revision == then.mod_revision => return None,
        (Some(_), Some(_)) => Change::Changed,
        (Some(_), None) => Change::Added,
        (None, Some(_)) => Change::Deleted,
        (None, None) => return None,
    };
    let bytes = now.or(then)?.key.to_vec();
    Some(Difference {
        key: String::from_utf8_lossy(&bytes).into_owned(),
        change,
        now: now.map(|now| now.mod_revision),
        then: then.map(|then| then.mod_revision),
        bytes,
        lease_then: then.map_or(0, |then| then.lease),
    })
}

/// Formats the differences as a table, or says that no key differs.
pub(super) fn table(found: &Differences, at: &PrefixAt) -> String {
    let mut table = Table::new(["CHANGE", "REVISION NOW", "REVISION THEN", "KEY"]);
    for each in &found.keys {
        table.row([
            format!("{:?}", each.change).to_lowercase(),
            or_unknown(each.now),
            or_unknown(each.then),
            each.key.clone(),
        ]);
    }
    let (newest, revision) = (found.newest, at.revision);
    let Some(table) = table.text() else {
        return format!("no key differs between revisions {revision} and {newest}\n");
    };
    let count = counted(found.keys.len() as u64, "difference");
    format!("{table}{count} between revisions {revision} and {newest}\n")
}

/// Prints the differences. With `yes`, also reverts them in one transaction, which fails if any of the keys has changed. Even
/// without `yes`, fails if one transaction cannot revert the differences.
pub(super) async fn run(keys: &Keys, at: &PrefixAt, yes: bool) -> Result<(), PluginError> {
    let found = differences(keys, at).await?;
    print(&table(&found, at))?;
    if found.keys.is_empty() {
        return Ok(());
    }
    refuse_unrevertible(&found, keys.txn_ops_max)?;
    if !yes {
        return print("nothing was changed; with --yes, the changes are made in one transaction\n");
    }
    let mut request = TxnRequest::default();
    for each in &found.keys {
        let value = match each.change {
            Change::Added => None,
            Change::Changed | Change::Deleted => {
                let (old, _) = keys.get(&each.bytes, at.revision).await?;
                let gone = || {
                    words!(
                        "the version of {} was compacted while the command ran",
                        each.key
                    )
                };
                Some(old.ok_or_else(gone)?.value.to_vec())
            }
        };
        request.compare.push(unchanged(each));
        request.success.push(revert_op(each, value));
    }
    let answer = keys.txn(request).await?;
    if !answer.succeeded {
        return Err(words!(
            "a key has changed since it was read, so nothing was changed; run the command again"
        ));
    }
    let revision = answer.header.map_or(0, |header| header.revision);
    let (count, then) = (counted(found.keys.len() as u64, "key"), at.revision);
    print(&format!(
        "{count} reverted to revision {then}, at revision {revision} now
"
    ))
}

/// Fails if one transaction cannot revert the differences: there are too many keys, or a key had a lease.
fn refuse_unrevertible(found: &Differences, ops_max: usize) -> Result<(), PluginError> {
    let count = found.keys.len();
    if count > ops_max {
        return Err(words!(
            "{count} keys do not fit into one transaction of {ops_max} operations; choose a longer prefix"
        ));
    }
    let leased = found.keys.iter().find(|each| each.lease_then != 0);
    leased.map_or(Ok(()), |each| {
        Err(words!(
            "{} had a lease, which cannot be restored; choose a prefix without this key",
            each.key
        ))
    })
}

/// Returns the condition that a key is unchanged since it was compared. The revision of a missing key is 0.
fn unchanged(each: &Difference) -> Compare {
    Compare {
        result: CompareResult::Equal.into(),
        target: CompareTarget::Mod.into(),
        key: each.bytes.clone().into(),
        target_union: Some(TargetUnion::ModRevision(each.now.unwrap_or(0))),
        ..Compare::default()
    }
}

/// Returns the operation that writes the earlier value of a key, or deletes the key if `value` is `None`.
fn revert_op(each: &Difference, value: Option<Vec<u8>>) -> RequestOp {
    let key = each.bytes.clone().into();
    let request = match value {
        Some(value) => {
            Request::RequestPut(PutRequest { key, value: value.into(), ..PutRequest::default() })
        }
        None => {
            Request::RequestDeleteRange(DeleteRangeRequest { key, ..DeleteRangeRequest::default() })
        }
    };
    RequestOp { request: Some(request) }
}

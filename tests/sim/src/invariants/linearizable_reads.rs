//! Linearizable reads (§8): a read sees every write completed before its invocation, and no older state than a read completed
//! before it. It returns only values that were written.
//!
//! v3 revisions and the v2 index order all writes, so it suffices to compare each read with the floors of its invocation.

use witan_machine::{kv, revision::Revision};

use super::{Fact, Invariant, Scene};
use crate::{
    oracle::{Ask, End, Op},
    workload,
};

#[derive(Debug, Default)]
pub(super) struct LinearizableReads;

impl Invariant for LinearizableReads {
    fn observe(&mut self, fact: &Fact<'_>, scene: &Scene<'_>) -> Result<(), String> {
        let Fact::Answered { op, view } = fact else {
            return Ok(());
        };
        let Ask::Read(read) = &op.ask else {
            return Ok(());
        };
        let (revision, index) = (view.machine.kv.revision(), view.machine.tree.index());
        let floor = &op.floor;
        if revision < floor.revision
            || index < floor.tree_index
            || view.position.index < floor.index
        {
            return Err(format!(
                "read {} on m{} saw revision {revision}, v2 index {index}, entry {}; before it \
                 began, clients had seen {}, {}, {}",
                op.id,
                op.member,
                view.position.index,
                floor.revision,
                floor.tree_index,
                floor.index
            ));
        }
        let range = kv::Range { key: read.key.clone(), ..kv::Range::default() };
        let reply = view
            .machine
            .kv
            .range(&range, kv::ValueSource::Disk)
            .map_err(|e| format!("read {}: {e}", op.id))?;
        let least = floor
            .keys
            .get(read.key.as_ref())
            .copied()
            .unwrap_or_default();
        match reply.kvs.first() {
            Some(kv) => value_is_right(op, kv, least, scene),
            None => absence_is_right(op, &read.key, least, scene),
        }
    }
}

/// Checks that a read pair is not older than revision `least`, and that its writer wrote it at this revision.
fn value_is_right(
    op: &Op,
    kv: &kv::KeyValue,
    least: Revision,
    scene: &Scene<'_>,
) -> Result<(), String> {
    let Op { id, member, .. } = op;
    if kv.mod_revision < least {
        return Err(format!(
            "read {id} on m{member} saw {:?} of revision {}; revision {least} was known",
            kv.key, kv.mod_revision
        ));
    }
    let Some(writer) = scene.writer(kv) else {
        return Err(format!(
            "read {id} on m{member} saw a value of {:?} that no client wrote",
            kv.key
        ));
    };
    if let Op { id: writer, end: End::Applied { outcome, .. }, .. } = writer
        && outcome.revision != kv.mod_revision
    {
        return Err(format!(
            "read {id} on m{member} saw operation {writer} at revision {}; it was answered at {}",
            kv.mod_revision, outcome.revision
        ));
    }
    Ok(())
}

/// Checks that a key that existed at revision `least` is absent only if a client requested its deletion.
fn absence_is_right(op: &Op, key: &[u8], least: Revision, scene: &Scene<'_>) -> Result<(), String> {
    let asked = scene
        .oracle
        .ops()
        .iter()
        .any(|other| match (&other.ask, &other.end) {
            (Ask::Write(command), End::Applied { outcome, .. }) => {
                outcome.revision >= least && workload::may_delete(command, key)
            }
            (Ask::Write(command), End::Pending | End::Crashed) => {
                workload::may_delete(command, key)
            }
            (
                Ask::Write(_),
                End::Refused(_) | End::NoSpace | End::Removed | End::Answered { .. },
            )
            | (Ask::Read(_), _) => false,
        });
    if least > Revision::NONE && !asked {
        return Err(format!(
            "read {} on m{} did not see {key:?}, which had revision {least}",
            op.id, op.member
        ));
    }
    Ok(())
}

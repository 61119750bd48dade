//! Durability (§8: a committed and answered command is never lost). Every state at or after the index of an acknowledged write
//! contains the write as the client's answer describes it. If a member continues alone, this holds only for the writes that it
//! has kept, because the oracle forgets the answers to other writes.

use witan_machine::{kv, revision::Revision, view::View};
use witan_tree::Watch;

use super::{Fact, Invariant, Scene};
use crate::{
    oracle::{Ask, End, Op},
    workload::{Effect, effect},
};

/// Number of recent acknowledged writes that each read checks. At the end of the run, all are checked.
const RECENT_OPS: usize = 24;

#[derive(Debug, Default)]
pub(super) struct DurabilityOfAcked {
    /// The operations answered so far, in the order of their answers.
    acknowledged: Vec<u64>,
}

impl Invariant for DurabilityOfAcked {
    fn observe(&mut self, fact: &Fact<'_>, scene: &Scene<'_>) -> Result<(), String> {
        if let Fact::Acknowledged { op } = fact {
            self.acknowledged.push(op.id);
        }
        if let Fact::Answered { view, op } = fact {
            let skip = self.acknowledged.len().saturating_sub(RECENT_OPS);
            return self
                .audit(skip, view, scene)
                .map_err(|what| format!("m{}: {what}", op.member));
        }
        if let Fact::Ended { views, .. } = fact {
            for (id, view) in *views {
                self.audit(0, view, scene)
                    .map_err(|what| format!("m{id}: {what}"))?;
                let floor = scene.oracle.floor().index;
                if view.position.index < floor {
                    return Err(format!(
                        "m{id} ends at entry {}, but entry {floor} was acknowledged",
                        view.position.index
                    ));
                }
            }
        }
        Ok(())
    }
}

impl DurabilityOfAcked {
    /// Checks that `view` has the acknowledged writes, without the first `skip` ones.
    fn audit(&self, skip: usize, view: &View, scene: &Scene<'_>) -> Result<(), String> {
        for op in self.acknowledged[skip..]
            .iter()
            .filter_map(|id| scene.oracle.op(*id))
        {
            if let Some(what) = missing(op, view) {
                return Err(format!("acknowledged operation {} {what}", op.id));
            }
        }
        Ok(())
    }
}

/// Returns how `view` contradicts the answer of `op`, or `None` if there is no contradiction.
fn missing(op: &Op, view: &View) -> Option<String> {
    let (Ask::Write(command), End::Applied { index, outcome, .. }) = (&op.ask, &op.end) else {
        return None;
    };
    if view.position.index < *index {
        return None;
    }
    match effect(command, outcome) {
        Effect::Put { key, value } => {
            let kvs = at_revision(view, key, &[], outcome.revision)?;
            let holds = matches!(kvs.as_slice(), [kv]
                if kv.value == value && kv.mod_revision == outcome.revision);
            (!holds).then(|| format!("is not at revision {} of {key:?}", outcome.revision))
        }
        Effect::Gone { key, range_end } => {
            let kvs = at_revision(view, key, range_end, outcome.revision)?;
            (!kvs.is_empty()).then(|| format!("deleted {key:?}, which still exists"))
        }
        Effect::Event(event) => event_missing(event, view),
        Effect::Nothing => None,
        Effect::Mismatch => Some(format!("got an answer that does not match it: {outcome:?}")),
    }
}

/// Returns the pairs of a range at a revision. Returns `None` if the revision was compacted, and two empty pairs, which match
/// no answer, if the state is older than the revision.
fn at_revision(
    view: &View,
    key: &[u8],
    end: &[u8],
    revision: Revision,
) -> Option<Vec<kv::KeyValue>> {
    let range = kv::Range {
        key: key.to_vec().into(),
        range_end: end.to_vec().into(),
        revision: revision.0,
        ..kv::Range::default()
    };
    match view.machine.kv.range(&range, kv::ValueSource::Disk) {
        Ok(reply) => Some(reply.kvs),
        Err(kv::KvError::Compacted { .. }) => None,
        Err(_) => Some(vec![kv::KeyValue::default(), kv::KeyValue::default()]),
    }
}

/// Returns how the v2 history in `view` contradicts an event, or `None` if there is no contradiction.
fn event_missing(event: &witan_tree::Event, view: &View) -> Option<String> {
    if event.refresh {
        return None;
    }
    let watch = Watch {
        path: event.node.path.clone(),
        recursive: false,
        registered: view.machine.tree.index(),
    };
    match view.machine.tree.next_event(&watch, event.index) {
        Ok(Some(found)) if found.index == event.index && found.action == event.action => None,
        Ok(found) => Some(format!(
            "is not event {} of the v2 history, where {:?} comes next",
            event.index,
            found.map(|event| event.index)
        )),
        Err(_) => None,
    }
}

//! The initial states of members that were adopted from etcd separately. The states have the same history in different blocks,
//! so their lineages differ.

use witan_machine::{
    kv::{Compact, DeleteRange, Kv, KvCommand, KvOperation, Put},
    view::View,
};

use crate::scenario::Scenario;

/// Number of puts before the compaction, and again after it. They fill some blocks.
const PUTS: usize = 60;

const VALUE_BYTES: usize = 2000;

/// The prefix of all keys in the initial states.
pub(crate) const KEYS: &[u8] = b"/adopted/";

/// Returns `genesis`. In a run with adopted members, returns one of two variants of another initial state, which alternate
/// between members. One variant has gaps where a compaction removed versions. The other variant has no gaps, as if its backend
/// had been read after the compaction.
pub(crate) fn first_state(scenario: &Scenario, genesis: &View, member: u64) -> View {
    if !scenario.is_adopted() {
        return genesis.clone();
    }
    let mut kv = Kv::default();
    put_some(&mut kv);
    let revision = kv.revision().0 - 1;
    apply(&mut kv, KvOperation::Compact(Compact { revision }));
    kv.clear_states_before_compaction();
    let lineage = 1 + member % 2;
    if lineage == 2 {
        kv = packed(&kv);
    }
    put_some(&mut kv);
    let mut state = genesis.clone();
    state.machine.kv = kv;
    state.position.lineage = lineage;
    state
}

fn apply(kv: &mut Kv, operation: KvOperation) {
    kv.apply(&KvCommand { operation: Some(operation) })
        .expect("the operation succeeds");
}

/// Puts `PUTS` values on seven keys, then deletes one of these keys.
fn put_some(kv: &mut Kv) {
    for at in 0..PUTS {
        let key = format!("/adopted/{}", at % 7).into();
        let value = vec![b'v'; VALUE_BYTES].into();
        apply(kv, KvOperation::Put(Put { key, value, ..Put::default() }));
    }
    let key = "/adopted/3".into();
    apply(
        kv,
        KvOperation::Delete(DeleteRange { key, ..DeleteRange::default() }),
    );
}

/// Copies a key space as `witan adopt` reads it from a backend, without gaps.
fn packed(kv: &Kv) -> Kv {
    let mut copy = Kv::default();
    for written in kv.retained_versions() {
        copy.import_change(&written)
            .expect("the operation succeeds");
    }
    copy.finish_import(kv.compacted(), kv.compacted())
        .expect("the operation succeeds");
    copy
}

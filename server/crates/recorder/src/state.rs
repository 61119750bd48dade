//! The part of a state that a recording contains: members, leases, alarms, and users and roles without passwords. These parts
//! determine who votes, when a lease ends and what a caller may change. A recording omits keys and nodes.

use witan_machine::{
    StateMachine,
    auth::hide_password,
    record::{AUTH, CorruptRecord, LEASE, RecordChange, TREE},
    revision::Revision,
    view::{View, ViewBuilder},
};
use witan_tree::Tree;

use crate::format::{Record, State};

/// Returns the part of a state that is recorded, without passwords. Does not visit keys or nodes, because there may be
/// millions.
pub(crate) fn store(view: &View) -> State {
    let machine = &view.machine;
    let no_keys = machine.kv.is_empty() && machine.kv.revision() == Revision::EMPTY;
    let no_nodes = machine.tree.size_bytes() == 0;
    let mut records = Vec::new();
    let mut keep = |change: RecordChange, sections: fn(u8) -> bool| {
        if let RecordChange::Put { key, mut value } = change
            && key.first().is_some_and(|section| sections(*section))
        {
            if key[0] == AUTH {
                hide_password(&key[1..], &mut value);
            }
            records.push(Record { key, value });
        }
    };
    let mut bare = view.clone();
    bare.machine.kv = StateMachine::default().kv;
    bare.machine.tree = Tree::default();
    bare.changes(None, &mut |change| {
        keep(change, |section| section != TREE && section != LEASE)
    });
    bare.machine.kv = machine.kv.clone();
    bare.machine
        .changes_except_keys(None, &mut |change| keep(change, |section| section == LEASE));
    records.sort_by(|a, b| a.key.cmp(&b.key));
    State {
        records,
        revision: machine.kv.revision().0,
        tree_index: machine.tree.index(),
        whole: no_keys && no_nodes,
    }
}

/// Creates a view from a recorded state, with its revision and tree index but without keys and nodes.
pub(crate) fn restore(state: &State) -> Result<View, CorruptRecord> {
    let mut builder = ViewBuilder::default();
    for record in &state.records {
        builder.load(&record.key, &record.value)?;
    }
    let mut view = builder.finish()?;
    let revision = Revision(state.revision);
    if revision > Revision::EMPTY {
        view.machine.kv.finish_import(revision, Revision::NONE)?;
    }
    view.machine.tree = Tree::at_index(state.tree_index)?;
    Ok(view)
}

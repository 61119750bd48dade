//! Members that start with different states end with the same state: it has one lineage. All records are equal after the same
//! entry, including the locations of keys in blocks.

use std::collections::BTreeMap;

use witan_machine::{record::RecordChange, view::View};

use super::{Fact, Invariant, Scene};

type Records = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Debug, Default)]
pub(super) struct OneLineage;

impl Invariant for OneLineage {
    fn observe(&mut self, fact: &Fact<'_>, _: &Scene<'_>) -> Result<(), String> {
        let Fact::Ended { views, .. } = fact else {
            return Ok(());
        };
        let Some((first, of_first)) = views.first() else {
            return Ok(());
        };
        let mut by_index: BTreeMap<u64, (u64, Records)> = BTreeMap::new();
        for (member, view) in *views {
            let (own, other) = (view.position.lineage, of_first.position.lineage);
            if own != other {
                return Err(format!(
                    "m{member} has the lineage {own}, and m{first} has {other}"
                ));
            }
            let records = records(view);
            let same = by_index
                .entry(view.position.index)
                .or_insert_with(|| (*member, records.clone()));
            if same.1 != records {
                return Err(format!(
                    "m{member} and m{} have other records after entry {}",
                    same.0, view.position.index
                ));
            }
        }
        Ok(())
    }
}

/// Returns all records of a checkpoint except the position, in which raft lists members in varying order.
fn records(view: &View) -> Records {
    let mut records = Records::new();
    view.machine.changes(None, &mut |change| match change {
        RecordChange::Put { key, value } => {
            records.insert(key, value);
        }
        RecordChange::Delete { key } => {
            records.remove(&key);
        }
    });
    records
}

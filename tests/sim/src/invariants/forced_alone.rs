//! A member that continues alone (`--force-new-cluster`) keeps all entries of its log. If its own removal is not known to be
//! committed, it keeps only the entries before that removal. The member is then the only member of its cluster. No member of
//! the old cluster returns, or leads a member of the new cluster.

use std::collections::{BTreeMap, BTreeSet};

use witan_machine::view::View;

use super::{Fact, Ident, Invariant, Scene};

#[derive(Debug, Default)]
pub(super) struct ForcedAlone {
    /// The entries that must stay.
    log: BTreeMap<u64, Ident>,
    /// The index of the last entry that removes a member of the old cluster.
    end: u64,
    outside: BTreeSet<u64>,
}

impl Invariant for ForcedAlone {
    fn observe(&mut self, fact: &Fact<'_>, scene: &Scene<'_>) -> Result<(), String> {
        if let Fact::Forced { member, log, dropped, outside, .. } = fact {
            self.log.clone_from(log);
            self.outside.clone_from(outside);
            self.end = scene.truth.index;
            self.begins(*member, *dropped, scene)?;
        }
        if let Fact::Turned { member, status, .. } = fact
            && self.outside.contains(&status.leader.0)
        {
            return Err(format!(
                "m{member} follows m{}, which is outside the new cluster",
                status.leader.0
            ));
        }
        if let Fact::Executed { member, batch, .. } = fact {
            for applied in *batch {
                let found = scene.ident(*member, applied.index);
                let kept = self.log.get(&applied.index);
                if kept.is_some() && found.is_some() && kept != found.as_ref() {
                    return Err(format!(
                        "m{member} executes an entry {} that differs from the kept one",
                        applied.index
                    ));
                }
            }
        }
        if let Fact::Executed { member, view, .. } | Fact::Restored { member, view, .. } = fact {
            self.none_back(*member, view)?;
        }
        Ok(())
    }
}

impl ForcedAlone {
    /// Checks that the disk of the surviving member has the entries that must stay, and not its removal.
    fn begins(
        &self,
        member: u64,
        dropped: Option<(u64, Ident)>,
        scene: &Scene<'_>,
    ) -> Result<(), String> {
        let lost = self
            .log
            .iter()
            .find(|(index, ident)| scene.ident(member, **index) != Some(**ident));
        if let Some((index, _)) = lost {
            return Err(format!("m{member} continues without its entry {index}"));
        }
        match dropped {
            Some((index, ident)) if scene.ident(member, index) == Some(ident) => Err(format!(
                "m{member} continues with its removal in entry {index}, which may be uncommitted"
            )),
            Some(_) | None => Ok(()),
        }
    }

    /// Checks that no member of the old cluster is in the state `view` of `member`.
    fn none_back(&self, member: u64, view: &View) -> Result<(), String> {
        let members = view.machine.members.by_id.keys().map(|id| id.0);
        let mut back = members.filter(|id| self.outside.contains(id));
        match back.next() {
            Some(back) if view.position.index >= self.end => Err(format!(
                "m{back} is back in the cluster of m{member} at {}",
                view.position.index
            )),
            Some(_) | None => Ok(()),
        }
    }
}

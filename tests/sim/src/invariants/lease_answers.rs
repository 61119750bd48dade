//! Answers about leases are linearizable. A lease granted before the request exists as long as no entry has ended it. A lease
//! no longer exists if a client knew of its end before the request.

use std::collections::{BTreeMap, BTreeSet};

use witan_machine::{
    Reply,
    command::Command,
    lease::{LeaseCommand, LeaseId, LeaseOperation, LeaseReply},
};
use witan_replica::{host::LeaseAnswer, lessor::Renewal};

use super::{Fact, Invariant, Scene};
use crate::oracle::{Ask, End, Op};

#[derive(Debug, Default)]
pub(super) struct LeaseAnswers {
    /// The last entry executed by any member and the leases after it.
    index: u64,
    leases: BTreeSet<LeaseId>,
    /// Time at which a client learned that a lease has ended, by lease. The id of such a lease is not granted again.
    known_ended: BTreeMap<LeaseId, u64>,
}

impl Invariant for LeaseAnswers {
    fn observe(&mut self, fact: &Fact<'_>, scene: &Scene<'_>) -> Result<(), String> {
        if let Fact::Executed { view, .. } = fact
            && view.position.index > self.index
        {
            self.index = view.position.index;
            let leases = view.machine.kv.leases().iter();
            self.leases = leases.map(|(id, _)| id).collect();
        }
        if let Fact::Acknowledged { op } = fact
            && let Some(lease) = revoked(op)
        {
            self.known_ended.entry(lease).or_insert(scene.now);
        }
        if let Fact::LeaseAnswered { lease, answer, asked } = fact {
            self.answered(*lease, *answer, *asked, scene.now)?;
        }
        // The history restarts, and later entries show the existing leases.
        if let Fact::Forced { .. } = fact {
            *self = Self::default();
        }
        Ok(())
    }
}

impl LeaseAnswers {
    /// Checks an answer about a lease. Clients ask only about leases whose grant was acknowledged.
    fn answered(
        &mut self,
        lease: LeaseId,
        answer: LeaseAnswer,
        asked: u64,
        now: u64,
    ) -> Result<(), String> {
        let is_known = match answer {
            LeaseAnswer::Renewal(Renewal::Unknown) | LeaseAnswer::Remaining(None) => false,
            LeaseAnswer::Renewal(
                Renewal::Renewed { .. } | Renewal::Expiring | Renewal::NeedsCheckpoint,
            )
            | LeaseAnswer::Remaining(Some(_)) => true,
        };
        if !is_known && self.leases.contains(&lease) {
            return Err(format!(
                "{answer:?} about lease {}, which exists after entry {}",
                lease.0, self.index
            ));
        }
        if let Some(ended) = self
            .known_ended
            .get(&lease)
            .filter(|at| is_known && **at < asked)
        {
            return Err(format!(
                "{answer:?} about lease {}, requested at {asked}: \
                 a client knew at {ended} that it had ended",
                lease.0
            ));
        }
        if !is_known {
            self.known_ended.entry(lease).or_insert(now);
        }
        Ok(())
    }
}

/// Returns the lease that an answered operation has revoked, if any.
fn revoked(op: &Op) -> Option<LeaseId> {
    match (&op.ask, &op.end) {
        (
            Ask::Write(Command::Lease(LeaseCommand {
                operation: Some(LeaseOperation::Revoke(revoke)),
            })),
            End::Applied { outcome, .. },
        ) if outcome.reply == Reply::Lease(Ok(LeaseReply::Revoked)) => Some(revoke.lease_id()),
        _ => None,
    }
}

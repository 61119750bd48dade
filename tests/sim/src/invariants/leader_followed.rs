//! A member that receives its leader's messages follows that leader within two election timeouts (§5.2). This includes a member
//! that wrongly believed that the leader's process had ended.

use std::collections::BTreeMap;

use witan_machine::member::MemberId;
use witan_replica::replica::Status;

use super::{Fact, Invariant, Scene};

/// A leader whose messages a member receives without following it.
#[derive(Debug)]
struct Ignored {
    leader: u64,
    term: u64,
    /// Times of the first and the last message, which arrived at least once per election timeout.
    since: u64,
    last: u64,
}

#[derive(Debug, Default)]
pub(super) struct LeaderFollowed {
    ignored: BTreeMap<u64, Ignored>,
}

impl Invariant for LeaderFollowed {
    fn observe(&mut self, fact: &Fact<'_>, scene: &Scene<'_>) -> Result<(), String> {
        if let Fact::Heard { member, leader, term, timeout, status } = fact {
            let ignored = self.heard(*member, (*leader, *term), *timeout, scene.now);
            // Before its turn is over, the member may again believe that the leader's process has ended.
            self.stands(*member, *status);
            ignored?;
        }
        if let Fact::Turned { member, status, .. } = fact {
            self.stands(*member, *status);
        }
        if let Fact::Restored { member, starts: true, .. } = fact {
            self.ignored.remove(member);
        }
        if let Fact::Forced { .. } = fact {
            self.ignored.clear();
        }
        Ok(())
    }
}

impl LeaderFollowed {
    /// Stops tracking a leader that the member now follows, or whose term it has left.
    fn stands(&mut self, member: u64, Status { leader: MemberId(leader), term, .. }: Status) {
        let follows = |ignored: &Ignored| {
            (ignored.leader, ignored.term) == (leader, term) || ignored.term < term
        };
        if self.ignored.get(&member).is_some_and(follows) {
            self.ignored.remove(&member);
        }
    }

    /// Records a leader's message. Fails if its receiver has not followed the leader for two election timeouts.
    fn heard(
        &mut self,
        member: u64,
        (leader, term): (u64, u64),
        timeout: u64,
        now: u64,
    ) -> Result<(), String> {
        let new = Ignored { leader, term, since: now, last: now };
        let ignored = self.ignored.entry(member).or_insert(new);
        let goes_on =
            (ignored.leader, ignored.term) == (leader, term) && now <= ignored.last + timeout;
        if !goes_on {
            *ignored = Ignored { leader, term, since: now, last: now };
        }
        ignored.last = now;
        let since = ignored.since;
        match now > since + 2 * timeout {
            true => Err(format!(
                "m{member} has received messages of m{leader}, the leader of term {term}, \
                 since {since} and does not follow it"
            )),
            false => Ok(()),
        }
    }
}

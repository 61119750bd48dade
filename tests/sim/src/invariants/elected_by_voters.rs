//! Elections (§5.2, §5.4): a member votes once per term. The leader of a term has votes on the disks of most voters that it
//! knew. Learners and removed members do not count.

use std::collections::BTreeMap;

use bytes::Bytes;
use witan_replica::replica::Role;

use super::{Fact, Invariant, Scene};

/// Term, vote and commit index as on disk (see `wire` in the core; the layout never changes).
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct Vote {
    #[prost(uint64, tag = "1")]
    pub(crate) term: u64,
    #[prost(fixed64, tag = "2")]
    candidate: u64,
    #[prost(uint64, tag = "3")]
    pub(crate) commit: u64,
}

impl Vote {
    pub(crate) fn read(hard_state: &Bytes) -> Result<Self, String> {
        let vote = prost::Message::decode(hard_state.as_ref());
        vote.map_err(|error| format!("the hard state cannot be decoded: {error}"))
    }
}

#[derive(Debug, Default)]
pub(super) struct ElectedByVoters {
    /// The vote of each member in each term.
    votes: BTreeMap<(u64, u64), u64>,
    /// The last term on the disk of each member. A member that skipped a term has no vote in it on disk and can no longer vote
    /// in it.
    terms: BTreeMap<u64, u64>,
    /// The last term of the votes that a member has forgotten because an older copy replaced its disk. The member may vote
    /// again in terms up to this one. By then, all voters have reported their log ends to it, so a new leader has every entry
    /// committed in these terms.
    forgotten: BTreeMap<u64, u64>,
    /// The last observed term in which each member led.
    seen: BTreeMap<u64, u64>,
}

impl Invariant for ElectedByVoters {
    fn observe(&mut self, fact: &Fact<'_>, _scene: &Scene<'_>) -> Result<(), String> {
        if let Fact::Written { member, hard_state: Some(hard_state), .. } = fact {
            let vote = Vote::read(hard_state).map_err(|what| format!("m{member}: {what}"))?;
            self.terms.insert(*member, vote.term);
            if vote.candidate != 0 {
                let key = (vote.term, *member);
                if self.forgotten.get(member) >= Some(&vote.term) {
                    self.votes.remove(&key);
                }
                let first = *self.votes.entry(key).or_insert(vote.candidate);
                if first != vote.candidate {
                    return Err(format!(
                        "m{member} votes for m{first} and m{} in term {}",
                        vote.candidate, vote.term
                    ));
                }
            }
        }
        if let Fact::OlderDisk { member } = fact {
            let term = self.terms.get(member).copied().unwrap_or_default();
            self.forgotten.insert(*member, term);
        }
        let Fact::Turned { member, status, voters } = fact else {
            return Ok(());
        };
        if status.role != Role::Leader
            || self.seen.insert(*member, status.term) == Some(status.term)
        {
            return Ok(());
        }
        let elects = |voters: &&Vec<u64>| {
            let term = status.term;
            let given = |id: &&u64| match self.votes.get(&(term, **id)) {
                Some(vote) => vote == member,
                None => self.terms.get(*id).is_some_and(|on_disk| *on_disk > term),
            };
            voters.iter().filter(given).count() > voters.len() / 2
        };
        match voters.iter().find(elects) {
            Some(_) => Ok(()),
            None => Err(format!(
                "m{member} leads term {} without the votes of most of {:?}",
                status.term, voters[1]
            )),
        }
    }
}

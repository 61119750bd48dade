//! Compares the state hashes of all members at one log index, without I/O.

use std::collections::BTreeMap;

use witan_api::peer::StateHash;
use witan_machine::member::MemberId;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MemberHash {
    pub(super) member: MemberId,
    pub(super) votes: bool,
    /// The hash, or `None` if the member does not answer or has no hash at this index.
    pub(super) found: Option<StateHash>,
}

/// The outcome of a comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum StateAgreement {
    /// No two reported hashes differ.
    Agreed {
        /// Whether all members reported a hash.
        complete: bool,
    },
    /// A majority of the voters agrees, and other members differ from this majority.
    Outvoted {
        /// Members that agree with each other, including learners.
        majority: Vec<MemberId>,
        /// Members that reported a different hash.
        corrupt: Vec<MemberId>,
    },
    /// Members differ, and no majority shows which state is correct.
    Undecided,
}

/// Compares the states of all members at one log index; only voters form a majority. At one index, all members have the same
/// feature level and therefore the same data format, so equal states have equal hashes.
pub(super) fn decide(members: &[MemberHash]) -> StateAgreement {
    let mut groups: BTreeMap<_, Vec<&MemberHash>> = BTreeMap::new();
    for member in members {
        if let Some(hash) = &member.found {
            let state = (hash.revision, hash.compact_revision, hash.keys, hash.others);
            groups.entry(state).or_default().push(member);
        }
    }
    if groups.len() <= 1 {
        let complete = members.iter().all(|member| member.found.is_some());
        return StateAgreement::Agreed { complete };
    }
    let ids = |group: &[&MemberHash]| group.iter().map(|member| member.member).collect();
    let voters = members.iter().filter(|member| member.votes).count();
    let is_majority = |group: &Vec<&MemberHash>| {
        let votes = group.iter().filter(|member| member.votes).count();
        votes > voters / 2
    };
    let (majority, others): (Vec<_>, Vec<_>) = groups.into_values().partition(is_majority);
    match majority.first() {
        Some(group) => {
            StateAgreement::Outvoted { majority: ids(group), corrupt: ids(&others.concat()) }
        }
        None => StateAgreement::Undecided,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Returns a voter with this hash of its keys, or a voter without a hash.
    pub(crate) fn member(member: u64, keys: Option<u32>) -> MemberHash {
        let found = keys.map(|keys| StateHash {
            release: "1".into(),
            index: 9,
            revision: 5,
            compact_revision: -1,
            keys,
            others: 7,
        });
        MemberHash { member: MemberId(member), votes: true, found }
    }

    fn of(keys: &[Option<u32>]) -> StateAgreement {
        let members = (1..).zip(keys).map(|(id, keys)| member(id, *keys));
        decide(&members.collect::<Vec<_>>())
    }

    fn outvoted(majority: &[u64], corrupt: &[u64]) -> StateAgreement {
        let ids = |ids: &[u64]| ids.iter().copied().map(MemberId).collect();
        StateAgreement::Outvoted { majority: ids(majority), corrupt: ids(corrupt) }
    }

    #[test]
    fn the_state_of_most_voters_is_correct() {
        let (a, b, c, none) = (Some(1), Some(2), Some(3), None);
        let agreed = |complete| StateAgreement::Agreed { complete };
        for (keys, agreement) in [
            (&[a, a, a][..], agreed(true)),
            (&[a, a, none], agreed(false)),
            (&[a, b, a], outvoted(&[1, 3], &[2])),
            (&[b, a, a], outvoted(&[2, 3], &[1])),
            (&[a, b, c], StateAgreement::Undecided),
            (&[a, b], StateAgreement::Undecided),
            (&[a, a, b, b], StateAgreement::Undecided),
            (&[a, a, a, b, c], outvoted(&[1, 2, 3], &[4, 5])),
            (&[a, a, none, none, b], StateAgreement::Undecided),
        ] {
            assert_eq!(of(keys), agreement, "{keys:?}");
        }
    }

    #[test]
    fn learners_are_compared_but_do_not_vote() {
        let mut members: Vec<MemberHash> = [1, 2, 2, 2]
            .into_iter()
            .zip(1..)
            .map(|(keys, id)| member(id, Some(keys)))
            .collect();
        members[1].votes = false;
        members[2].votes = false;
        // The two voters differ.
        assert_eq!(decide(&members), StateAgreement::Undecided);
        members[3] = member(4, Some(1));
        assert_eq!(decide(&members), outvoted(&[1, 4], &[2, 3]));
    }

    #[test]
    fn all_hashes_are_compared_but_not_the_release() {
        let mut members: Vec<MemberHash> = (1..=3).map(|id| member(id, Some(1))).collect();
        let mut change = |change: fn(&mut StateHash)| {
            change(members[2].found.as_mut().expect("a hash"));
            decide(&members)
        };
        let agreed = StateAgreement::Agreed { complete: true };
        assert_eq!(change(|found| found.release.push('2')), agreed);
        let differs = outvoted(&[1, 2], &[3]);
        assert_eq!(change(|found| found.others += 1), differs);
        assert_eq!(change(|found| found.others -= 1), agreed);
        assert_eq!(change(|found| found.keys += 1), differs);
    }
}

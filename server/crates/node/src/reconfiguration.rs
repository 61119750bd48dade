//! Decides whether a membership change is safe for the quorum (`--strict-reconfig-check`). The rules are those of etcd's
//! `isConfChangeAllowed`. This module is pure: the caller passes the connections. The state machine refuses impossible changes
//! when it applies them, for example a URL that is already in use.

use witan_machine::member::{Member, MemberId, MemberRegistry};

/// A membership change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reconfiguration {
    /// Adds a member.
    Add {
        /// Whether the new member is a learner.
        learner: bool,
    },
    /// Removes the member with this id.
    Remove(MemberId),
    /// Promotes the learner with this id to a voter.
    Promote(MemberId),
}

/// The reason why a change may cause quorum loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnsafeReconfiguration {
    /// After the change, a quorum would need voters that have never started.
    #[error("re-configuration failed due to not enough started members")]
    NotEnoughStarted,
    /// Too many voters are disconnected, or have only just connected.
    #[error("unhealthy cluster")]
    Unhealthy,
}

/// The state of the connection to another member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Connection {
    /// The member is not connected.
    Lost,
    /// The member is connected, but not for long enough to be considered healthy.
    Recent,
    /// The member has been connected for long enough to be considered healthy.
    Settled,
}

/// Checks a change of `members`. `connection` returns each member's connection, and `Settled` for this member. Removing a
/// learner or an unknown member is always safe. A promotion does not depend on the connections.
pub(super) fn check(
    change: Reconfiguration,
    members: &MemberRegistry,
    connection: impl Fn(MemberId) -> Connection,
) -> Result<(), UnsafeReconfiguration> {
    let voters: Vec<&Member> = members.by_id.values().filter(|m| !m.learner).collect();
    let count = voters.len();
    let started = voters.iter().filter(|voter| is_started(voter)).count();
    let settled = voters
        .iter()
        .filter(|voter| connection(voter.member_id()) == Connection::Settled)
        .count();
    let (enough_started, healthy) = match change {
        Reconfiguration::Add { learner } => {
            // A cluster of one member may grow to two members, which must then both be up.
            let grows_to_two = started == 1 && count == 1;
            let enough_started = learner || grows_to_two || started >= quorum(count + 1);
            // The new member is assumed to be down. A single member has no connections.
            (enough_started, count == 1 || settled >= quorum(count + 1))
        }
        Reconfiguration::Promote(_) => (started + 1 >= quorum(count + 1), true),
        Reconfiguration::Remove(id) => {
            let Some(removed) = voters.iter().find(|voter| voter.member_id() == id) else {
                return Ok(());
            };
            let started = started - usize::from(is_started(removed));
            let enough_started = count > 1 && started >= quorum(count - 1);
            // A member that is down does not belong to the current quorum.
            let is_down = connection(id) == Connection::Lost;
            (enough_started, is_down || settled > quorum(count - 1))
        }
    };
    if !enough_started {
        return Err(UnsafeReconfiguration::NotEnoughStarted);
    }
    match healthy {
        true => Ok(()),
        false => Err(UnsafeReconfiguration::Unhealthy),
    }
}

/// Returns whether a member has published its name, which it does when it first starts.
fn is_started(member: &Member) -> bool {
    !member.name.is_empty()
}

/// Returns the number of voters that form a majority.
fn quorum(voters: usize) -> usize {
    voters / 2 + 1
}

#[cfg(test)]
mod tests {
    use Reconfiguration::Add;
    use UnsafeReconfiguration::{NotEnoughStarted, Unhealthy};

    use super::*;

    const ADD: Reconfiguration = Add { learner: false };

    fn remove(id: u64) -> Reconfiguration {
        Reconfiguration::Remove(MemberId(id))
    }

    fn promote(id: u64) -> Reconfiguration {
        Reconfiguration::Promote(MemberId(id))
    }

    /// Creates members 1, 2 and so on: `s` is a started voter, `u` an unstarted voter, `l` a learner.
    fn members(kinds: &str) -> MemberRegistry {
        let mut members = MemberRegistry::default();
        for (id, kind) in (1..).zip(kinds.chars()) {
            let member = Member {
                id,
                name: if kind == 'u' {
                    String::new()
                } else {
                    kind.to_string()
                },
                learner: kind == 'l',
                ..Member::default()
            };
            members.by_id.insert(member.member_id(), member);
        }
        members
    }

    #[test]
    fn an_addition_needs_a_quorum_of_started_and_connected_members() {
        let all = |_| Connection::Settled;
        for (kinds, change, expect) in [
            ("s", ADD, Ok(())),
            ("su", ADD, Err(NotEnoughStarted)),
            ("sssu", ADD, Ok(())),
            ("ssu", ADD, Err(NotEnoughStarted)),
            ("ssu", Add { learner: true }, Ok(())),
            ("sul", promote(3), Ok(())),
            ("suul", promote(4), Err(NotEnoughStarted)),
        ] {
            assert_eq!(check(change, &members(kinds), all), expect, "{kinds}");
        }
        for state in [Connection::Lost, Connection::Recent] {
            for (kinds, down, expect) in [
                ("s", 0, Ok(())),
                ("ss", 1, Err(Unhealthy)),
                ("sss", 1, Err(Unhealthy)),
                ("ssl", 1, Ok(())),
                ("ssss", 2, Err(Unhealthy)),
                ("sssss", 2, Err(Unhealthy)),
            ] {
                let up = kinds.len() as u64 - down;
                let last = |MemberId(id)| if id > up { state } else { Connection::Settled };
                for change in [ADD, Add { learner: true }] {
                    let got = check(change, &members(kinds), last);
                    assert_eq!(got, expect, "{kinds} with {down} down, {change:?}");
                }
            }
        }
    }

    #[test]
    fn a_removal_must_leave_a_quorum_of_serving_members() {
        let all = |_| Connection::Settled;
        let without = |lost: u64| {
            move |MemberId(id)| match id == lost {
                true => Connection::Lost,
                false => Connection::Settled,
            }
        };
        assert_eq!(check(remove(1), &members("s"), all), Err(NotEnoughStarted));
        assert_eq!(check(remove(1), &members("su"), all), Err(NotEnoughStarted));
        assert_eq!(check(remove(2), &members("su"), all), Ok(()));
        assert_eq!(check(remove(3), &members("sss"), without(3)), Ok(()));
        assert_eq!(
            check(remove(2), &members("sss"), without(3)),
            Err(Unhealthy)
        );
        assert_eq!(
            check(remove(3), &members("ssl"), without(2)),
            Ok(()),
            "a learner"
        );
        assert_eq!(check(remove(4), &members("ssss"), without(3)), Ok(()));
    }
}

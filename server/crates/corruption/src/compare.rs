//! Queries the other members for their state hashes at one log index.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout};
use witan_api::peer::StateHash;
use witan_config::Url;
use witan_machine::{alarm::AlarmCommand, member::Member};
use witan_node::{Node, NodeError};
use witan_peer::{PeerDialer, query};

use super::agreement::{MemberHash, StateAgreement, decide};

/// Timeout for hashing this member's own state, in addition to the time for its keys and values.
const HASH_TIMEOUT: Duration = Duration::from_secs(30);

/// Minimum rate in bytes per second at which a member hashes keys and values. Values that are not in memory are read from a disk
/// that also serves requests.
const HASH_BYTES_PER_SECOND: u64 = 16 << 20;

/// Maximum wait for other members after this member has hashed its state, in addition to twice its hashing time. A restarted
/// member may never have a hash at this index.
const OTHERS_TIMEOUT: Duration = Duration::from_secs(3);

const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// The reason why a comparison failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum CompareError {
    #[error(transparent)]
    Node(#[from] NodeError),
    #[error("this member did not hash its own state in time")]
    NotHashed,
}

#[derive(Clone, Debug)]
pub(super) struct Comparison {
    pub(super) index: u64,
    pub(super) members: Vec<MemberHash>,
    pub(super) agreement: StateAgreement,
}

impl Comparison {
    /// Formats the hashes of all members, for logs and errors.
    pub(super) fn hashes(&self) -> String {
        let of = |member: &MemberHash| {
            let id = member.member;
            match &member.found {
                None => format!("{id} has no hash"),
                Some(hash) => format!(
                    "{id} has {:08x} and {:08x} at revision {}",
                    hash.keys, hash.others, hash.revision
                ),
            }
        };
        let texts: Vec<String> = self.members.iter().map(of).collect();
        texts.join(", ")
    }
}

enum Answer {
    Hash(StateHash),
    /// The member has no hash at this index yet.
    NotYet,
    /// The query failed at every peer URL of the member, or the member has no valid URL.
    Unreachable,
}

/// Makes all members hash their state at a new log index and compares the hashes as [`at`] does.
pub(super) async fn now(
    node: &Node,
    dialer: &PeerDialer,
    enough: impl Fn(&[MemberHash]) -> bool,
) -> Result<Comparison, CompareError> {
    let index = node.report_alarm(AlarmCommand::hash_state()).await?;
    at(node, dialer, index, enough).await
}

/// Compares the members' state hashes after entry `index`. The caller must have requested hashes at this index. Completes when
/// all reachable members have answered, `enough` returns true for the hashes received so far, or the time is up. Fails if this
/// member does not hash its state in time.
pub(super) async fn at(
    node: &Node,
    dialer: &PeerDialer,
    index: u64,
    enough: impl Fn(&[MemberHash]) -> bool,
) -> Result<Comparison, CompareError> {
    let begun = Instant::now();
    let hashing = node.state_hashes().wait_for(index);
    let own = timeout(hash_timeout(node.size_bytes()), hashing).await;
    let own = own.ok().flatten().ok_or(CompareError::NotHashed)?;
    let deadline = Instant::now() + OTHERS_TIMEOUT + 2 * begun.elapsed();
    let registry = node.view().await?.machine.members.clone();
    let own_id = node.identity().member_id;
    let of_member = |member: &Member| MemberHash {
        member: member.member_id(),
        votes: !member.learner,
        found: (member.member_id() == own_id).then(|| own.clone()),
    };
    let mut members: Vec<MemberHash> = registry.by_id.values().map(of_member).collect();
    let mut waiting: Vec<&Member> = registry.by_id.values().collect();
    waiting.retain(|member| member.member_id() != own_id);
    loop {
        let asking = waiting.iter().copied();
        let asking = asking.map(|member| ask(registry.cluster_id, member, dialer, index));
        let answers = join_all(asking).await;
        for (member, answer) in std::mem::take(&mut waiting).into_iter().zip(answers) {
            match answer {
                Answer::NotYet => waiting.push(member),
                Answer::Unreachable => {}
                Answer::Hash(found) => {
                    let mut known = members.iter_mut();
                    if let Some(known) = known.find(|it| it.member == member.member_id()) {
                        known.found = Some(found);
                    }
                }
            }
        }
        if waiting.is_empty() || enough(&members) || Instant::now() >= deadline {
            return Ok(Comparison { index, agreement: decide(&members), members });
        }
        sleep(RETRY_PAUSE).await;
    }
}

/// Returns the timeout for hashing a state whose keys and values have `bytes` bytes.
fn hash_timeout(bytes: u64) -> Duration {
    HASH_TIMEOUT + Duration::from_secs(bytes / HASH_BYTES_PER_SECOND)
}

/// Queries a member for its hash, at one peer URL after another until one answers.
async fn ask(cluster_id: u64, member: &Member, dialer: &PeerDialer, index: u64) -> Answer {
    let urls = member.peer_urls.iter().filter_map(|url| url.parse().ok());
    let id = member.member_id();
    for url in urls.collect::<Vec<Url>>() {
        match query::state_hash(&url, dialer, cluster_id, id, index).await {
            Ok(Some(found)) => return Answer::Hash(found),
            Ok(None) => return Answer::NotYet,
            Err(error) => {
                let member = id.to_string();
                tracing::debug!(member, %url, %error, "cannot get the state hash of a member");
            }
        }
    }
    Answer::Unreachable
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With more data than memory, hashing takes as long as reading all values from the disk.
    #[test]
    fn a_state_of_many_bytes_may_take_longer_to_hash() {
        let seconds = |gib: u64| hash_timeout(gib << 30).as_secs();
        assert_eq!([0, 1, 24].map(seconds), [30, 94, 1566]);
    }
}

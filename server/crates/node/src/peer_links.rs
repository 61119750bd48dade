//! Records which other members are connected, and since when, to explain timeouts and to check membership changes.

use std::{collections::BTreeMap, time::Duration};

use witan_base::sync::Mutex;
use witan_machine::member::MemberId;

use super::{
    Node, ProposeError, now_ns,
    peer_stats::PeerStats,
    reconfiguration::{self, Connection, Reconfiguration, UnsafeReconfiguration},
};

/// Time after which a connected member is considered healthy in a membership change, as in etcd.
const HEALTHY_AFTER: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub(super) struct PeerLinks {
    /// Start of each connected member's connection, in Unix nanoseconds.
    since: Mutex<BTreeMap<MemberId, i64>>,
    pub(super) stats: Mutex<PeerStats>,
}

impl PeerLinks {
    /// Returns the state of a member's connection: `Settled` if it has existed since `before_ns`, `Recent` if it is newer, or
    /// `Lost` if the member is not connected.
    pub(super) fn connection(&self, member: MemberId, before_ns: i64) -> Connection {
        match self.since.lock().get(&member) {
            None => Connection::Lost,
            Some(since) if *since <= before_ns => Connection::Settled,
            Some(_) => Connection::Recent,
        }
    }
}

impl Node {
    /// Records that a member is now connected or no longer connected. Keeps the time of the first report of a connection.
    pub fn peer_link(&self, member: MemberId, connected: bool) {
        let mut since = self.shared.peer_links.since.lock();
        if connected {
            since.entry(member).or_insert_with(now_ns);
        } else {
            since.remove(&member);
        }
    }

    /// Fails with `Refused` if a membership change is not safe for the quorum, given this member's connections.
    pub async fn check_reconfiguration(
        &self,
        change: Reconfiguration,
    ) -> Result<(), ProposeError<UnsafeReconfiguration>> {
        let view = self.view().await?;
        let own = self.identity().member_id;
        let healthy = i64::try_from(HEALTHY_AFTER.as_nanos()).unwrap_or(i64::MAX);
        let before_ns = now_ns().saturating_sub(healthy);
        let connection = |id| match id == own {
            true => Connection::Settled,
            false => self.shared.peer_links.connection(id, before_ns),
        };
        reconfiguration::check(change, &view.machine.members, connection)
            .map_err(ProposeError::Refused)
    }
}

//! Which other members are connected, and since when: why a request timed out, and whether a change of
//! membership is safe.

use std::{collections::BTreeMap, time::Duration};

use witan_base::sync::Mutex;
use witan_machine::member::MemberId;

use super::{
    Node, ProposeError, now_ns,
    peer_stats::PeerStats,
    reconfiguration::{self, Connection, Reconfiguration, UnsafeReconfiguration},
};

/// Time for which a member must be connected to count as healthy when members change, as in etcd.
const HEALTHY_AFTER: Duration = Duration::from_secs(5);

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct PeerLinks {
    /// When each member that is connected was.
    since: Mutex<BTreeMap<MemberId, i64>>,
    pub(super) stats: Mutex<PeerStats>,
}

impl PeerLinks {
    /// Notes that a member is connected since `now_ns`, or since before if it was connected already.
    pub(super) fn connected(&self, member: MemberId, now_ns: i64) {
        self.since.lock().entry(member).or_insert(now_ns);
    }

    /// Notes that a member is not connected from now on, or since before if it was not connected already.
    pub(super) fn lost(&self, member: MemberId) {
        self.since.lock().remove(&member);
    }

    /// Returns how a member is connected: `Settled` since `before_ns` or earlier, `Recent` since then, or
    /// `Lost`.
    pub(super) fn connection(&self, member: MemberId, before_ns: i64) -> Connection {
        match self.since.lock().get(&member) {
            None => Connection::Lost,
            Some(since) if *since <= before_ns => Connection::Settled,
            Some(_) => Connection::Recent,
        }
    }
}

impl Node {
    /// Notes that a member is connected, or no longer connected, from now on.
    pub fn peer_link(&self, member: MemberId, connected: bool) {
        if connected {
            self.shared.peer_links.connected(member, now_ns());
        } else {
            self.shared.peer_links.lost(member);
        }
    }

    /// Checks that a change of membership is safe for the quorum, as this member sees the others; `Refused` if not.
    /// Callers leave it out if `--strict-reconfig-check` is off, which is not looked at here.
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

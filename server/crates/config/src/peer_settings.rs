//! Settings that concern other members: timeouts and addresses of connections, and when the feature level rises.

use std::{net::IpAddr, time::Duration};

use witan_gocompat::text;

use super::{
    Address, ConfigError, Url,
    feature_gates::{FeatureGates, SET_MEMBER_LOCAL_ADDR},
    values::FlagValues,
};

/// Minimum of `--raft-read-timeout` and `--raft-write-timeout`, because a member may send data as rarely as once a second.
const RAFT_TIMEOUT_FLOOR: Duration = Duration::from_secs(3);

/// Settings that concern other members.
#[derive(Clone, Copy, Debug)]
pub struct PeerSettings {
    /// `--raft-read-timeout`: a stream on which no data arrives is closed after this time.
    pub read_timeout: Duration,
    /// `--raft-write-timeout`: a stream whose receiver does not read or acknowledge data is closed after this time.
    pub write_timeout: Duration,
    /// `--downgrade-check-time`: interval at which a leader checks whether a downgrade is complete; `None` disables the
    /// check.
    pub downgrade_check: Option<Duration>,
    /// `--level-hold`: how long all members must support a higher feature level before the leader raises the cluster's level;
    /// with `None`, only a command raises it.
    pub level_hold: Option<Duration>,
    /// `--wait-cluster-ready-timeout`: how long a starting member waits until its name and client URLs are published, which
    /// needs a quorum. After this time, it serves clients anyway, because some requests need no quorum.
    pub ready_timeout: Duration,
    /// `--feature-gates SetMemberLocalAddr`: source address of connections; `None` leaves the choice to the system.
    pub local_address: Option<IpAddr>,
}

impl FlagValues {
    /// Returns the settings that concern other members. Raises the read and write timeouts to at least [`RAFT_TIMEOUT_FLOOR`].
    /// If a local address is requested, takes it from the `advertised` URLs, and warns if none is suitable.
    pub(super) fn peer_settings(
        &self,
        (gates, advertised): (&FeatureGates, &[Url]),
        warnings: &mut Vec<String>,
    ) -> Result<PeerSettings, ConfigError> {
        let unless_zero = |time: Duration| (!time.is_zero()).then_some(time);
        let raft_timeout = |name| Ok(self.duration(name)?.max(RAFT_TIMEOUT_FLOOR));
        let local_address = gates.has(SET_MEMBER_LOCAL_ADDR);
        let local_address = local_address.then(|| local_address_of(advertised));
        if local_address == Some(None) {
            warnings.push(
                "unable to set a member local address due to lack of suitable local addresses in \
                 --initial-advertise-peer-urls"
                    .to_owned(),
            );
        }
        Ok(PeerSettings {
            read_timeout: raft_timeout("raft-read-timeout")?,
            write_timeout: raft_timeout("raft-write-timeout")?,
            downgrade_check: unless_zero(self.duration("downgrade-check-time")?),
            level_hold: self.level_hold()?,
            ready_timeout: self.duration("wait-cluster-ready-timeout")?,
            local_address: local_address.flatten(),
        })
    }

    /// Returns the value of `--level-hold`, or `None` for `never`.
    fn level_hold(&self) -> Result<Option<Duration>, ConfigError> {
        let flag = "level-hold";
        let text = self.text(flag);
        if text == "never" {
            return Ok(None);
        }
        let hold = text::parse_duration(text);
        let bad = || self.bad(flag, "must be never, or a duration such as 30m or 24h");
        hold.map(Some).ok_or_else(bad)
    }
}

/// Returns the first host in the URLs that is an IP address and neither loopback nor unspecified, as in etcd, or `None`.
fn local_address_of(advertised: &[Url]) -> Option<IpAddr> {
    let mut addresses = advertised.iter().filter_map(|url| match url.address() {
        Address::Tcp(host, _) => host.parse::<IpAddr>().ok(),
        Address::Unix(_) => None,
    });
    addresses.find(|address| !address.is_unspecified() && !address.to_canonical().is_loopback())
}

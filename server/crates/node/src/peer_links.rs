//! Records which other members are connected, and since when, to explain timeouts and to check membership changes. Also keeps
//! the statistics of other members for `/v2/stats`: append messages by result, their rates, and round-trip times.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use witan_base::sync::Mutex;
use witan_machine::member::MemberId;
use witan_replica::replica::Role;

use super::{
    Node, ProposeError,
    reconfiguration::{self, Connection, Reconfiguration, UnsafeReconfiguration},
};

/// Time after which a connected member is considered healthy in a membership change, as in etcd.
const HEALTHY_AFTER: Duration = Duration::from_secs(5);

/// Number of batches over which rates are measured, as in etcd.
const RATE_BATCHES: usize = 200;

/// All rates are 0 if the last batch is older than this, as in etcd.
const RECENT_AGE: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct PeerLinks {
    /// Start of each connected member's connection. The clock is monotonic, because the wall clock can be set back.
    since: Mutex<BTreeMap<MemberId, Instant>>,
    stats: Mutex<PeerStats>,
}

impl PeerLinks {
    /// Returns the state of a member's connection. It is `Settled` if it has existed for at least `age`, `Recent` if it is
    /// newer, and `Lost` if the member is not connected.
    pub(super) fn connection(&self, member: MemberId, age: Duration) -> Connection {
        match self.since.lock().get(&member) {
            None => Connection::Lost,
            Some(since) if since.elapsed() >= age => Connection::Settled,
            Some(_) => Connection::Recent,
        }
    }

    /// Records whether a member is connected. Keeps the time of the first report of a connection.
    fn record(&self, member: MemberId, connected: bool) {
        let mut since = self.since.lock();
        if connected {
            since.entry(member).or_insert_with(Instant::now);
        } else {
            since.remove(&member);
        }
    }
}

#[derive(Debug, Default)]
struct PeerStats {
    sent: Traffic,
    received: Traffic,
    followers: BTreeMap<MemberId, FollowerCounts>,
}

/// Append messages in one direction.
#[derive(Debug, Default)]
struct Traffic {
    messages: u64,
    recent: VecDeque<Batch>,
}

#[derive(Clone, Copy, Debug)]
struct Batch {
    at: Instant,
    messages: u64,
    bytes: u64,
}

/// Number and rates of append messages in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TrafficStats {
    /// Number of messages since startup.
    pub messages: u64,
    /// Number of messages per second.
    pub message_rate: f64,
    /// Number of bytes per second.
    pub byte_rate: f64,
}

/// A leader's statistics about a follower.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FollowerCounts {
    /// Number of append messages that were written to the follower's stream.
    pub sent: u64,
    /// Number of dropped append messages plus the number of closed streams.
    pub failed: u64,
    /// Round-trip times, if any were measured.
    pub trips: RoundTrips,
}

/// Round-trip times in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RoundTrips {
    /// Number of measured round trips.
    pub count: u64,
    /// The last round-trip time.
    pub last: f64,
    /// The shortest round-trip time.
    pub least: f64,
    /// The longest round-trip time.
    pub most: f64,
    sum: f64,
    squares: f64,
}

impl RoundTrips {
    /// Adds a measured round trip.
    fn add(&mut self, took: Duration) {
        let ms = took.as_nanos() as f64 / 1e6;
        self.least = match self.count {
            0 => ms,
            _ => self.least.min(ms),
        };
        self.most = self.most.max(ms);
        self.last = ms;
        self.count += 1;
        self.sum += ms;
        self.squares += ms * ms;
    }

    /// Returns the mean round-trip time in milliseconds, or 0 if none was measured.
    pub fn mean(&self) -> f64 {
        self.sum / self.count.max(1) as f64
    }

    /// Returns the standard deviation of the round-trip times in milliseconds, or 0 if none was measured.
    pub fn deviation(&self) -> f64 {
        let mean = self.mean();
        (self.squares / self.count.max(1) as f64 - mean * mean)
            .max(0.0)
            .sqrt()
    }
}

impl Traffic {
    /// Adds a batch of messages and keeps the last [`RATE_BATCHES`] batches for the rates.
    fn add(&mut self, messages: u64, bytes: u64, at: Instant) {
        self.messages += messages;
        if self.recent.len() == RATE_BATCHES {
            self.recent.pop_front();
        }
        let batch = Batch { at, messages, bytes };
        self.recent.push_back(batch);
    }

    /// Returns the number of messages and the rates over the kept batches. The rates are 0 if no batch is recent
    /// ([`RECENT_AGE`]) or all batches have the same time.
    fn stats(&self, now: Instant) -> TrafficStats {
        let mut stats = TrafficStats { messages: self.messages, ..TrafficStats::default() };
        if let (Some(first), Some(last)) = (self.recent.front(), self.recent.back())
            && now.duration_since(last.at) <= RECENT_AGE
            && last.at > first.at
        {
            let seconds = last.at.duration_since(first.at).as_secs_f64();
            let per_second =
                |of: fn(&Batch) -> u64| self.recent.iter().map(of).sum::<u64>() as f64 / seconds;
            stats.message_rate = per_second(|batch| batch.messages);
            stats.byte_rate = per_second(|batch| batch.bytes);
        }
        stats
    }
}

impl Node {
    /// Records that a member is now connected or no longer connected. Keeps the time of the first report of a connection.
    pub fn peer_link(&self, member: MemberId, connected: bool) {
        self.shared.peer_links.record(member, connected);
    }

    /// Fails with `Refused` if a membership change is not safe for the quorum, given this member's connections.
    pub async fn check_reconfiguration(
        &self,
        change: Reconfiguration,
    ) -> Result<(), ProposeError<UnsafeReconfiguration>> {
        let view = self.view().await?;
        let own = self.identity().member_id;
        let connection = |id| match id == own {
            true => Connection::Settled,
            false => self.shared.peer_links.connection(id, HEALTHY_AFTER),
        };
        reconfiguration::check(change, &view.machine.members, connection)
            .map_err(ProposeError::Refused)
    }

    /// If this member is the leader, counts messages with entries that were written to another member.
    pub fn entries_sent(&self, to: MemberId, messages: u64, bytes: u64) {
        if self.status().role == Role::Leader {
            let mut counts = self.shared.peer_links.stats.lock();
            counts.followers.entry(to).or_default().sent += messages;
            counts.sent.add(messages, bytes, Instant::now());
        }
    }

    /// Counts a failure to send entries to another member: dropped messages or a closed stream.
    pub fn entries_lost(&self, to: MemberId) {
        let mut counts = self.shared.peer_links.stats.lock();
        counts.followers.entry(to).or_default().failed += 1;
    }

    /// If `from` is the leader, counts a message with entries that `from` has sent.
    pub fn entries_received(&self, from: MemberId, bytes: u64) {
        if self.status().leader == from {
            let mut counts = self.shared.peer_links.stats.lock();
            counts.received.add(1, bytes, Instant::now());
        }
    }

    /// Records the round-trip time of a ping to another member.
    pub fn round_trip(&self, member: MemberId, took: Duration) {
        let mut counts = self.shared.peer_links.stats.lock();
        counts.followers.entry(member).or_default().trips.add(took);
    }

    /// Deletes the statistics of a member that left the cluster. Also records that the member is no longer connected.
    pub fn forget_peer(&self, member: MemberId) {
        self.peer_link(member, false);
        let mut counts = self.shared.peer_links.stats.lock();
        counts.followers.remove(&member);
    }

    /// Returns the statistics of sent and of received append messages, in this order.
    pub fn append_traffic(&self) -> [TrafficStats; 2] {
        let counts = self.shared.peer_links.stats.lock();
        let now = Instant::now();
        [&counts.sent, &counts.received].map(|traffic| traffic.stats(now))
    }

    /// Returns the statistics about other members by member id, even if this member does not lead.
    pub fn followers(&self) -> BTreeMap<MemberId, FollowerCounts> {
        self.shared.peer_links.stats.lock().followers.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The wall clock does not affect the age of a connection.
    #[test]
    fn a_connection_is_settled_once_it_has_existed_long_enough() {
        let (links, member) = (PeerLinks::default(), MemberId(2));
        let state = |age| links.connection(member, age);
        assert_eq!(state(Duration::ZERO), Connection::Lost);
        links.record(member, true);
        assert_eq!(state(Duration::ZERO), Connection::Settled);
        assert_eq!(state(Duration::MAX), Connection::Recent);
        links.record(member, false);
        assert_eq!(state(Duration::ZERO), Connection::Lost);
    }

    #[test]
    fn rates_cover_the_last_batches_and_then_fall_to_zero() {
        let mut traffic = Traffic::default();
        let begun = Instant::now();
        for step in 0..=300 {
            traffic.add(2, 100, begun + Duration::from_millis(10) * step);
        }
        let now = begun + Duration::from_secs(3);
        let stats = traffic.stats(now);
        assert_eq!(stats.messages, 602);
        assert!((stats.message_rate - 201.0).abs() < 2.0, "{stats:?}");
        assert!((stats.byte_rate - 10_050.0).abs() < 100.0, "{stats:?}");
        let later = traffic.stats(now + 2 * RECENT_AGE);
        assert_eq!((later.messages, later.message_rate), (602, 0.0));
    }

    #[test]
    fn round_trips_have_a_mean_and_a_deviation() {
        let mut trips = RoundTrips::default();
        for ms in [1, 3, 5, 7] {
            trips.add(Duration::from_millis(ms));
        }
        assert_eq!((trips.least, trips.most, trips.last), (1.0, 7.0, 7.0));
        assert!((trips.mean() - 4.0).abs() < 1e-9);
        assert!((trips.deviation() - 5f64.sqrt()).abs() < 1e-9);
    }
}

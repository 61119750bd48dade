//! Budgets of memory that clients may use in the whole process; requests beyond them are refused.
//!
//! Numbers are bounded elsewhere (connections, streams, waits, tickets). Since a few large ones suffice to exhaust
//! memory, large ones are also bounded by their bytes, so that overload leads to early refusals.

mod metrics;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use prometheus::IntCounter;

pub use metrics::BudgetMetrics;

use crate::client_network::{ClientNetwork, PerClient};

/// Bytes of answers that clients have not read yet; beyond them further requests are refused.
pub const ANSWERS_BYTES_MAX: usize = 512 << 20;

/// Bytes of requests that are being received or handled; beyond them further requests are refused.
pub const REQUESTS_BYTES_MAX: usize = 256 << 20;

/// Bytes of commands from acceptance until they are applied; beyond them further commands are refused.
pub const PROPOSALS_BYTES_MAX: usize = 64 << 20;

/// Bytes of v3 watchers, with the keys that they watch; beyond them further watchers are refused.
pub const WATCHERS_BYTES_MAX: usize = 1 << 30;

/// gRPC calls in progress, beyond the first few of each connection; more are refused.
pub const CALLS_MAX: usize = 65_536;

/// Requests up to this size are not counted by bytes, so that they pass while large ones are
/// refused: bounds on their number limit them.
pub const SMALL_BYTES: usize = 4 << 10;

/// An address may hold this many times the free rest, so that it can use nearly all of a budget
/// while no other address reserves: a proxy in front of all clients is one address, and so is
/// loopback. A sixteenth is left to a new address.
const ALONE_TIMES: usize = 15;

/// For this long after an address was refused, every address may hold at most as much as is free: an address that holds
/// more is refused until it has released enough.
const CONTENTION: Duration = Duration::from_secs(1);

/// A budget of bytes that many reserve from and release to. Clones share it.
///
/// A connection may hold as much as is still free: one alone gets at most half, two get a third each, and some is
/// always left for connections that hold little. The connections of an address together may hold `ALONE_TIMES` times as
/// much, and no more than one connection after another address was refused.
#[derive(Clone, Debug)]
pub struct MemoryBudget {
    pool: Arc<Pool>,
    /// Bytes reserved by this client; `None` for a budget without clients.
    client: Option<Client>,
}

#[derive(Clone, Debug)]
struct Client {
    /// Bytes that this connection has reserved; `None` if connections are not told apart.
    connection: Option<Arc<AtomicUsize>>,
    /// Bytes that all connections of its address have reserved.
    address: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Pool {
    max: usize,
    taken: AtomicUsize,
    refused: IntCounter,
    /// Bytes that the connections of each address have reserved.
    addresses: PerClient<ClientNetwork, AtomicUsize>,
    begun: Instant,
    /// Until when addresses contend, in milliseconds since `begun`.
    contended_until_ms: AtomicU64,
}

impl Pool {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Marks the pool as contended for [`CONTENTION`] from now on.
    fn contend(&self) {
        let until = self.now_ms() + CONTENTION.as_millis() as u64;
        self.contended_until_ms.store(until, Relaxed);
    }

    fn is_contended(&self) -> bool {
        self.now_ms() < self.contended_until_ms.load(Relaxed)
    }
}

/// Bytes reserved from a budget; they are released when it is dropped.
#[derive(Debug)]
pub struct Reservation {
    budget: MemoryBudget,
    bytes: usize,
}

impl MemoryBudget {
    /// Makes the budget of proposals, of `PROPOSALS_BYTES_MAX` bytes.
    pub fn of_proposals(metrics: &BudgetMetrics) -> Self {
        Self::new(PROPOSALS_BYTES_MAX, metrics.proposals.clone())
    }

    /// Makes the budget of watchers, of `WATCHERS_BYTES_MAX` bytes.
    pub fn of_watchers(metrics: &BudgetMetrics) -> Self {
        Self::new(WATCHERS_BYTES_MAX, metrics.watchers.clone())
    }

    /// Makes a budget of `max` bytes of which none are reserved. `refused` counts the refused reservations.
    fn new(max: usize, refused: IntCounter) -> Self {
        let pool = Pool {
            max,
            taken: AtomicUsize::new(0),
            refused,
            addresses: PerClient::default(),
            begun: Instant::now(),
            contended_until_ms: AtomicU64::new(0),
        };
        Self { pool: Arc::new(pool), client: None }
    }

    /// Returns a share of this budget for a new connection from `network`, counted by connection and address.
    pub fn of_connection(&self, network: ClientNetwork) -> Self {
        self.of_client(network, Some(Arc::default()))
    }

    /// Returns a share of this budget for all connections from `network`, counted by address only.
    pub fn of_address(&self, network: ClientNetwork) -> Self {
        self.of_client(network, None)
    }

    /// Returns a share of this budget for a client. `connection` counts the bytes of its connection, if
    /// connections are told apart.
    fn of_client(&self, network: ClientNetwork, connection: Option<Arc<AtomicUsize>>) -> Self {
        let client = Client {
            connection,
            address: self.pool.addresses.get_or(network, AtomicUsize::default),
        };
        Self { pool: self.pool.clone(), client: Some(client) }
    }

    /// Reserves bytes, if enough are left. A single reservation always succeeds when nothing else
    /// is reserved: other limits bound its size.
    pub fn try_reserve(&self, bytes: usize) -> Option<Reservation> {
        self.reserve(bytes)
            .then(|| Reservation { budget: self.clone(), bytes })
    }

    /// Makes a reservation of no bytes, which may grow.
    pub fn reserve_later(&self) -> Reservation {
        Reservation { budget: self.clone(), bytes: 0 }
    }

    /// Reserves bytes that the caller releases with [`MemoryBudget::release`]. `false` if they were
    /// refused.
    pub fn reserve(&self, bytes: usize) -> bool {
        let before = self.pool.taken.fetch_add(bytes, Relaxed);
        let add = |count: &AtomicUsize| count.fetch_add(bytes, Relaxed);
        let client = self.client.as_ref();
        let connection = client.and_then(|client| client.connection.as_deref());
        let of_connection = connection.map_or(0, add).saturating_add(bytes);
        let of_address = client
            .map_or(0, |client| add(&client.address))
            .saturating_add(bytes);
        let free = self.pool.max.saturating_sub(before);
        let granted = before == 0
            || (of_connection <= free
                && (of_address <= free
                    || (of_address <= free.saturating_mul(ALONE_TIMES)
                        && bytes <= free
                        && !self.pool.is_contended())));
        if !granted {
            // others hold most of it
            if of_address - bytes <= before / 2 {
                self.pool.contend();
            }
            self.release(bytes);
            self.pool.refused.inc();
        }
        granted
    }

    /// Releases bytes that [`MemoryBudget::reserve`] has granted.
    pub fn release(&self, bytes: usize) {
        self.pool.taken.fetch_sub(bytes, Relaxed);
        if let Some(client) = &self.client {
            if let Some(connection) = &client.connection {
                connection.fetch_sub(bytes, Relaxed);
            }
            client.address.fetch_sub(bytes, Relaxed);
        }
    }
}

impl Reservation {
    /// Reserves bytes in addition. `false` if they were refused.
    pub fn grow(&mut self, bytes: usize) -> bool {
        let granted = self.budget.reserve(bytes);
        if granted {
            self.bytes += bytes;
        }
        granted
    }

    /// Releases some of the bytes.
    pub fn shrink(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.budget.release(bytes);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.release(self.bytes);
    }
}

/// The budgets that the client port's connections share.
#[derive(Clone, Debug)]
pub struct ClientBudgets {
    /// See [`ANSWERS_BYTES_MAX`].
    pub answers: MemoryBudget,
    /// See [`REQUESTS_BYTES_MAX`].
    pub requests: MemoryBudget,
    /// See [`CALLS_MAX`]: one for each.
    pub calls: MemoryBudget,
}

impl ClientBudgets {
    /// Makes three empty budgets.
    pub fn new(metrics: &BudgetMetrics) -> Self {
        Self {
            answers: MemoryBudget::new(ANSWERS_BYTES_MAX, metrics.answers.clone()),
            requests: MemoryBudget::new(REQUESTS_BYTES_MAX, metrics.requests.clone()),
            calls: MemoryBudget::new(CALLS_MAX, metrics.calls.clone()),
        }
    }

    /// Returns shares of the three budgets for a new connection from `network`.
    pub fn of_connection(&self, network: ClientNetwork) -> Self {
        Self {
            answers: self.answers.of_connection(network),
            requests: self.requests.of_connection(network),
            calls: self.calls.of_connection(network),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reservations_are_released_and_a_single_one_always_succeeds() {
        let refused = IntCounter::new("refused", "Refusals.").unwrap();
        let budget = MemoryBudget::new(10, refused.clone());
        let vast = budget.try_reserve(100).expect("it is alone");
        assert!(budget.try_reserve(1).is_none());
        drop(vast);
        let (a, b) = (budget.try_reserve(4), budget.try_reserve(6));
        assert!(a.is_some() && b.is_some() && budget.try_reserve(1).is_none());
        drop(a);
        assert!(budget.try_reserve(5).is_none() && budget.try_reserve(4).is_some());
        assert_eq!(refused.get(), 3);
        drop(b);
        assert!(budget.try_reserve(11).is_some(), "all was given back");
    }

    #[test]
    fn a_reservation_grows_and_shrinks() {
        let refused = IntCounter::new("refused", "Refusals.").unwrap();
        let budget = MemoryBudget::new(10, refused);
        let mut held = budget.reserve_later();
        assert!(held.grow(4) && held.grow(6) && !held.grow(1));
        held.shrink(3);
        assert!(held.grow(3) && !held.grow(1));
        drop(held);
        assert_eq!(budget.pool.taken.load(Relaxed), 0);
    }

    fn network(last: u8) -> ClientNetwork {
        ClientNetwork::of(Some([10, 0, 0, last].into()))
    }

    #[test]
    fn connections_of_an_address_share() {
        let refused = IntCounter::new("refused", "Refusals.").unwrap();
        let budget = MemoryBudget::new(1600, refused);
        let many: Vec<MemoryBudget> = (0..50).map(|_| budget.of_connection(network(1))).collect();
        let mut permits = Vec::new();
        let mut fill = || {
            let before = permits.len();
            for connection in &many {
                permits.extend(std::iter::from_fn(|| connection.try_reserve(1)));
            }
            permits.len() - before
        };
        // nearly all while no other address asks
        assert_eq!(fill(), 1500);
        assert_eq!(fill(), 0);
        let other = budget.of_connection(network(2));
        let small = other.try_reserve(50).expect("some room is left");
        assert!(other.try_reserve(200).is_none());
        // the first gets nothing until it holds no more than is free
        permits.truncate(1000);
        assert!(many[0].try_reserve(1).is_none());
        let large = other.try_reserve(200).expect("there is room now");
        permits.truncate(600);
        assert!(many[0].try_reserve(1).is_some());
        drop((permits, many, small, large, other));
        assert_eq!(budget.pool.taken.load(Relaxed), 0);
    }

    #[test]
    fn an_address_alone_has_nearly_all_whatever_its_connections() {
        let refused = IntCounter::new("refused", "Refusals.").unwrap();
        let budget = MemoryBudget::new(160, refused);
        let permits: Vec<Reservation> =
            std::iter::from_fn(|| budget.of_address(network(1)).try_reserve(1)).collect();
        assert_eq!(permits.len(), 150);
        assert!(budget.of_address(network(2)).try_reserve(8).is_some());
    }

    #[test]
    fn a_connection_may_hold_what_is_still_free() {
        let refused = IntCounter::new("refused", "Refusals.").unwrap();
        let budget = MemoryBudget::new(120, refused);
        let clients: Vec<MemoryBudget> = (0..3).map(|_| budget.of_connection(network(1))).collect();
        let mut permits = Vec::new();
        let mut fill = |client: &MemoryBudget| {
            let before = permits.len();
            permits.extend(std::iter::from_fn(|| client.try_reserve(1)));
            permits.len() - before
        };
        // half, half of the rest, and so on: the last byte is never taken
        let held: Vec<usize> = clients.iter().map(&mut fill).collect();
        assert_eq!(held, [60, 30, 15]);
        assert!(budget.of_connection(network(2)).try_reserve(10).is_some());
        assert!(clients[0].try_reserve(1).is_none());
        drop(permits);
        // clones of a client share, and one thing alone passes
        let vast = clients[1].clone().try_reserve(1000).expect("it is alone");
        assert!(clients[1].try_reserve(1).is_none());
        drop(vast);
        assert!(clients[1].try_reserve(120).is_some());
    }
}

//! The process's limits on bytes, calls and jobs, and each connection's share.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
};

use prometheus::IntCounter;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::metrics::Register;

/// Requests, responses and commands up to this size in bytes are not charged, because limits on their number bound the total.
pub const SMALL_BYTES: usize = 4 << 10;

/// Memory in bytes of an idle call that reads a stream of messages. The measured value is 14 KB with one watcher.
const CALL_BYTES: usize = 16 << 10;

/// Minimum size in bytes of the memory budget for the limits; a smaller budget is raised to this size.
const MEMORY_BYTES_MIN: u64 = 256 << 20;

/// A resource that accounts are charged for. The process has a limit for each resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Bytes of requests that are being read or handled.
    Requests,
    /// Bytes of responses that clients have not read.
    Answers,
    /// Bytes of commands between a dialect and the state machine.
    Proposals,
    /// Bytes of watchers and of the keys that they watch.
    Watchers,
    /// Requests in progress over HTTP/2. On each connection, the first few calls with one request message are not charged.
    Calls,
    /// Passwords that are waiting to be hashed.
    Passwords,
}

impl Resource {
    /// All resources with their metric labels, in the order of the variants.
    const ALL: [(Self, &str); 6] = [
        (Self::Requests, "requests"),
        (Self::Answers, "answers"),
        (Self::Proposals, "proposals"),
        (Self::Watchers, "watchers"),
        (Self::Calls, "calls"),
        (Self::Passwords, "passwords"),
    ];

    /// Returns the process's limit for this resource (a number of bytes, calls or passwords) before a small memory budget
    /// lowers the limit.
    pub const fn limit(self) -> usize {
        match self {
            Self::Requests => 256 << 20,
            Self::Answers => 512 << 20,
            Self::Proposals => 64 << 20,
            Self::Watchers => 1 << 30,
            Self::Calls => 65_536,
            Self::Passwords => 4096,
        }
    }

    /// Returns the limit of a process with a memory budget of `memory_bytes` bytes; a budget below 256 MiB is treated as 256
    /// MiB. Together, the limits on bytes take at most three quarters of the budget. Calls, at [`CALL_BYTES`] each, take at
    /// most the remaining quarter. The limit on passwords does not depend on the budget. One connection gets half of a limit,
    /// which is enough for the longest request.
    fn limit_within(self, memory_bytes: u64) -> usize {
        let divisor = match self {
            Self::Requests | Self::Proposals => 8,
            Self::Answers | Self::Watchers => 4,
            Self::Calls => {
                return limit_within(self.limit() * CALL_BYTES, memory_bytes, 4) / CALL_BYTES;
            }
            Self::Passwords => return self.limit(),
        };
        limit_within(self.limit(), memory_bytes, divisor)
    }
}

/// Returns `limit` or, if smaller, the memory budget (at least 256 MiB) divided by `divisor`. Sizes are in bytes.
pub fn limit_within(limit: usize, memory_bytes: u64, divisor: u64) -> usize {
    let share = memory_bytes.max(MEMORY_BYTES_MIN) / divisor;
    usize::try_from(share).map_or(limit, |share| share.min(limit))
}

/// A kind of job that needs a [`Permit`]. The process limits the concurrent jobs of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobKind {
    /// Scans or rewrites the entire store.
    Scan,
    /// Reads many keys.
    Read,
    /// Sends a snapshot or a recording as fast as the client reads.
    Snapshot,
    /// Decodes or encodes a large message on another thread.
    Message,
    /// Hashes a password.
    Password,
    /// Reads values from disk: for a read of few keys, a part of a range, or a batch of events.
    Disk,
}

impl JobKind {
    /// All kinds, in the order of the variants.
    const ALL: [Self; 6] = [
        Self::Scan,
        Self::Read,
        Self::Snapshot,
        Self::Message,
        Self::Password,
        Self::Disk,
    ];

    /// Returns the maximum number of concurrent jobs of this kind in the process and the maximum number for one connection. A
    /// message takes milliseconds, so one connection can use all processors. A disk serves many small reads concurrently.
    fn limits(self, processors: usize) -> (usize, usize) {
        match self {
            Self::Scan | Self::Read => (4, 2),
            Self::Snapshot => (8, 4),
            Self::Message => (processors, processors),
            Self::Password => (processors, processors.div_ceil(2)),
            Self::Disk => (32, 16),
        }
    }
}

/// The total charges of all accounts of the process. Clones share the totals.
#[derive(Clone, Debug)]
pub struct Totals(Arc<TotalsState>);

#[derive(Debug)]
struct TotalsState {
    charged: [Total; Resource::ALL.len()],
    jobs: [Semaphore; JobKind::ALL.len()],
    processors: usize,
    last_id: AtomicU64,
}

/// The total charges of all accounts for a resource. Each total has a separate cache line, because all threads change it.
#[derive(Debug)]
#[repr(align(64))]
struct Total {
    charged: AtomicUsize,
    limit: usize,
    refused: IntCounter,
}

impl Totals {
    /// Creates totals without charges and registers counters of refusals. `memory_bytes` is the memory budget; `u64::MAX` means
    /// no limit.
    #[rustfmt::skip]
    pub fn register(on: &Register, memory_bytes: u64) -> Self {
        let refused = on.counters("witan_refused_total", "Total number of requests refused because a limit is reached, by limit.", &["what"]);
        let charged = Resource::ALL.map(|(resource, what)| Total {
            charged: AtomicUsize::default(),
            limit: resource.limit_within(memory_bytes),
            refused: refused.with_label_values(&[what]),
        });
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let jobs = JobKind::ALL.map(|kind| Semaphore::new(kind.limits(processors).0));
        Self(Arc::new(TotalsState { charged, jobs, processors, last_id: AtomicU64::default() }))
    }

    /// Opens the account of a new connection.
    pub fn open(&self) -> Account {
        let processors = self.0.processors;
        Account(Arc::new(AccountState {
            id: self.0.last_id.fetch_add(1, Relaxed) + 1,
            totals: self.clone(),
            charged: Default::default(),
            jobs: JobKind::ALL.map(|kind| Semaphore::new(kind.limits(processors).1)),
        }))
    }
}

/// The charges of one connection or of the member's own requests. Clones share the charges.
///
/// A charge is granted if it raises the account's charges to at most the amount that was free before. A single connection
/// therefore gets half of a limit, and two connections that grow together get a third each. A connection with few charges is
/// served even while the connection with the most charges is refused. A charge is also granted if nothing else is charged
/// against the limit, because other limits bound the size of a request.
///
/// A job waits for a [`Permit`] first within its connection, then among all connections in order of arrival. Many jobs of one
/// connection therefore delay another connection by at most one round of concurrent jobs.
///
/// A client with many connections has many accounts. Limit the connections per address in the network, for example with a
/// firewall.
#[derive(Clone, Debug)]
pub struct Account(Arc<AccountState>);

#[derive(Debug)]
struct AccountState {
    id: u64,
    totals: Totals,
    charged: [AtomicUsize; Resource::ALL.len()],
    jobs: [Semaphore; JobKind::ALL.len()],
}

impl Account {
    /// Returns the account's number, which is unique in the process.
    pub fn id(&self) -> u64 {
        self.0.id
    }

    /// Charges an amount by the rule of [`Account`] and returns whether the charge was granted. The caller must release a
    /// granted amount with [`Account::release`]. Counts a refusal in the metrics.
    pub fn charge(&self, resource: Resource, amount: usize) -> bool {
        let total = &self.0.totals.0.charged[resource as usize];
        let before = total.charged.fetch_add(amount, Relaxed);
        let own = self.0.charged[resource as usize].fetch_add(amount, Relaxed);
        let free = total.limit.saturating_sub(before);
        let granted = before == 0 || own.saturating_add(amount) <= free;
        if !granted {
            self.release(resource, amount);
            total.refused.inc();
        }
        granted
    }

    /// Releases an amount that [`Account::charge`] granted.
    pub fn release(&self, resource: Resource, amount: usize) {
        self.0.totals.0.charged[resource as usize]
            .charged
            .fetch_sub(amount, Relaxed);
        self.0.charged[resource as usize].fetch_sub(amount, Relaxed);
    }

    /// Returns the amount of `resource` that is charged to the account.
    pub fn charged(&self, resource: Resource) -> usize {
        self.0.charged[resource as usize].load(Relaxed)
    }

    /// Charges an amount until the returned value is dropped. Returns `None` if the charge is refused.
    pub fn hold(&self, resource: Resource, amount: usize) -> Option<Charge> {
        self.charge(resource, amount)
            .then(|| Charge { account: self.clone(), resource, amount })
    }

    /// Creates a charge of 0, which can grow.
    pub fn hold_later(&self, resource: Resource) -> Charge {
        Charge { account: self.clone(), resource, amount: 0 }
    }

    /// Waits for a permit of the connection, then for a permit of the process.
    pub async fn permit(&self, kind: JobKind) -> Permit {
        let own = acquire(&self.0.jobs[kind as usize]).await;
        let of_all = acquire(&self.0.totals.0.jobs[kind as usize]).await;
        self.combine_permits(kind, own, of_all)
    }

    /// Takes a permit without waiting. Returns `None` if the connection or the process has no free permit.
    pub fn try_permit(&self, kind: JobKind) -> Option<Permit> {
        let own = self.0.jobs[kind as usize].try_acquire().ok()?;
        let of_all = self.0.totals.0.jobs[kind as usize].try_acquire().ok()?;
        Some(self.combine_permits(kind, own, of_all))
    }

    /// Creates a permit that returns both semaphore permits when it is dropped.
    fn combine_permits(
        &self,
        kind: JobKind,
        own: SemaphorePermit<'_>,
        of_all: SemaphorePermit<'_>,
    ) -> Permit {
        own.forget();
        of_all.forget();
        Permit { account: self.clone(), kind, holds_process_permit: true }
    }
}

async fn acquire(from: &Semaphore) -> SemaphorePermit<'_> {
    from.acquire().await.expect("the semaphore is never closed")
}

/// A granted charge, released on drop.
#[derive(Debug)]
pub struct Charge {
    account: Account,
    resource: Resource,
    amount: usize,
}

impl Charge {
    /// Increases the charge and returns whether the increase was granted.
    pub fn grow(&mut self, amount: usize) -> bool {
        let granted = self.account.charge(self.resource, amount);
        if granted {
            self.amount += amount;
        }
        granted
    }

    /// Releases `amount` of the charge. `amount` must not exceed the charge.
    pub fn shrink(&mut self, amount: usize) {
        self.amount -= amount;
        self.account.release(self.resource, amount);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.account.release(self.resource, self.amount);
    }
}

/// A permit to run a job, given back on drop.
#[derive(Debug)]
pub struct Permit {
    account: Account,
    kind: JobKind,
    /// Whether this permit includes a permit of the process.
    holds_process_permit: bool,
}

impl Permit {
    /// Gives back the process's permit after the job has ended. The connection's permit is kept until the drop, which bounds
    /// the results that a slow connection has not read.
    pub fn end_job(&mut self) {
        if std::mem::take(&mut self.holds_process_permit) {
            self.account.0.totals.0.jobs[self.kind as usize].add_permits(1);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        // Return the process's permit first, so that another connection gets it before the next job of this connection queues.
        self.end_job();
        self.account.0.jobs[self.kind as usize].add_permits(1);
    }
}

#[cfg(test)]
mod tests;

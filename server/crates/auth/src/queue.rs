//! A fair queue of passwords for the hashing threads.
//!
//! Addresses take turns, and within an address groups of user names, so that one client's wrong passwords delay another
//! client by a few hashes only. Within a group the newest and the oldest alternate, so that a new request is served
//! soon and none waits forever. One address never occupies all threads, if there are several. Not here: hashing.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher as _, RandomState},
    sync::Arc,
    time::Duration,
};

use tokio::{sync::oneshot, time::timeout};
use witan_base::{client_network::ClientNetwork, sync::Mutex};

use super::HashError;

/// Passwords that wait for bcrypt; beyond it the address with the most loses its newest one, or is refused.
const WAITING_MAX: usize = 4096;

/// Groups of user names within an address: a flood of names delays others by one turn of each
/// group.
const GROUPS: usize = 8;

/// Maximum wait; clients have timed out by then.
const WAIT_TIMEOUT: Duration = Duration::from_secs(10);

/// Admits passwords to the hashing threads, in a fair order.
#[derive(Debug)]
pub(super) struct PasswordQueue {
    state: Mutex<QueueState>,
    /// Number of threads that one address may use at once.
    share: usize,
    names: RandomState,
}

#[derive(Debug, Default)]
struct QueueState {
    free: usize,
    waiting: usize,
    next_id: u64,
    /// Addresses with waiting passwords, in the order of their turns.
    turns: VecDeque<ClientNetwork>,
    clients: HashMap<ClientNetwork, ClientQueue>,
}

/// Running and waiting passwords of an address; removed when there are none.
#[derive(Debug, Default)]
struct ClientQueue {
    running: usize,
    waiting: usize,
    /// The group that is served next.
    turn: usize,
    groups: [UserGroup; GROUPS],
}

#[derive(Debug, Default)]
struct UserGroup {
    waiting: VecDeque<QueuedPassword>,
    /// Whether the last one taken was the newest.
    newest_was_taken: bool,
}

#[derive(Debug)]
struct QueuedPassword {
    id: u64,
    ready: oneshot::Sender<()>,
}

/// A permit to use a hashing thread; released when dropped.
#[derive(Debug)]
pub(super) struct HashingPermit {
    queue: Arc<PasswordQueue>,
    client: ClientNetwork,
}

impl Drop for HashingPermit {
    fn drop(&mut self) {
        self.queue
            .state
            .lock()
            .release(self.client, self.queue.share);
    }
}

/// An entry in the queue; removed when dropped.
struct QueueEntry {
    queue: Arc<PasswordQueue>,
    client: ClientNetwork,
    group: usize,
    id: u64,
    ready: oneshot::Receiver<()>,
    taken: bool,
}

impl Drop for QueueEntry {
    fn drop(&mut self) {
        if self.taken {
            return;
        }
        let mut state = self.queue.state.lock();
        // decided under the lock: either it was dispatched, or it still waits
        if self.ready.try_recv().is_ok() {
            state.release(self.client, self.queue.share);
        } else {
            state.leave(self.client, self.group, self.id);
        }
    }
}

impl PasswordQueue {
    /// Makes an empty queue that admits `threads` passwords at once, at least one, and starts no threads. If
    /// there are several, an address gets one thread less.
    pub(super) fn new(threads: usize) -> Self {
        let threads = threads.max(1);
        Self {
            state: Mutex::new(QueueState { free: threads, ..QueueState::default() }),
            share: (threads - 1).max(1),
            names: RandomState::new(),
        }
    }

    /// Waits for a free thread on behalf of a client and user. Fails at once if the queue is full,
    /// or when the password was dropped from it or has waited [`WAIT_TIMEOUT`].
    pub(super) async fn enter(
        self: &Arc<Self>,
        client: ClientNetwork,
        user: &str,
    ) -> Result<HashingPermit, HashError> {
        let mut ticket = self.enqueue(client, user)?;
        let called = timeout(WAIT_TIMEOUT, &mut ticket.ready).await;
        match called {
            Ok(Ok(())) => {
                ticket.taken = true;
                Ok(HashingPermit { queue: Arc::clone(self), client })
            }
            // it was dropped for others, or timed out
            Ok(Err(_)) | Err(_) => Err(HashError::TooMany),
        }
    }

    /// Adds a password to the queue. When the queue is full, the newest password of the address with the most is
    /// dropped, if that address has more than this one.
    fn enqueue(
        self: &Arc<Self>,
        client: ClientNetwork,
        user: &str,
    ) -> Result<QueueEntry, HashError> {
        let group = usize::try_from(self.names.hash_one(user) % GROUPS as u64).unwrap_or_default();
        let mut state = self.state.lock();
        let own = state
            .clients
            .get(&client)
            .map_or(0, |client| client.waiting);
        if state.waiting >= WAITING_MAX && !state.drop_newest_of_largest(own) {
            return Err(HashError::TooMany);
        }
        let (call, called) = oneshot::channel();
        let id = state.next_id;
        state.next_id += 1;
        state.waiting += 1;
        let waits = state.clients.entry(client).or_default();
        waits.waiting += 1;
        waits.groups[group]
            .waiting
            .push_back(QueuedPassword { id, ready: call });
        if waits.waiting == 1 {
            state.turns.push_back(client);
        }
        state.dispatch(self.share);
        Ok(QueueEntry {
            queue: Arc::clone(self),
            client,
            group,
            id,
            ready: called,
            taken: false,
        })
    }
}

impl QueueState {
    /// Admits waiting passwords while threads are free. Addresses that use `share` threads are
    /// passed over.
    fn dispatch(&mut self, share: usize) {
        let mut passed_over = 0;
        while self.free > 0 && passed_over < self.turns.len() {
            let Some(address) = self.turns.pop_front() else {
                return;
            };
            let Some(client) = self.clients.get_mut(&address) else {
                continue;
            };
            if client.running >= share {
                self.turns.push_back(address);
                passed_over += 1;
                continue;
            }
            if let Some(ticket) = client.take() {
                self.waiting -= 1;
                // if the waiter was dropped, the thread is free for the next one
                if ticket.ready.send(()).is_ok() {
                    client.running += 1;
                    self.free -= 1;
                    passed_over = 0;
                }
            }
            if client.waiting > 0 {
                self.turns.push_back(address);
            } else if client.running == 0 {
                self.clients.remove(&address);
            }
        }
    }

    /// Frees a thread that an address has used, and admits the next password.
    fn release(&mut self, address: ClientNetwork, share: usize) {
        self.free += 1;
        if let Some(client) = self.clients.get_mut(&address) {
            client.running -= 1;
            self.forget_idle(address);
        }
        self.dispatch(share);
    }

    /// Removes a password whose caller has stopped waiting, if it is still in the queue.
    fn leave(&mut self, address: ClientNetwork, group: usize, id: u64) {
        let Some(client) = self.clients.get_mut(&address) else {
            return;
        };
        let group = &mut client.groups[group].waiting;
        // the queue does not contain tickets that were dropped
        if let Ok(at) = group.binary_search_by_key(&id, |ticket| ticket.id) {
            group.remove(at);
            client.waiting -= 1;
            self.waiting -= 1;
            self.forget_idle(address);
        }
    }

    /// Drops the newest password of the address with the most waiting ones, if it has more than
    /// `own`. Returns whether one was dropped.
    fn drop_newest_of_largest(&mut self, own: usize) -> bool {
        let most = self.clients.iter().max_by_key(|(_, client)| client.waiting);
        let Some((address, _)) = most.filter(|(_, client)| client.waiting > own) else {
            return false;
        };
        let address = *address;
        let client = self.clients.get_mut(&address);
        let newest = client.and_then(|client| {
            client.waiting -= 1;
            let groups = client.groups.iter_mut();
            let longest = groups.max_by_key(|group| group.waiting.len())?;
            longest.waiting.pop_back()
        });
        self.waiting -= usize::from(newest.is_some());
        self.forget_idle(address);
        newest.is_some()
    }

    /// Removes an address from the turns if none of its passwords waits, and altogether if none is being hashed.
    fn forget_idle(&mut self, address: ClientNetwork) {
        let client = self.clients.get(&address);
        if client.is_some_and(|client| client.waiting == 0) {
            self.turns.retain(|turn| *turn != address);
            if client.is_some_and(|client| client.running == 0) {
                self.clients.remove(&address);
            }
        }
    }
}

impl ClientQueue {
    /// Takes the next password: from the next group in turn, its newest and its oldest alternately.
    fn take(&mut self) -> Option<QueuedPassword> {
        for step in 0..GROUPS {
            let at = (self.turn + step) % GROUPS;
            let group = &mut self.groups[at];
            let newest = !group.newest_was_taken;
            let taken = match newest {
                true => group.waiting.pop_back(),
                false => group.waiting.pop_front(),
            };
            if taken.is_some() {
                group.newest_was_taken = newest;
                self.turn = at + 1;
                self.waiting -= 1;
                return taken;
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use futures_util::{FutureExt as _, future::join_all};

    use super::*;

    fn client(last: u8) -> ClientNetwork {
        ClientNetwork::of(Some([127, 0, 0, last].into()))
    }

    /// Returns how many others are served between the arrival of a bystander and its turn.
    async fn turns_until(
        threads: usize,
        crowd: impl Iterator<Item = (ClientNetwork, String)>,
        (address, user): (ClientNetwork, &str),
    ) -> usize {
        let queue = Arc::new(PasswordQueue::new(threads));
        let mut tickets = Vec::new();
        for (address, user) in crowd {
            tickets.push(queue.enqueue(address, &user).unwrap());
        }
        let mut own = queue.enqueue(address, user).unwrap();
        let mut served = 0;
        loop {
            if own.ready.try_recv().is_ok() {
                own.taken = true;
                return served;
            }
            let at = tickets.iter_mut().position(|ticket| {
                ticket.taken = ticket.ready.try_recv().is_ok();
                ticket.taken
            });
            let done = tickets.swap_remove(at.expect("one of them is served"));
            served += 1;
            drop(HashingPermit { queue: Arc::clone(&queue), client: done.client });
        }
    }

    #[tokio::test]
    async fn a_crowd_costs_a_bystander_a_few_turns() {
        let same = || (0..150).map(|_| (client(1), "root".to_owned()));
        let names = || (0..1000).map(|at| (client(1), format!("user{at}")));
        let addresses = || (0..200).map(|at| (client(at), "root".to_owned()));
        for threads in [1, 2, 8] {
            let waits = [
                turns_until(threads, same(), (client(2), "root")).await,
                turns_until(threads, same(), (client(1), "alice")).await,
                turns_until(threads, same(), (client(1), "root")).await,
                turns_until(threads, names(), (client(1), "alice")).await,
                turns_until(threads, names(), (client(2), "alice")).await,
            ];
            // a group may take its oldest first
            let bounds = [2, 2, 2, 2 * GROUPS, 2].map(|turns| turns + 2 * threads);
            for (wait, bound) in waits.into_iter().zip(bounds) {
                assert!(wait <= bound, "{threads} threads: {waits:?}");
            }
        }
        // a client that shares the queue with many addresses waits for one turn of each
        assert!(turns_until(2, addresses(), (client(250), "root")).await <= 204);
    }

    #[tokio::test]
    async fn one_address_leaves_a_thread_to_others() {
        let queue = Arc::new(PasswordQueue::new(2));
        let first = queue.enter(client(1), "root").await.unwrap();
        let mut second = Box::pin(queue.enter(client(1), "root"));
        assert!((&mut second).now_or_never().is_none());
        let other = queue.enter(client(2), "root").await.unwrap();
        drop(first);
        let second = second.await.unwrap();
        drop((second, other));
        assert_eq!(queue.state.lock().free, 2);
        assert!(queue.state.lock().clients.is_empty() && queue.state.lock().turns.is_empty());
    }

    #[tokio::test]
    async fn dropped_waiters_leave_the_queue() {
        let queue = Arc::new(PasswordQueue::new(2));
        let held = queue.enter(client(1), "root").await.unwrap();
        let waits: Vec<QueueEntry> = (0..100)
            .map(|at| queue.enqueue(client(1), &at.to_string()).unwrap())
            .collect();
        drop(held);
        drop(waits);
        let state = queue.state.lock();
        assert_eq!((state.free, state.waiting), (2, 0));
        assert!(state.clients.is_empty() && state.turns.is_empty());
    }

    #[tokio::test]
    async fn queues_are_bounded_and_the_fullest_address_gives_way() {
        let queue = Arc::new(PasswordQueue::new(1));
        let _held = queue.enter(client(0), "root").await.unwrap();
        let mut tickets = Vec::new();
        for at in 0..WAITING_MAX {
            tickets.push(queue.enqueue(client(1), &at.to_string()).unwrap());
        }
        assert!(queue.enqueue(client(1), "one more").is_err());
        assert_eq!(queue.state.lock().waiting, WAITING_MAX);
        // others get as much as it has
        for at in 0..WAITING_MAX / 2 {
            tickets.push(queue.enqueue(client(2), &at.to_string()).unwrap());
        }
        assert!(queue.enqueue(client(2), "one more").is_err());
        let newcomer = queue.enqueue(client(9), "alice").unwrap();
        assert_eq!(queue.state.lock().waiting, WAITING_MAX);
        drop((tickets, newcomer));
        assert_eq!(queue.state.lock().waiting, 0);
    }

    #[tokio::test]
    async fn every_waiter_is_served_once() {
        let (queue, served) = (Arc::new(PasswordQueue::new(3)), AtomicUsize::new(0));
        let all = (0..500_usize).map(|at| {
            let (queue, served) = (Arc::clone(&queue), &served);
            async move {
                let address = client(u8::try_from(at % 7).unwrap());
                let held = queue.enter(address, &(at % 40).to_string()).await.unwrap();
                tokio::task::yield_now().await;
                served.fetch_add(1, Relaxed);
                drop(held);
            }
        });
        join_all(all).await;
        assert_eq!(served.load(Relaxed), 500);
        assert_eq!(queue.state.lock().free, 3);
        assert!(queue.state.lock().clients.is_empty());
    }
}

//! The replica's host in a member process, and its interface to the transport.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use witan_machine::{
    Reply, StateMachine,
    kv::Kv,
    lease,
    member::{MemberId, MemberRegistry},
    view::View,
};
use witan_replica::{
    host::{Answer, Applied, Envelope, Host, LogBatch, Ticket},
    long_command::{ExecutedCommand, LongCommand},
    replica::{MessageFault, Role},
    ticket_map::TicketMap,
};
use witan_storage::{self as storage, LogSize, RaftLog, ReceivedSnapshot};

use super::{
    AppliedCommand, FrozenStates, Shared, Waker,
    checkpoints::Checkpoints,
    completions::{CompletionBatch, Waiter},
    executor::Executor,
    logged_state::{LoggedState, MessageFaults},
    request_durations::ApplyTally,
};

/// Carries raft messages to and from other members. The replica's thread calls the methods, so only [`Post::wait`] may block.
pub trait Post: fmt::Debug + Send {
    /// Queues messages for other members. Drops a message that cannot be queued and reports the loss through
    /// `Node::peer_event`.
    fn post(&mut self, envelopes: Vec<Envelope>);

    /// Opens and closes streams to match the members after an applied change.
    fn update_members(&mut self, members: &MemberRegistry);

    /// Waits until a message arrives or the thread is woken, at most for `timeout`. Appends the messages that have arrived to
    /// `messages`, control messages first, up to a limit in bytes. The next call appends the remaining messages.
    fn wait(&mut self, timeout: Duration, waker: &Waker, messages: &mut Vec<Envelope>);
}

/// Carries out the replica's effects: writes the log, completes waiting requests and wakes watchers.
pub(super) struct NodeHost {
    pub(super) post: Box<dyn Post>,
    pub(super) log: RaftLog,
    pub(super) checkpoints: Checkpoints,
    /// The received snapshot that the replica may install in this turn.
    pub(super) incoming: Option<IncomingState>,
    pub(super) shared: Arc<Shared>,
    /// Tasks that wait for the replica, which bounds their number.
    pub(super) waiters: TicketMap<Waiter>,
    pub(super) frozen: FrozenStates,
    pub(super) completions: CompletionBatch,
    pub(super) appended_bytes: u64,
    pub(super) tally: ApplyTally,
    /// Time at which the current turn started to apply entries.
    pub(super) applying: Instant,
    pub(super) executor: Executor,
    pub(super) message_faults: MessageFaults,
    pub(super) logged: LoggedState,
    /// Duration of the last synced append in nanoseconds.
    pub(super) sync_ns: u64,
    pub(super) executed_took: Duration,
    /// The v2 index up to which watchers have been woken.
    pub(super) tree_index: u64,
}

/// A received snapshot and the state that it may replace.
pub(super) struct IncomingState {
    pub(super) received: ReceivedSnapshot,
    pub(super) replaced: View,
}

impl NodeHost {
    /// Publishes the index, sizes, alarms and authentication of a new state and withdraws the latest view. Call this function
    /// first, so that a client that sees its write also sees its index. Returns whether the auth revision or the use of v3
    /// authentication has changed.
    fn show_state(&self, view: &View) -> bool {
        self.shared.latest.clear();
        self.shared.status.advance(view.position.index);
        let member_id = self.shared.identity.member_id;
        self.shared.status.store_state(&view.machine, member_id)
    }

    /// Publishes a state that replaced a state with the key space `before`: updates status, members, tokens and watches. Ends
    /// all tokens if the auth revision or the use of v3 authentication has changed.
    fn show_replaced(&mut self, view: &View, before: &Kv) {
        let auth_changed = self.show_state(view);
        let machine = &view.machine;
        self.logged.update(machine, true);
        self.shared
            .held_views
            .record_replaced(machine, before.size_bytes());
        self.post.update_members(&machine.members);
        if auth_changed {
            self.shared.tokens.end_all();
        }
        self.shared.tokens.assigned(view.position.index);
        self.shared.watch_streams.replace_state(before);
        self.shared.watch_streams.publish(machine.kv.revision());
        self.wake_watchers(machine, auth_changed);
    }

    /// Wakes the v3 streams and v2 watchers that may have unread changes, and all v3 streams if `auth_changed`.
    fn wake_watchers(&mut self, machine: &StateMachine, auth_changed: bool) {
        let streams = &self.shared.watch_streams;
        if auth_changed {
            // The permissions of watching users may have changed.
            streams.wake_all(&mut self.completions);
        }
        streams.notify(&machine.kv, &mut self.completions);
        self.completions.flush();
        let tree_index = machine.tree.index();
        if tree_index != self.tree_index {
            self.shared.watchers.wake(&machine.tree, self.tree_index);
            self.tree_index = tree_index;
        }
    }
}

impl Host for NodeHost {
    /// Installs the received snapshot on disk and publishes its state. Ends the process if no such snapshot was received.
    fn install(&mut self, snapshot: &View) {
        let index = snapshot.position.index;
        let incoming = self.incoming.take();
        let Some(IncomingState { received, replaced }) = incoming.filter(|incoming| {
            let position = &incoming.received.view.position;
            (position.index, position.term) == (index, snapshot.position.term)
        }) else {
            // Without its files, the state would be lost at the next startup.
            tracing::error!(index, "bug: installing a snapshot that was not received");
            std::process::abort();
        };
        let begun = Instant::now();
        let before = replaced.machine.kv.clone();
        let checkpointer = &self.checkpoints.checkpointer;
        storage::install(&mut self.log, checkpointer, received, replaced);
        self.checkpoints.installed();
        self.shared.state_hashes.clear();
        self.shared.status.checkpoint_damaged.store(false, Relaxed);
        self.show_replaced(snapshot, &before);
        self.shared.installs.send_modify(|installs| *installs += 1);
        let took = begun.elapsed();
        tracing::info!(index, ?took, "installed a snapshot from the leader");
        self.applying = Instant::now();
    }

    /// Appends a batch to the log on disk and counts its size. If the batch was synced, records the duration.
    fn persist(&mut self, batch: &LogBatch) {
        let begun = Instant::now();
        let bytes = self.log.append(batch) as u64;
        if let Some(first) = batch.records.first() {
            self.shared.tokens.appended(first.index);
        }
        let entries = batch.records.len() as u64;
        self.checkpoints.appended(LogSize { bytes, entries });
        self.appended_bytes += bytes;
        self.applying = Instant::now();
        if batch.must_sync {
            let took = (self.applying - begun).as_nanos();
            self.sync_ns = u64::try_from(took).unwrap_or(u64::MAX);
        }
    }

    fn cut_log(&mut self, below: u64) {
        self.log.cut(below);
    }

    fn message_dropped(&mut self, from: MemberId, fault: MessageFault) {
        self.message_faults.report(from, fault);
    }

    fn send(&mut self, envelopes: Vec<Envelope>) {
        self.post.post(envelopes);
    }

    /// Passes the command to the executor's thread, which delivers the result. Always returns `None`.
    fn execute(&mut self, command: Box<LongCommand>) -> Option<Box<ExecutedCommand>> {
        self.executor.execute(command);
        None
    }

    /// Drops the state on the executor's thread, because dropping can take a long time.
    fn discard(&mut self, machine: StateMachine) {
        self.executor.free(machine);
    }

    /// Publishes the state, queues states to hash, and updates members, tokens and metrics. Then completes the requests of the
    /// entries and wakes watchers.
    fn applied(&mut self, applied: Vec<Applied>, view: &View) {
        let entries = u32::try_from(applied.len()).unwrap_or(u32::MAX).max(1);
        let executed = std::mem::take(&mut self.executed_took);
        let took = (self.applying.elapsed() + executed) / entries;
        let auth_changed = self.show_state(view);
        self.shared.held_views.record_dropped(&view.machine);
        let revision = view.machine.kv.revision();
        self.shared.watch_streams.publish(revision);
        let members_changed = applied.iter().any(|applied| applied.members.is_some());
        self.logged.update(&view.machine, members_changed);
        for Applied { index, ticket, outcome, members, hashed } in applied {
            if let Some(state) = hashed {
                let readers = &self.shared.held_views;
                self.frozen.offer(*state, &outcome.reply, readers);
            }
            if let Some(members) = members {
                self.post.update_members(&members);
                self.checkpoints.require_level(&members);
            }
            self.shared.metrics.applied(&outcome);
            self.tally.applied(&outcome.reply, took);
            if let Reply::Auth(Ok(reply)) = &outcome.reply {
                self.shared.tokens.applied(reply, index);
            }
            if let Reply::Lease(Ok(lease::LeaseReply::Expired { ids })) = &outcome.reply
                && self.shared.status.load().role == Role::Leader
            {
                self.shared.metrics.leases_expired.inc_by(ids.len() as u64);
            }
            if let Some(waiter) = ticket.and_then(|ticket| self.waiters.remove(ticket)) {
                let applied = AppliedCommand { outcome, index };
                self.completions.complete(waiter, applied);
            }
        }
        self.shared.tokens.assigned(view.position.index);
        self.tally.flush();
        self.completions.flush();
        self.wake_watchers(&view.machine, auth_changed);
        self.applying = Instant::now();
    }

    /// Completes linearizable reads with a shared copy of the view.
    fn readable(&mut self, tickets: &[Ticket], view: &View) {
        let view = Arc::new(view.clone());
        for ticket in tickets {
            if let Some(waiter) = self.waiters.remove(*ticket) {
                self.completions.complete(waiter, view.clone());
            }
        }
        self.completions.flush();
    }

    /// Completes requests with their answers, or fails them with the reason. Ignores tickets that no longer wait.
    fn answered(&mut self, answers: Vec<(Ticket, Answer)>) {
        for (ticket, answer) in answers {
            let Some(waiter) = self.waiters.remove(ticket) else {
                continue;
            };
            match answer {
                Answer::Unanswered(reason) => waiter.refuse(reason.into()),
                Answer::Lease(answer) => self.completions.complete(waiter, answer),
                Answer::Transfer(result) => self.completions.complete(waiter, result),
                Answer::Decided(proposed) => self.completions.complete(waiter, proposed),
            }
        }
        self.completions.flush();
    }
}

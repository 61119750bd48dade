//! Proposals of this process that wait for their entry. An entry carries the proposing process and
//! its ticket; only that process answers it, and not after a restart.

use std::collections::{BTreeMap, VecDeque};

use crate::{
    host::Ticket,
    limits::{PROPOSALS_MAX, TICKET_TICKS_MAX},
    machine::command::Stamp,
};

#[derive(Debug)]
pub(crate) struct Proposals {
    member: u64,
    incarnation: u32,
    waiting: BTreeMap<u64, u64>,
    by_age: VecDeque<(u64, u64)>,
}

impl Proposals {
    /// `seed` distinguishes this process from earlier ones of the member.
    pub(crate) fn new(member: u64, seed: u64) -> Self {
        let incarnation = (seed ^ (seed >> 32)) as u32;
        Self {
            member,
            incarnation,
            waiting: BTreeMap::new(),
            by_age: VecDeque::new(),
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.waiting.len() >= PROPOSALS_MAX
    }

    /// Builds the stamp of a proposal of this process, and records its ticket as waiting since `tick`,
    /// by which [`Self::expire`] drops it.
    pub(crate) fn stamp(&mut self, ticket: Ticket, now_ns: i64, tick: u64) -> Stamp {
        self.waiting.insert(ticket.0, tick);
        self.by_age.push_back((tick, ticket.0));
        Stamp {
            now_ns,
            member: self.member,
            ticket: ticket.0,
            incarnation: self.incarnation,
        }
    }

    /// The stamp of the leader's own proposals, which have no waiting request.
    pub(crate) fn internal_stamp(&self, now_ns: i64) -> Stamp {
        Stamp {
            now_ns,
            member: self.member,
            ticket: 0,
            incarnation: 0,
        }
    }

    /// Whether somebody waits for an entry with this stamp.
    pub(crate) fn is_waiting(&self, stamp: &Stamp) -> bool {
        stamp.member == self.member
            && stamp.incarnation == self.incarnation
            && self.waiting.contains_key(&stamp.ticket)
    }

    /// Removes and returns the ticket that waits for an applied entry, if this process proposed it.
    pub(crate) fn take(&mut self, stamp: &Stamp) -> Option<Ticket> {
        if stamp.member != self.member || stamp.incarnation != self.incarnation {
            return None;
        }
        self.waiting
            .remove(&stamp.ticket)
            .map(|_| Ticket(stamp.ticket))
    }

    /// A proposal that raft did not take.
    pub(crate) fn forget(&mut self, ticket: Ticket) {
        self.waiting.remove(&ticket.0);
    }

    /// Drops tickets that have timed out.
    pub(crate) fn expire(&mut self, tick: u64) {
        while let Some((since, ticket)) = self.by_age.front().copied() {
            let old = tick.saturating_sub(since) > TICKET_TICKS_MAX;
            if !old && self.waiting.contains_key(&ticket) {
                break;
            }
            self.by_age.pop_front();
            if old {
                self.waiting.remove(&ticket);
            }
        }
    }
}

//! Consensus without I/O: how commands become entries, and entries the state of `witan_machine`.
//!
//! What does *not* live here: sockets, files, threads, clocks, randomness, JSON, gRPC. The shell
//! (`server`, or the simulator in `tests/sim`) hands in [`input::Input`]s, and effects come back
//! through one trait, [`host::Host`], in one place, [`replica::Replica::turn`].
//!
//! Reading order: `input` (what can happen to a member) → `host` (what it asks of the world) → `replica` (how entries become state) → `long_command` (those
//! that the host executes) → `read_index`, `proposals`, `lease_requests`, `forward` (what is asked of the leader),
//! `leader_tasks`, `lessor`, `log`, `wire`, `jitter`, `limits`, `ticket_map`.
//!
//! Invariants enforced here (ARCHITECTURE.md has the full list):
//! - **I1** no I/O, no clock: time enters as ticks and stamped values, randomness as a seed.
//! - **I3** effects leave only in `Replica::turn`, in one fixed order.
//! - **I6** apply never proposes; only the leader's `leader_tasks` do.
//! - **I9** the proposer stamps wall time, which is part of the entry.
//! - **I10** every queue is bounded; the bounds are in `limits`.

pub mod host;
pub mod input;
pub mod replica;

mod batches_in_flight;
mod fair_share;
mod forward;
mod jitter;
mod leader_tasks;
mod lease_requests;
pub mod lessor;
pub mod limits;
mod log;
pub mod long_command;
pub mod message_head;
mod proposals;
mod read_index;
mod request_group;
mod taken_messages;
pub mod ticket_map;
pub mod watch;
pub mod wire;

//! Consensus without I/O: turns commands into raft entries and applies committed entries to a `witan_machine` state machine.
//!
//! This crate has no sockets, files, threads, clocks, randomness, JSON or gRPC. The shell (`server`, or the simulator in
//! `tests/sim`) passes [`input::Input`]s to the replica. All effects go through the [`host::Host`] trait, and only during
//! [`replica::Replica::turn`].
//!
//! Reading order: `input` (inputs of a member), `host` (required operations), `replica` (how entries become state;
//! `replica/boot` chooses raft's settings), `long_command`, then the requests to the leader: `read_index`, `proposals`,
//! `lease_requests` and `forward`. `request_group` and `fair_share` form batches, which `batches_in_flight` tracks.
//! `taken_messages` recognizes resent messages, and `ticket_map` finds waiting requests. `leader_tasks` and `lessor` are the
//! leader's timers, and `jitter` varies the election timeout. `watch` decides which watchers to wake. `log` is the raft log in
//! memory, and `wire` encodes messages. `message_head` shows messages in recordings.
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

//! v3 watches: comparisons with etcd 3.7, and streams of clients.
//!
//! Reading order: `answers` (comparisons with etcd) → `streams` (progress, counters, the end) → `memory` → `gateway`. etcd's
//! own cases test etcdctl's output (`tests/upstream/cases`).

mod answers;
mod gateway;
mod memory;
mod streams;

//! v3 watches: comparisons with etcd 3.6, and the guarantees on which clients depend.
//!
//! Reading order: `answers` (comparisons with etcd) → `guarantees` (resumption, slow clients, compaction, counters) → `memory`
//! → `gateway`. etcd's own cases test etcdctl's output (`tests/upstream/cases`).

mod answers;
mod gateway;
mod guarantees;
mod memory;

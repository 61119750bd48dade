//! v3 watches: what etcd 3.6 answers, and what people build on.
//!
//! Reading order: `answers` (beside etcd 3.6) →
//! `guarantees` (resumption, slow clients, compaction, counters) → `memory` → `gateway`. What etcdctl prints is tried by
//! etcd's own cases (`tests/upstream/cases`).

mod answers;
mod gateway;
mod guarantees;
mod memory;

//! v3 watches: what etcd 3.6 answers, and what people build on.
//!
//! Reading order: `answers` (beside etcd 3.6) →
//! `guarantees` (resumption, slow clients, compaction, counters) → `memory` → `etcdctl` →
//! `gateway`.

mod answers;
mod etcdctl;
mod gateway;
mod guarantees;
mod memory;

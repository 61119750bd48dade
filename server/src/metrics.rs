//! The only place that names a metric: etcd's names and types, on an own registry, handed down.

/// All series of this process. Clones share.
#[derive(Clone, Debug, Default)]
pub struct Metrics {}

//! The operator: it runs etcd clusters of Witan members on Kubernetes.
//!
//! One pass over a cluster is observe, plan, act, report. `plan` is a pure function from what was seen to one step;
//! it knows neither Kubernetes nor the network. `resources` makes objects of Kubernetes and applies none.

pub mod crd;
pub mod model;
pub mod plan;
pub mod resources;

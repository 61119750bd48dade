//! Linearizability: clients' calls on pairs of keys with their responses, the changes that watchers received, and the checks of
//! both.
//!
//! Reading order: `model` → `checker` and `record` (the checks) → `client`. `tests/faults/planted` shows that both checks refuse
//! wrong histories.

pub mod checker;
pub mod client;
pub mod model;
pub mod record;

pub use checker::check;
pub use model::{Call, Input, Output, Pair, Told};
pub use record::{Batch, Change};

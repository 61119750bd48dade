//! Linearizability: what clients ask of pairs of keys, what they were answered, what watchers saw, and the
//! checks of both.
//!
//! Reading order: `model` → `checker` and `record`, which judge → `client`. `tests/durability/linear` shows that the
//! checker refuses what is wrong, `tests/faults/planted` that both do.

pub mod checker;
pub mod client;
pub mod model;
pub mod record;

pub use checker::check;
pub use model::{Call, Input, Output, Pair, Told};
pub use record::{Batch, Change};

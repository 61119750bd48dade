//! Parts of the benchmarks. `main.rs` drives witan beside etcd; the programs in `bin/` measure one
//! room of ours by itself.
//!
//! Reading order: `load` (many clients, one measurement) → `subject` (of what) → `verb` (what they ask) → `h2`,
//! `http1` (the two lean clients) → `scene` (what is more than one request over and over) with `stream` →
//! `cluster` (three members) → `program` (which servers a run compares), `floor`, `process`, `table`.

pub mod cluster;
pub mod floor;
pub mod h2;
pub mod http1;
pub mod load;
pub mod process;
pub mod program;
pub mod scene;
pub mod stream;
pub mod subject;
pub mod table;
pub mod verb;
pub mod wire;

//! Parts of the benchmarks: load from one Rust client, what the kernel counts about a process, and
//! the table. The programs themselves are `main.rs` (witan beside etcd) and those in `bin/`.

pub mod load;
pub mod process;
pub mod table;

//! Durability of one member through kill -9, damage on its disk, copies of its directory and compactions. `memory` tests members
//! with more data than memory.

mod compaction;
mod copies;
mod crash;
mod directories;
mod identity;
mod memory;
mod scrub;

//! Durability of one member: through kill -9, damage on its disk, in copies of its directory, and through compactions. `memory`
//! tests members with more data than memory.

mod compaction;
mod copies;
mod crash;
mod directories;
mod forked;
mod identity;
mod linear;
mod memory;
mod scrub;

//! Reads data directories that the builder has written.

#[path = "reader/builder.rs"]
mod builder;
#[path = "reader/damage.rs"]
mod damage;
#[path = "reader/directory.rs"]
mod directory;

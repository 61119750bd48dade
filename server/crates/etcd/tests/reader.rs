//! Reads data directories that `builder` writes.

#[path = "reader/builder.rs"]
mod builder;
#[path = "reader/damage.rs"]
mod damage;
#[path = "reader/directory.rs"]
mod directory;

//! The plan against a fake cluster: named cases, and properties over random clusters and faults.

mod authority;
mod cases;
mod faults;
mod judge;
mod objects;
mod planned;
mod properties;
mod random;
mod world;

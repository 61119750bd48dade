//! `--quota-backend-bytes`: what it counts, which requests are refused once it is used up, and how space becomes available
//! again.

mod used_up;
mod users;
mod v2_tree;

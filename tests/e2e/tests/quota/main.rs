//! `--quota-backend-bytes`: what it counts, what is refused once it is used up, and how there is room
//! again.

mod used_up;
mod users;
mod v2_tree;

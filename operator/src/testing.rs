//! What tests of the parts around `plan` share.

pub(crate) mod api;

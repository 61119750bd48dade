//! `/metrics` as a scraper sees it: well formed, with etcd's names and types, and telling the truth.
//!
//! Reading order: `scrape` (taking one apart) → `truth` → `names` (beside etcd 3.6, and what is
//! absent) → `mixin` (what alerts and dashboards ask for) → `page` (the document).

mod mixin;
mod names;
mod page;
mod scrape;
mod truth;

//! `/metrics` for a scraper: valid format, etcd's names and types, and correct values.
//!
//! Reading order: `scrape` (parsing) → `names` (comparison with etcd, and absent families) → `mixin` (series that
//! alerts and dashboards use) → `page` (the document).

mod mixin;
mod names;
mod page;
mod scrape;

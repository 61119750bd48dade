//! The cells that a run must cover: every verb and option with each possible answer, every comparison with both results, and
//! every oddity that a server accepts or refuses. Impossible combinations are omitted.

use super::{
    Era,
    oddity::{ODDITIES, OTHERS, Read},
};
use crate::coverage::Row;

/// The codes of a put. No leases exist, so every lease is unknown.
const PUT: &str = "ok empty-key value-given lease-given no-key no-lease";
/// The codes of a put with a lease. The lease is checked before the key.
const PUT_LEASE: &str = "empty-key value-given lease-given no-lease";
/// The codes of a put with an empty value, to which `value-given` does not apply.
const PUT_EMPTY: &str = "ok empty-key lease-given no-key no-lease";
/// The codes of a range.
const RANGE: &str = "ok empty-key bad-sort future compacted";
/// The codes of a transaction with one valid part.
const TXN: &str = "then else empty-key value-given lease-given no-key no-lease bad-sort \
    too-many-ops duplicate future compacted";
const PUT_ROWS: &[Row] = &[
    (
        "put",
        "ok empty-key value-given lease-given no-key no-lease too-large over-max",
    ),
    ("put prev_kv", PUT),
    ("put ignore_value", PUT),
    // With a lease, the put is refused because of the lease. Without a lease, none is looked up.
    (
        "put ignore_lease",
        "ok empty-key value-given lease-given no-key",
    ),
    ("put lease", PUT_LEASE),
    ("put no value", PUT_EMPTY),
];
const RANGE_ROWS: &[Row] = &[
    ("range", "ok empty-key bad-sort future compacted over-max"),
    ("range range_end", RANGE),
    ("range from key", RANGE),
    ("range limit", RANGE),
    ("range limit<0", "ok"),
    ("range revision", RANGE),
    // A negative revision means the current one, which is never compacted.
    ("range revision<0", "ok empty-key bad-sort"),
    ("range serializable", RANGE),
    ("range keys_only", RANGE),
    ("range count_only", RANGE),
    ("range min_mod", RANGE),
    ("range max_mod", RANGE),
    ("range min_create", RANGE),
    ("range max_create", RANGE),
    ("range ascend", RANGE),
    ("range descend", RANGE),
    ("range by key", RANGE),
    ("range by version", RANGE),
    ("range by create", RANGE),
    ("range by mod", RANGE),
    ("range by value", RANGE),
    ("range more", "ok"),
    ("range nothing", "ok"),
];
const OTHER_ROWS: &[Row] = &[
    ("delete", "ok nothing empty-key too-large over-max"),
    ("delete prev_kv", "ok nothing empty-key"),
    ("delete range_end", "ok nothing empty-key"),
    ("delete from key", "ok nothing empty-key"),
    ("compact", "ok future compacted"),
    ("compact physical", "ok future compacted"),
    // Revision 0 is accepted only before the first compaction, when no sequence requests it.
    ("compact 0", "compacted"),
    ("compact<0", "compacted"),
    ("raw", "ok malformed"),
];
/// The results of a comparison, which selects the branch.
const COMPARED: &str = "then else";
pub(crate) const TARGETS: &[&str] = &["version", "create", "mod", "value", "lease"];
pub(crate) const RESULTS: &[&str] = &["=", ">", "<", "!="];

/// Returns the table. A run creates few tables, which are never freed.
pub(crate) fn table(era: Era) -> &'static [Row] {
    let mut rows: Vec<Row> = [PUT_ROWS, RANGE_ROWS, OTHER_ROWS].concat();
    if era == Era::Former {
        // With a valid order, `bad-sort` requires an unknown target, at which etcd 3.4 panics.
        let ordered = rows.iter_mut().filter(|(name, _)| name.ends_with("scend"));
        ordered.for_each(|(_, codes)| *codes = "ok empty-key future compacted");
    }
    // etcd 3.4 accepts any sort options, whose effects would let the two states diverge.
    let txn: &'static str = match era {
        Era::Present => TXN,
        Era::Former => TXN.replace(" bad-sort", "").leak(),
    };
    rows.push(("txn", format!("{txn} too-large over-max").leak()));
    for part in ["compare", "put", "range", "delete", "nested", "else part"] {
        rows.push((format!("txn {part}").leak(), txn));
    }
    rows.push(("txn empty operation", "no-key"));
    for span in ["", " over a range"] {
        for target in TARGETS {
            for result in RESULTS {
                let name = format!("compare {target} {result}{span}").leak();
                rows.push((name, COMPARED));
            }
        }
    }
    rows.push(("compare of another kind", COMPARED));
    rows.push(("compare with nothing", COMPARED));
    // An unknown relation is always true. An unknown target makes both sides equal.
    rows.push(("compare unknown target", COMPARED));
    rows.push(("compare unknown result", COMPARED));
    for (name, codes) in [
        ("json put", PUT_ROWS[0].1),
        ("json range", RANGE_ROWS[0].1),
        ("json delete", "ok nothing empty-key"),
        ("json txn", txn),
        ("json compact", "ok future compacted"),
    ] {
        rows.push((name, format!("{codes} malformed").leak()));
    }
    for odd in ODDITIES.iter().chain(OTHERS) {
        match odd.read(era) {
            Read::Taken => rows.push((odd.name, "taken")),
            Read::Refused => rows.push((odd.name, "refused")),
            Read::Either => rows.push((odd.name, "sent")),
            Read::Never => {}
        }
    }
    rows.leak()
}

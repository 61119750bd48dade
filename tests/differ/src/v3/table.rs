//! The cells that a run must have reached: every verb and option with each answer that it can have,
//! every comparison with both results, every oddity of a body with how it is read. Impossible
//! combinations are left out, with the reasons beside them.

use super::{
    Era,
    oddity::{ODDITIES, OTHERS, Read},
};
use crate::coverage::Row;

/// Without leases, every lease is one that is not there.
const PUT: &str = "ok empty-key value-given lease-given no-key no-lease";
/// A put with a lease never comes to look for its key: no lease is there.
const PUT_LEASE: &str = "empty-key value-given lease-given no-lease";
/// The same with an empty value, which is never one too many.
const PUT_EMPTY: &str = "ok empty-key lease-given no-key no-lease";
/// A key that is only partly overwritten must be there.
const RANGE: &str = "ok empty-key bad-sort future compacted";
/// The codes that a transaction with one good part can answer.
const TXN: &str = "then else empty-key value-given lease-given no-key no-lease bad-sort \
    too-many-ops duplicate future compacted";
const PUT_ROWS: &[Row] = &[
    (
        "put",
        "ok empty-key value-given lease-given no-key no-lease too-large over-max",
    ),
    ("put prev_kv", PUT),
    ("put ignore_value", PUT),
    // with a lease it is refused for that, without one there is none to look for
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
    // a revision before the first is the present one, so never too old
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
    // 0 is what nothing is compacted at, but only before the first compaction
    ("compact 0", "compacted"),
    ("compact<0", "compacted"),
    ("raw", "ok malformed"),
];
/// A comparison alone decides which branch is taken.
const COMPARED: &str = "then else";
pub(crate) const TARGETS: &[&str] = &["version", "create", "mod", "value", "lease"];
pub(crate) const RESULTS: &[&str] = &["=", ">", "<", "!="];

/// A run has a few tables in its life, which stay until it ends.
pub(crate) fn table(era: Era) -> &'static [Row] {
    let mut rows: Vec<Row> = [PUT_ROWS, RANGE_ROWS, OTHER_ROWS].concat();
    if era == Era::Former {
        // only an unknown target could be refused with these, and at that 3.4 panics
        let ordered = rows.iter_mut().filter(|(name, _)| name.ends_with("scend"));
        ordered.for_each(|(_, codes)| *codes = "ok empty-key future compacted");
    }
    // 3.4 takes any sort options, and what it then does must not part the two states
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
    // an unknown relation holds always; an unknown target makes both equal
    rows.push(("compare unknown target", COMPARED));
    rows.push(("compare unknown result", "then else"));
    for (name, codes) in [
        ("json put", PUT_ROWS[0].1),
        ("json range", RANGE_ROWS[0].1),
        ("json delete", "ok nothing empty-key"),
        ("json txn", txn),
        ("json compact", "ok future compacted"),
    ] {
        rows.push((name, format!("{codes} malformed").leak()));
    }
    let oddities = ODDITIES.iter().map(|odd| (odd.name, odd.read(era)));
    let others = OTHERS.iter().map(|(name, present, former)| {
        let read = match era {
            Era::Present => *present,
            Era::Former => *former,
        };
        (*name, read)
    });
    for (name, read) in oddities.chain(others) {
        match read {
            Read::Taken => rows.push((name, "taken")),
            Read::Refused => rows.push((name, "refused")),
            Read::Either => rows.push((name, "asked")),
            Read::Never => {}
        }
    }
    rows.leak()
}

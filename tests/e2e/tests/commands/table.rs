//! What is typed: a command a line. `{f}` is the format of the round, so that each round has users
//! and keys of its own; `{lease}` is the lease that was granted last; `''` is an empty word; what
//! stands after ` << ` comes from standard input.
//!
//! What does *not* live here: what is answered; etcd says that.

/// put, get, del, txn, compaction, version.
pub(crate) const KEYS: &[&str] = &[
    "version",
    "put a-{f} 1",
    "put a-{f} 2 --prev-kv",
    "put a-{f} --ignore-value",
    "put none-{f} --ignore-value",
    "put b-{f} << from standard input",
    "put '' x",
    "get a-{f}",
    "get none",
    "get a b --keys-only",
    "get a --prefix --limit=1",
    "get a --from-key --sort-by=MODIFY --order=DESCEND",
    "get a-{f} --rev=2",
    "get a-{f} --rev=9999",
    "get a-{f} --print-value-only",
    "get a-{f} --hex",
    "get a-{f} --consistency=s",
    "get '' --prefix --count-only",
    "del none",
    "del a-{f} --prev-kv",
    "del b --prefix",
    "del b --from-key --prev-kv",
    "txn << value(\"k\") = \"1\"\n\nput k 2\n\nput k 1\nget k\n\n",
    "txn --interactive=false << create(\"k\") > \"0\"\n\ndel k --prev-kv\n\nget k\n\n",
    "txn << \nput k 1\nput k 2\n\n\n",
    "compaction 3",
    "compaction 5 --physical",
    "get a-{f} --rev=1",
    "compaction 9999",
];

/// member, alarm, endpoint health.
pub(crate) const MEMBERS: &[&str] = &[
    "member list",
    "member add new --peer-urls=bogus",
    "member add new --peer-urls=http://127.0.0.1:2380",
    "member update 1234 --peer-urls=http://127.0.0.1:1",
    "member update x --peer-urls=http://127.0.0.1:1",
    "member remove 1234",
    "member remove 8e9e05c52164694d",
    "member remove x",
    "member promote 1234",
    "member promote 8e9e05c52164694d",
    "alarm list",
    "endpoint health",
];

/// What only 3.6 types, or types alike.
pub(crate) const MAINTENANCE_36: &[&str] = &[
    "put a-{f} 1",
    "put a-{f} 2",
    "endpoint hashkv",
    "compaction 2",
    "endpoint hashkv --rev=4",
    "del a-{f}",
    "endpoint hashkv --rev=9999",
    "move-leader 8e9e05c52164694d",
    "move-leader 1234",
    "downgrade validate 3.5",
    "downgrade validate 3.4",
    "downgrade validate 3.6",
    "downgrade validate x",
    "downgrade cancel",
];

/// lease, and keys that stand on one.
pub(crate) const LEASES: &[&str] = &[
    "lease grant 600",
    "lease list",
    "lease timetolive {lease}",
    "put l-{f} 1 --lease={lease}",
    "put l-{f} 2 --ignore-lease",
    "lease timetolive {lease} --keys",
    "lease keep-alive {lease} --once",
    "get l-{f}",
    "lease revoke {lease}",
    "lease revoke {lease} ",
    "lease timetolive {lease} ",
    "lease keep-alive {lease} --once ",
    "lease timetolive zz",
    "lease revoke 1234",
    "lease timetolive 1234 --keys",
    "put l x --lease=1234",
    "put none-{f} --ignore-lease",
    "lease grant 0",
    "lease grant -- -1",
    "lease grant 9999999999",
    "lease grant x",
    "lock l-{f} echo held",
    "lock l-{f} --ttl=20 false",
    "elect none-{f}-x",
];

/// Every row.
pub(crate) fn all() -> impl Iterator<Item = &'static str> {
    [KEYS, MEMBERS, MAINTENANCE_36, LEASES]
        .into_iter()
        .flatten()
        .copied()
}

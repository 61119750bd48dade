//! Tests differences and the operations that revert them.

use super::{super::testing::golden, *};

fn kv(key: &'static str, mod_revision: i64) -> KeyValue {
    KeyValue {
        key: key.as_bytes().into(),
        mod_revision,
        ..KeyValue::default()
    }
}

/// Returns a changed, an added and a deleted key. An unchanged key is not a difference.
fn found() -> Differences {
    let pairs = [
        (Some(kv("/a/changed", 12)), Some(kv("/a/changed", 5))),
        (Some(kv("/a/same", 6)), Some(kv("/a/same", 6))),
        (Some(kv("/a/added", 11)), None),
        (None, Some(kv("/a/deleted", 7))),
    ];
    let keys = pairs
        .iter()
        .filter_map(|(now, then)| difference(now.as_ref(), then.as_ref()));
    Differences { newest: 12, keys: keys.collect() }
}

#[test]
fn a_table_of_differences() {
    let at = PrefixAt { prefix: "/a/".to_owned(), revision: 8 };
    golden("diff.txt", &table(&found(), &at));
    let none = Differences { newest: 12, keys: vec![] };
    assert_eq!(
        table(&none, &at),
        "no key differs between revisions 8 and 12\n"
    );
}

#[test]
fn each_operation_has_its_condition() {
    let revisions = found()
        .keys
        .iter()
        .map(|each| unchanged(each).target_union)
        .collect::<Vec<_>>();
    let expected = [12, 11, 0].map(|revision| Some(TargetUnion::ModRevision(revision)));
    assert_eq!(revisions, expected);
    let added = &found().keys[1];
    assert!(matches!(
        revert_op(added, None).request,
        Some(Request::RequestDeleteRange(_))
    ));
    assert!(matches!(
        revert_op(added, Some(vec![])).request,
        Some(Request::RequestPut(_))
    ));
}

#[test]
fn reverts_beyond_one_transaction_are_refused() {
    assert!(refuse_unrevertible(&found(), 3).is_ok());
    assert!(refuse_unrevertible(&found(), 2).is_err());
    let mut leased = found();
    leased.keys[0].lease_then = 5;
    assert!(
        refuse_unrevertible(&leased, 3)
            .unwrap_err()
            .to_string()
            .contains("lease")
    );
}

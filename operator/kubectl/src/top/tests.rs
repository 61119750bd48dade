//! Tests the counting of keys by prefix, and the table of prefixes.

use clap::Parser as _;

use super::{
    super::{
        command::{PluginCommand, PluginLine},
        testing::golden,
    },
    *,
};

fn flags(more: &[&str]) -> TopFlags {
    let line = [&["kubectl-witan", "top", "orders"], more].concat();
    let parsed = PluginLine::try_parse_from(line).unwrap();
    let PluginCommand::Top(flags) = parsed.command else {
        panic!("{more:?}");
    };
    flags
}

fn kv(key: &str, mod_revision: i64, value: &str) -> KeyValue {
    let (key, value) = (key.to_owned().into(), value.to_owned().into());
    KeyValue { key, value, mod_revision, ..KeyValue::default() }
}

#[test]
fn keys_are_counted_to_a_prefix() {
    let cases: &[(&[&str], &str, &str)] = &[
        (&[], "/registry/pods/prod/web", "/registry/pods/"),
        (&[], "/registry/ranges", "/registry/"),
        (&[], "/registry", "/"),
        (&[], "a/b/c", "a/b/"),
        (&[], "plain", ""),
        (
            &["--prefix=/registry/"],
            "/registry/pods/prod/web",
            "/registry/pods/prod/",
        ),
        (
            &["--prefix=/registry", "--depth=1"],
            "/registry/pods/prod/web",
            "/registry/pods/",
        ),
        (
            &["--depth=3"],
            "/registry/pods/prod/web",
            "/registry/pods/prod/",
        ),
    ];
    for (more, key, expected) in cases {
        assert_eq!(
            counted_prefix(key.as_bytes(), &flags(more)),
            *expected,
            "{key} {more:?}"
        );
    }
}

#[test]
fn a_table_of_prefixes() {
    let flags = flags(&["--rows=2"]);
    let mut count = KeyCounts::default();
    let pod = r#"{"apiVersion":"v1","kind":"Pod"}"#;
    let page: Vec<_> = (0..100)
        .map(|n| kv(&format!("/registry/pods/prod/web-{n:03}"), n, ""))
        .collect();
    assert_eq!(count.add(&page, &flags), [b"/registry/pods/prod/web-050"]);
    count.sample(&kv("/registry/pods/prod/web-050", 50, pod), &flags);
    let page = [
        kv("/registry/events/a", 300, ""),
        kv("/registry/leases/b", 200, ""),
    ];
    assert_eq!(count.add(&page, &flags).len(), 2);
    count.sample(&kv("/registry/leases/b", 200, "text"), &flags);
    golden("top.txt", &count.table_text(flags.rows));
}

#[test]
fn rows_and_samples_are_bounded() {
    let flags = flags(&[]);
    let mut count = KeyCounts::default();
    let page: Vec<_> = (0..REMEMBERED_MAX + 5)
        .map(|n| kv(&format!("/{n:06}/a"), 1, ""))
        .collect();
    assert_eq!(count.add(&page, &flags).len() as u64, SAMPLES);
    assert_eq!(count.rows.len(), REMEMBERED_MAX + 1);
    assert_eq!(count.rows[OTHERS].keys, 5);
}

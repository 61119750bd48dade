//! Fixtures and golden files of tests, both in `testdata`.

use k8s_openapi::jiff::Timestamp;

use super::facts::Facts;

pub(super) fn now() -> Timestamp {
    "2026-11-25T12:00:00Z".parse().expect("a time")
}

fn path(name: &str) -> String {
    format!("{}/testdata/{name}", env!("CARGO_MANIFEST_DIR"))
}

pub(super) fn facts(name: &str) -> Facts {
    let text = std::fs::read_to_string(path(name)).expect("the fixture is there");
    serde_yaml::from_str(&text).expect("the fixture has its type")
}

/// Compares an output with a golden file. Writes the golden file first if `UPDATE` is set.
pub(super) fn golden(name: &str, text: &str) {
    let path = path(name);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, text).expect("the file is written");
    }
    let written = std::fs::read_to_string(&path).expect("the file is there");
    assert_eq!(
        written, text,
        "{path} differs: UPDATE=1 cargo test -p witan-kubectl"
    );
}

//! Checks that the files in `server/crates/api/src/v3/generated` equal the output for the protos.

use std::{collections::BTreeMap, fs, path::Path};

fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(dir).expect("the folder is there");
    let mut files = BTreeMap::new();
    for entry in entries {
        let path = entry.expect("the folder is readable").path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        files.insert(name, fs::read(&path).expect("the file is readable"));
    }
    files
}

#[test]
fn generated_code_is_fresh() {
    let api = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../server/crates/api");
    let out = std::env::temp_dir().join(format!("witan-protogen-{}", std::process::id()));
    fs::create_dir_all(&out).unwrap();
    witan_tidy::proto::generate(&api.join("proto"), &out).unwrap();
    let fresh = files(&out);
    fs::remove_dir_all(&out).unwrap();
    let committed = files(&api.join("src/v3/generated"));
    assert_eq!(
        fresh.keys().collect::<Vec<_>>(),
        committed.keys().collect::<Vec<_>>(),
        "run `cargo run -p witan-tidy --bin protogen`"
    );
    for (name, bytes) in &fresh {
        assert!(
            bytes == &committed[name],
            "{name}: run `cargo run -p witan-tidy --bin protogen`"
        );
    }
}

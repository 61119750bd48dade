//! `cargo run -p witan-tidy --bin protogen` regenerates `server/crates/api/src/v3/generated`.

use std::{io, path::Path};

fn main() -> io::Result<()> {
    let api = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../server/crates/api");
    witan_tidy::proto::generate(&api.join("proto"), &api.join("src/v3/generated"))
}

//! Generates `server/crates/api/src/v3/generated` from `server/crates/api/proto`: messages, tables of fields (`shapes`), and
//! the descriptor set that server reflection serves. Does not need protoc.

use std::{fs, io, path::Path};

use protox::prost::Message as _;
use tonic_prost_build::Config;

/// The files to compile, which import the other files.
const ROOTS: [&str; 8] = [
    "etcdserverpb/auth.proto",
    "etcdserverpb/cluster.proto",
    "etcdserverpb/kv.proto",
    "etcdserverpb/lease.proto",
    "etcdserverpb/maintenance.proto",
    "etcdserverpb/watch.proto",
    "v3electionpb.proto",
    "v3lockpb.proto",
];

/// File name of the encoded descriptor set.
const DESCRIPTORS: &str = "descriptors.bin";

/// Generates all files from the protos in `protos` and writes them to `out`.
pub fn generate(protos: &Path, out: &Path) -> io::Result<()> {
    let mut set = protox::compile(ROOTS, [protos]).map_err(io::Error::other)?;
    let mut config = Config::new();
    config.bytes(["."]);
    config.out_dir(out);
    tonic_prost_build::configure()
        .out_dir(out)
        .build_server(false)
        .build_client(false)
        .compile_fds_with_config(set.clone(), config)?;
    for entry in fs::read_dir(out)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "rs") {
            fs::write(&path, mend(&fs::read_to_string(&path)?))?;
        }
    }
    fs::write(out.join("shapes.rs"), crate::shapes::generate(&set))?;
    for file in &mut set.file {
        file.source_code_info = None;
    }
    fs::write(out.join(DESCRIPTORS), set.encode_to_vec())
}

/// Corrects prost's spelling of `URLs`.
fn mend(code: &str) -> String {
    code.replace("peer_ur_ls", "peer_urls")
        .replace("client_ur_ls", "client_urls")
}

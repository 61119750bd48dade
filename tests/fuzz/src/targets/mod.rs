//! The table of targets and their shared functions.

mod bolt;
mod disk;
mod gateway;
mod go;
mod http2;
mod log;
mod machine;
mod paths;
mod peer;
mod port;
mod settings;
mod v1;
mod v2;

use crate::Target;

/// Default maximum length of an input in bytes, as in libFuzzer.
const BYTES_MAX: usize = 4096;

pub(crate) const ALL: &[Target] = &[
    target("port", port::connection, BYTES_MAX, 15),
    target("bolt", bolt::file, BYTES_MAX, 2),
    target("snapshot", peer::snapshot, BYTES_MAX, 1),
    target("peer", peer::stream, BYTES_MAX, 1),
    target("hpack", http2::hpack, 1024, 1),
    target("connection", http2::connection, 512, 2),
    target("path", paths::path, BYTES_MAX, 1),
    target("v1", v1::request, BYTES_MAX, 1),
    target("keys", v2::keys, BYTES_MAX, 1),
    target("members", v2::members, BYTES_MAX, 1),
    target("go", go::texts, 256, 1),
    target("gateway", gateway::json, BYTES_MAX, 1),
    target("protobuf", gateway::protobuf, BYTES_MAX, 1),
    target("config", settings::file, BYTES_MAX, 1),
    target("arguments", settings::arguments, BYTES_MAX, 10),
    target("log-file", log::file, BYTES_MAX, 1),
    target("log-entry", log::entry, BYTES_MAX, 1),
    target("identity", disk::identity, 256, 1),
    target("checkpoint", disk::checkpoint, 8 * BYTES_MAX, 2),
    target("apply", machine::apply, BYTES_MAX, 2),
];

/// Creates a target from its fields.
const fn target(name: &'static str, run: fn(&[u8]), bytes_max: usize, cost: u64) -> Target {
    Target { name, run, bytes_max, cost }
}

/// Escapes every byte except ASCII letters and digits.
fn escaped(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for byte in text {
        if byte.is_ascii_alphanumeric() {
            out.push(*byte);
        } else {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
    out
}

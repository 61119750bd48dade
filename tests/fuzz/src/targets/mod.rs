//! The table of targets, and their shared functions.

mod bolt;
mod disk;
mod front;
mod gateway;
mod go;
mod http2;
mod log;
mod machine;
mod peer;
mod port;
mod settings;
mod v1;
mod v2;

use crate::Target;

pub use disk::checkpoint_input;
pub use log::{Disk, file_of as log_file, sole_member};

/// Default maximum length of an input in bytes, as in libFuzzer.
const BYTES_MAX: usize = 4096;

pub(crate) const ALL: &[Target] = &[
    Target {
        name: "port",
        run: port::connection,
        bytes_max: BYTES_MAX,
        cost: 15,
        files: &[
            "server/crates/transport/src/mux.rs",
            "server/crates/transport/src/grpc.rs",
            "server/src/api/http.rs",
            "server/crates/dialect/src/reply.rs",
            "server/crates/v1/src/keys.rs",
            "server/crates/v2/src/keys.rs",
            "server/crates/v2/src/members/mod.rs",
            "server/crates/v3/src/gateway/mod.rs",
        ],
    },
    Target {
        name: "bolt",
        run: bolt::file,
        bytes_max: BYTES_MAX,
        cost: 2,
        files: &[
            "server/crates/bolt/src/page.rs",
            "server/crates/bolt/src/reader.rs",
            "server/crates/bolt/src/writer.rs",
        ],
    },
    Target {
        name: "snapshot",
        run: peer::snapshot,
        bytes_max: BYTES_MAX,
        cost: 1,
        files: &["server/crates/peer/src/snapshot/wire.rs"],
    },
    Target {
        name: "peer",
        run: peer::stream,
        bytes_max: BYTES_MAX,
        cost: 1,
        files: &[
            "server/crates/peer/src/frame.rs",
            "server/crates/peer/src/handshake.rs",
            "server/crates/peer/src/http.rs",
        ],
    },
    Target {
        name: "hpack",
        run: http2::hpack,
        bytes_max: 1024,
        cost: 1,
        files: &[
            "server/crates/http2/src/hpack/decoder.rs",
            "server/crates/http2/src/hpack/huffman.rs",
        ],
    },
    Target {
        name: "connection",
        run: http2::connection,
        bytes_max: 512,
        cost: 2,
        files: &[
            "server/crates/http2/src/connection/mod.rs",
            "server/crates/http2/src/connection/receive.rs",
            "server/crates/http2/src/connection/control.rs",
            "server/crates/http2/src/connection/call.rs",
            "server/crates/http2/src/connection/ended.rs",
            "server/crates/http2/src/connection/timers.rs",
            "server/crates/http2/src/body.rs",
            "server/crates/http2/src/frame.rs",
            "server/crates/http2/src/head.rs",
            "server/crates/http2/src/head_cache.rs",
            "server/crates/http2/src/message.rs",
            "server/crates/http2/src/meter.rs",
            "server/crates/http2/src/ping.rs",
            "server/crates/http2/src/ready.rs",
            "server/crates/http2/src/send.rs",
            "server/crates/http2/src/stream.rs",
        ],
    },
    Target {
        name: "path",
        run: front::path,
        bytes_max: BYTES_MAX,
        cost: 1,
        files: &[
            "server/crates/gocompat/src/path.rs",
            "server/crates/api/src/access/grpc.rs",
        ],
    },
    Target {
        name: "v1",
        run: v1::request,
        bytes_max: BYTES_MAX,
        cost: 1,
        files: &[
            "server/crates/v1/src/form.rs",
            "server/crates/v1/src/request.rs",
        ],
    },
    Target {
        name: "keys",
        run: v2::keys,
        bytes_max: BYTES_MAX,
        cost: 1,
        files: &[
            "server/crates/v2/src/form.rs",
            "server/crates/v2/src/parse.rs",
            "server/crates/tree/src/request.rs",
        ],
    },
    Target {
        name: "members",
        run: v2::members,
        bytes_max: BYTES_MAX,
        cost: 1,
        files: &[
            "server/crates/gocompat/src/json.rs",
            "server/crates/v2/src/members/body.rs",
            "server/crates/v2/src/members/peer_url.rs",
            "server/crates/gocompat/src/url.rs",
        ],
    },
    Target {
        name: "go",
        run: go::texts,
        bytes_max: 256,
        cost: 1,
        files: &[
            "server/crates/gocompat/src/text.rs",
            "server/crates/gocompat/src/json/write.rs",
        ],
    },
    Target {
        name: "gateway",
        run: gateway::json,
        bytes_max: BYTES_MAX,
        cost: 1,
        files: &[
            "server/crates/api/src/v3/json.rs",
            "server/crates/v3/src/gateway/encoding.rs",
            "server/crates/v3/src/gateway/reader/mod.rs",
            "server/crates/v3/src/gateway/reader/number.rs",
            "server/crates/v3/src/gateway/reader/scalar.rs",
            "server/crates/v3/src/gateway/reader/text.rs",
            "server/crates/v3/src/gateway/reader/token.rs",
            "server/crates/gocompat/src/json.rs",
            "server/crates/v3/src/kv/put.rs",
            "server/crates/v3/src/kv/range.rs",
            "server/crates/v3/src/kv/txn.rs",
        ],
    },
    Target {
        name: "protobuf",
        run: gateway::protobuf,
        bytes_max: BYTES_MAX,
        cost: 1,
        files: &[
            "server/crates/v3/src/kv/put.rs",
            "server/crates/v3/src/kv/range.rs",
            "server/crates/v3/src/kv/txn.rs",
            "server/crates/api/src/v3/json.rs",
        ],
    },
    Target {
        name: "config",
        run: settings::file,
        bytes_max: BYTES_MAX,
        cost: 1,
        files: &[
            "server/crates/config/src/file.rs",
            "server/crates/config/src/build.rs",
            "server/crates/config/src/values.rs",
            "server/crates/config/src/url.rs",
        ],
    },
    Target {
        name: "arguments",
        run: settings::arguments,
        bytes_max: BYTES_MAX,
        cost: 10,
        files: &[
            "server/crates/config/src/source.rs",
            "server/crates/config/src/build.rs",
            "server/crates/config/src/values.rs",
            "server/crates/config/src/url.rs",
        ],
    },
    Target {
        name: "log-file",
        run: log::file,
        bytes_max: BYTES_MAX,
        cost: 1,
        files: &["server/crates/storage/src/tail.rs"],
    },
    Target {
        name: "log-entry",
        run: log::entry,
        bytes_max: BYTES_MAX,
        cost: 1,
        files: &[
            "server/crates/replica/src/wire.rs",
            "server/crates/replica/src/replica/boot.rs",
        ],
    },
    Target {
        name: "identity",
        run: disk::identity,
        bytes_max: 256,
        cost: 1,
        files: &[
            "server/crates/storage/src/format.rs",
            "server/crates/storage/src/manifest.rs",
            "server/crates/storage/src/owner.rs",
        ],
    },
    Target {
        name: "checkpoint",
        run: disk::checkpoint,
        bytes_max: 8 * BYTES_MAX,
        cost: 2,
        files: &[
            "server/crates/machine/src/view.rs",
            "server/crates/machine/src/kv/checkpoint.rs",
            "server/crates/machine/src/kv/version.rs",
            "server/crates/machine/src/kv/block.rs",
            "server/crates/tree/src/checkpoint.rs",
            "server/crates/machine/src/member.rs",
        ],
    },
    Target {
        name: "apply",
        run: machine::apply,
        bytes_max: BYTES_MAX,
        cost: 2,
        files: &[
            "server/crates/machine/src/lib.rs",
            "server/crates/machine/src/kv/txn.rs",
            "server/crates/machine/src/kv/range.rs",
            "server/crates/machine/src/kv/compact.rs",
            "server/crates/tree/src/lib.rs",
            "server/crates/tree/src/set.rs",
            "server/crates/tree/src/create.rs",
            "server/crates/tree/src/update.rs",
            "server/crates/tree/src/compare_and_swap.rs",
            "server/crates/tree/src/delete.rs",
            "server/crates/tree/src/expire.rs",
        ],
    },
];

/// Escapes every byte with a special meaning in a URL or form.
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

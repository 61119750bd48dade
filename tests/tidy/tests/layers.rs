//! The dependency law: which crate and which room may use what (ARCHITECTURE.md, "Layers").

use witan_tidy::{files, manifest::dependencies, none, rust_files};

/// Everything the core may depend on.
const CORE: [&str; 8] = [
    "raft",
    "imbl",
    "bytes",
    "thiserror",
    "slog",
    "protobuf",
    "prost",
    // a checksum is arithmetic
    "crc32fast",
];

/// A room, words that its code must not contain, and files that are excepted.
struct Law {
    room: &'static str,
    banned: &'static [&'static str],
    but: &'static [&'static str],
}

const LAWS: &[Law] = &[
    Law {
        room: "server/crates/replica/src/",
        banned: &[
            "std::fs",
            "std::net",
            "std::thread",
            "std::process",
            "std::time",
            "tokio",
            "rand::",
            "HashMap",
            "HashSet",
            "witan_api",
        ],
        but: &[],
    },
    // only the codec's own file sees the codec
    Law {
        room: "server/crates/replica/src/",
        banned: &["protobuf::"],
        but: &["server/crates/replica/src/wire"],
    },
    Law {
        room: "server/crates/replica/src/machine/",
        banned: &[
            "raft::",
            "Ticket",
            "async",
            "crate::replica",
            "crate::host",
            "crate::wire",
        ],
        but: &[],
    },
    Law {
        room: "server/src/api/",
        banned: &[
            "crate::storage",
            "crate::peer",
            "raft::",
            "raft_engine",
            "sled::",
        ],
        but: &[],
    },
    Law {
        room: "server/src/node/",
        banned: &[
            "actix_web",
            "actix_http",
            "tonic",
            "serde_json",
            "crate::api",
            "crate::transport",
        ],
        but: &[],
    },
    Law {
        room: "server/src/storage/",
        banned: &[
            "crate::api",
            "crate::node",
            "crate::peer",
            "crate::transport",
            "actix",
            "tonic",
            "hyper",
            "tokio",
        ],
        but: &[],
    },
    Law {
        room: "server/src/offline/",
        banned: &["crate::api", "crate::node", "crate::transport", "tokio"],
        but: &[],
    },
    Law {
        room: "server/src/snapshot/",
        banned: &[
            "crate::api",
            "crate::node",
            "crate::storage",
            "crate::transport",
            "raft::",
            "tokio",
            "tonic",
        ],
        but: &[],
    },
    // a library below the server, without I/O but in its driver
    Law {
        room: "server/crates/http2/src/",
        banned: &[
            "tokio",
            "std::net",
            "std::fs",
            "std::thread",
            "Instant::now",
        ],
        but: &[
            "server/crates/http2/src/driver.rs",
            "server/crates/http2/src/via_h2/",
            "server/crates/http2/src/tests/",
            "server/crates/http2/src/ping.rs",
        ],
    },
    Law {
        room: "server/src/",
        banned: &["witan_http2"],
        but: &["server/src/transport/"],
    },
    Law {
        room: "server/src/transport/",
        banned: &["witan_replica", "crate::storage"],
        but: &[],
    },
    // the transport's seam: what answers its calls, and the body that it hands over
    Law {
        room: "server/src/api/",
        banned: &["crate::transport"],
        but: &["server/src/api/v3/mod.rs", "server/src/api/v3/unary.rs"],
    },
    // one file names each disk crate, so that either can be replaced
    Law {
        room: "server/src/",
        banned: &["raft_engine"],
        but: &[
            "server/src/storage/log",
            "server/src/storage/retry",
            "server/src/storage/tests/disk",
        ],
    },
    Law {
        room: "server/src/",
        banned: &["sled::"],
        but: &["server/src/storage/run.rs"],
    },
    Law {
        room: "server/src/",
        banned: &["rustls", "rcgen", "x509_cert"],
        but: &["server/src/transport/tls/", "server/src/auth/keys.rs"],
    },
    // a panic on a thread of the pool would end the process: `panics::aside` passes it on
    Law {
        room: "server/src/",
        banned: &["spawn_blocking", "web::block"],
        but: &["server/src/panics/"],
    },
    // one use site
    Law {
        room: "server/src/",
        banned: &["serde_yaml"],
        but: &["server/src/config/"],
    },
    // the environment is a source of configuration and is read nowhere else
    Law {
        room: "server/src/",
        banned: &["env::var"],
        but: &["server/src/config/", "server/src/storage/tests/"],
    },
];

#[test]
fn rooms_use_only_what_they_may() {
    let files = rust_files();
    let mut found = Vec::new();
    for law in LAWS {
        for file in &files {
            let excepted = law.but.iter().any(|path| file.path.starts_with(path));
            if !file.path.starts_with(law.room) || excepted {
                continue;
            }
            for (number, line) in file.code().lines().enumerate() {
                for word in law.banned.iter().filter(|word| has_word(line, word)) {
                    found.push(format!("{}:{}: {word}", file.path, number + 1));
                }
            }
        }
    }
    none("a room uses only what the dependency law allows", &found);
}

#[test]
fn the_core_depends_on_the_ruled_crates_alone() {
    let mut extra = dependencies("server/crates/replica", "dependencies");
    assert!(!extra.is_empty(), "the manifest was read");
    extra.extend(dependencies("server/crates/replica", "build-dependencies"));
    extra.retain(|name| !CORE.contains(&name.as_str()));
    none("replica depends on the ruled crates alone (I1)", &extra);
}

#[test]
fn libraries_below_the_server_know_nothing_of_ours() {
    let allowed = ["bytes", "flate2", "h2", "http", "http-body", "tokio"];
    let mut extra = dependencies("server/crates/http2", "dependencies");
    assert!(!extra.is_empty(), "the manifest was read");
    extra.retain(|name| !allowed.contains(&name.as_str()));
    none(
        "http2 depends on formats and on tokio's driver alone",
        &extra,
    );
}

#[test]
fn contracts_depend_on_nothing_of_ours_and_on_no_runtime() {
    let banned = [
        "tokio",
        "raft",
        "raft-engine",
        "sled",
        "hyper",
        "actix-web",
        "witan-replica",
        "witan",
    ];
    let mut extra = dependencies("server/crates/api", "dependencies");
    extra.retain(|name| banned.contains(&name.as_str()));
    none("api holds contracts only", &extra);
}

#[test]
fn test_crates_see_what_they_prove_and_no_more() {
    let ours = |folder: &str, allowed: &[&str]| {
        let mut names = dependencies(folder, "dependencies");
        names.extend(dependencies(folder, "dev-dependencies"));
        names.retain(|name| name.starts_with("witan") && !allowed.contains(&name.as_str()));
        names
            .iter()
            .map(|name| format!("{folder}: {name}"))
            .collect::<Vec<_>>()
    };
    let mut extra = ours("tests/sim", &["witan-replica"]);
    extra.extend(ours("tests/e2e", &["witan-api"]));
    extra.extend(ours(
        "tests/fuzz",
        &["witan", "witan-api", "witan-http2-tests", "witan-replica"],
    ));
    extra.extend(ours("tests/http2", &["witan-http2"]));
    extra.extend(ours("tests/differ", &["witan-api", "witan-e2e"]));
    none(
        "the simulator sees the core; end-to-end tests and the differ see the contracts",
        &extra,
    );
}

#[test]
fn every_crate_takes_the_workspaces_lints() {
    let lax: Vec<String> = files()
        .iter()
        .filter(|file| file.path.ends_with("/Cargo.toml"))
        .filter(|file| !file.text.contains("[lints]\nworkspace = true"))
        .map(|file| file.path.clone())
        .collect();
    none("a crate takes the workspace's lints", &lax);
}

/// Whether `word` stands in `line` and is not the tail of a longer name.
fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

//! Finds the programs under test. A failure names the command that creates the missing program.

use std::{
    env,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// The servers that tests can start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Witan.
    Witan,
    /// Debian's etcd 3.4.23, which still serves the v2 API.
    Etcd34,
    /// etcd 3.6.16, whose members and snapshots Witan adopts.
    Etcd36,
    /// etcd 3.7.3, whose v3 API Witan implements.
    Etcd37,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 4] = [Self::Witan, Self::Etcd37, Self::Etcd36, Self::Etcd34];

    /// Returns the kind with this short name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Returns the path of the executable.
    pub fn binary(self) -> PathBuf {
        match self {
            Self::Witan => witan(),
            Self::Etcd34 => cached("etcd34", "tests/tools/debian-etcd.sh"),
            Self::Etcd36 => cached("etcd36", "tests/tools/etcd.sh 36"),
            Self::Etcd37 => cached("etcd37", "tests/tools/etcd.sh 37"),
        }
    }

    /// Returns a short name for directories and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Witan => "witan",
            Self::Etcd34 => "etcd34",
            Self::Etcd36 => "etcd36",
            Self::Etcd37 => "etcd37",
        }
    }
}

/// Returns the root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("the crate is two folders below the root")
        .to_path_buf()
}

/// Returns the path of a program in the cache of test tools. If it is missing, panics with the `script` that creates it.
pub fn cached(name: &str, script: &str) -> PathBuf {
    let cache = env::var_os("WITAN_CACHE").map_or_else(|| root().join(".cache"), PathBuf::from);
    let path = cache.join("bin").join(name);
    assert!(
        path.exists(),
        "{} does not exist: run {script} first (tests/run does)",
        path.display()
    );
    path
}

/// Returns the server with test hooks: `$WITAN_PLANTED_BIN`, or the debug build. Panics if it is missing.
pub fn planted() -> PathBuf {
    test_build("witan-planted", "WITAN_PLANTED_BIN", "planted-panics")
}

/// Returns the server whose feature level and data format follow this release's: `$WITAN_NEXT_BIN`, or the debug
/// build. Panics if it is missing.
pub fn next() -> PathBuf {
    test_build("witan-next", "WITAN_NEXT_BIN", "next-level")
}

/// Returns the path in `variable`, or the debug build of a server with a Cargo feature in this workspace's target directory.
fn test_build(name: &str, variable: &str, feature: &str) -> PathBuf {
    let path = env::var_os(variable).map_or_else(
        || {
            let exe = env::current_exe().expect("a test knows its own executable");
            let target = exe
                .ancestors()
                .nth(3)
                .expect("target/PROFILE/deps/test-exe");
            target.join("debug").join(name)
        },
        PathBuf::from,
    );
    assert!(
        path.is_file(),
        "{} does not exist: run `cargo build -p witan --features {feature} --bin {name}` first",
        path.display()
    );
    path
}

/// Returns `$WITAN_BIN`, or the newest build in this workspace's target directory. Panics if there is none.
fn witan() -> PathBuf {
    if let Some(path) = env::var_os("WITAN_BIN") {
        let path = PathBuf::from(path);
        assert!(
            path.exists(),
            "WITAN_BIN names {}, which does not exist",
            path.display()
        );
        return path;
    }
    let exe = env::current_exe().expect("a test knows its own executable");
    // The test executable is target/PROFILE/deps/test-exe or target/PROFILE/bench-exe.
    exe.ancestors()
        .skip(2)
        .take(2)
        .flat_map(|target| ["release", "debug"].map(|flavour| target.join(flavour).join("witan")))
        .filter(|path| path.is_file())
        .max_by_key(|path| {
            path.metadata()
                .and_then(|data| data.modified())
                .unwrap_or(SystemTime::UNIX_EPOCH)
        })
        .expect("no witan binary: run `cargo build --release --bin witan` first, or set WITAN_BIN")
}

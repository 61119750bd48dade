//! The memory limit of this process: the smallest limit of its cgroup and the cgroup's ancestors, but at most the memory of the
//! machine. Resource limits (`ulimit`) are not read. `witan_node` enforces the limit.

use std::{
    fs,
    path::{Component, Path},
};

/// A limit of at least this many bytes means that the cgroup has no limit. cgroup v1 reports such a number; cgroup v2 reports
/// the word `max`.
const UNLIMITED_BYTES: u64 = 1 << 62;

/// The memory limit of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryLimit {
    /// Size in bytes.
    pub bytes: u64,
    /// The source of the limit in log lines: `cgroup` or `machine`.
    pub source: &'static str,
}

impl MemoryLimit {
    /// Reads the limit from the pseudo files below `root`, which is `/` except in tests. Returns `None` if no limit can be
    /// read.
    pub fn read(root: &Path) -> Option<Self> {
        let limit = |source| move |bytes| Self { bytes, source };
        let cgroup = cgroup_bytes(root).map(limit("cgroup"));
        let machine = machine_bytes(root).map(limit("machine"));
        let limits = cgroup.into_iter().chain(machine);
        limits.min_by_key(|limit| limit.bytes)
    }

    /// Returns the default memory budget in bytes: the limit minus [`Self::reserve_bytes`].
    pub fn budget_bytes(self) -> u64 {
        self.bytes - self.reserve_bytes()
    }

    /// Returns the number of bytes that the budget leaves free for the file cache, sockets and growth between two measurements.
    /// The reserve is an eighth of the limit, but at most 512 MiB. It is at least 64 MiB, or a quarter of the limit if that is
    /// less.
    pub fn reserve_bytes(self) -> u64 {
        (self.bytes / 8)
            .clamp(64 << 20, 512 << 20)
            .min(self.bytes / 4)
    }
}

/// Returns the maximum size in bytes of the values in memory while a process loads its state: half of the budget. The other
/// half is for keys and versions.
pub fn first_values_bytes(budget_bytes: u64) -> u64 {
    budget_bytes / 2
}

/// Returns the lowest memory limit of this process's cgroup (v1 or v2) and its ancestors. Returns `None` if there is no limit
/// or none can be read.
fn cgroup_bytes(root: &Path) -> Option<u64> {
    let text = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let mounts = root.join("sys/fs/cgroup");
    // A line has the form ID:CONTROLLERS:PATH. For cgroup v2, the id is 0 and there are no controllers.
    let limits = text.lines().filter_map(|line| {
        let (id, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        if (id, controllers) == ("0", "") {
            return lowest_limit(&mounts, path, &["memory.max", "memory.high"]);
        }
        if controllers.split(',').any(|name| name == "memory") {
            return lowest_limit(&mounts.join("memory"), path, &["memory.limit_in_bytes"]);
        }
        None
    });
    limits.min()
}

/// Returns the smallest limit in `files` and `memory.stat` of the cgroup `path` and its ancestors, up to the root of the mount.
/// In a container, the path may be invisible, and the root of the mount is the container's cgroup. Returns `None` if there is
/// no limit.
fn lowest_limit(mount: &Path, path: &str, files: &[&str]) -> Option<u64> {
    let path = Path::new(path.trim_start_matches('/'));
    // The path of a cgroup outside the cgroup namespace begins with `..`.
    let outside = path.components().any(|part| part == Component::ParentDir);
    let path = if outside { Path::new("") } else { path };
    let limit = |folder: &Path| {
        let folder = mount.join(folder);
        let own = files.iter().filter_map(|file| number(&folder.join(file)));
        // In cgroup v1, this limit includes ancestors that a container does not see.
        let stat = fs::read_to_string(folder.join("memory.stat")).ok();
        let hierarchical = stat.and_then(|stat| field(&stat, "hierarchical_memory_limit "));
        own.chain(hierarchical.filter(is_limit)).min()
    };
    path.ancestors().filter_map(limit).min()
}

/// Returns the number in a file. Returns `None` if there is no such file or number, or if the number means no limit.
fn number(path: &Path) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    text.trim().parse().ok().filter(is_limit)
}

/// Returns whether the number is a limit, and not one of the large numbers that mean no limit.
fn is_limit(bytes: &u64) -> bool {
    *bytes < UNLIMITED_BYTES
}

/// Returns the memory of the machine in bytes, or `None` if `/proc/meminfo` does not contain it.
fn machine_bytes(root: &Path) -> Option<u64> {
    let text = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    field(&text, "MemTotal:").map(|kib| kib.saturating_mul(1024))
}

/// Returns the number after `name` in the first line that begins with `name`, or `None` if there is no such number.
pub(crate) fn field(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    const MIB: u64 = 1 << 20;

    /// A directory with pseudo files, removed on drop.
    struct Root(PathBuf);

    impl Root {
        /// Creates a machine of 16 GiB whose `/proc/self/cgroup` contains `cgroup`.
        fn new(test: &str, cgroup: &str) -> Self {
            let name = format!("witan-memory-limit-{}-{test}", std::process::id());
            let root = Self(std::env::temp_dir().join(name));
            let root = root.file(
                "proc/meminfo",
                "MemTotal:       16777216 kB\nMemFree:  1 kB\n",
            );
            root.file("proc/self/cgroup", cgroup)
        }

        fn file(self, path: &str, text: &str) -> Self {
            let path = self.0.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
            self
        }

        fn limit(&self) -> (u64, &'static str) {
            let limit = MemoryLimit::read(&self.0).unwrap();
            (limit.bytes, limit.source)
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_smallest_limit_of_all_ancestors_is_used() {
        let root = Root::new("ancestors", "0::/a.slice/b.service\n")
            .file("sys/fs/cgroup/a.slice/b.service/memory.max", "max\n")
            .file("sys/fs/cgroup/a.slice/b.service/memory.high", "900000000\n")
            .file("sys/fs/cgroup/a.slice/memory.max", "800000000\n");
        assert_eq!(root.limit(), (800_000_000, "cgroup"));
        let root = root.file("sys/fs/cgroup/a.slice/b.service/memory.high", "700000000\n");
        assert_eq!(root.limit(), (700_000_000, "cgroup"));
    }

    #[test]
    fn a_container_of_version_2_reads_the_root_of_its_mount() {
        for path in ["/", "/kubepods/pod1/container", "/../other"] {
            let root = Root::new("namespace", &format!("0::{path}\n"))
                .file("sys/fs/cgroup/memory.max", "524288000\n");
            assert_eq!(root.limit(), (500 * MIB, "cgroup"), "{path}");
        }
    }

    #[test]
    fn a_container_of_version_1_reads_the_root_of_its_mount() {
        let root = Root::new("v1", "5:cpu,cpuacct:/x\n4:memory:/docker/1\n")
            .file("sys/fs/cgroup/memory/memory.limit_in_bytes", "524288000\n");
        assert_eq!(root.limit(), (500 * MIB, "cgroup"));
    }

    #[test]
    fn the_limit_of_an_invisible_ancestor_of_version_1_is_used() {
        let stat = "cache 0\nhierarchical_memory_limit 268435456\nhierarchical_memsw_limit 1\n";
        let root = Root::new("hierarchy", "4:memory:/a\n")
            .file(
                "sys/fs/cgroup/memory/a/memory.limit_in_bytes",
                "9223372036854771712\n",
            )
            .file("sys/fs/cgroup/memory/a/memory.stat", stat);
        assert_eq!(root.limit(), (256 * MIB, "cgroup"));
    }

    #[test]
    fn a_host_with_both_versions_uses_the_version_with_a_limit() {
        let root = Root::new("hybrid", "4:memory:/a\n0::/\n").file(
            "sys/fs/cgroup/memory/a/memory.limit_in_bytes",
            "1000000000\n",
        );
        assert_eq!(root.limit(), (1_000_000_000, "cgroup"));
    }

    #[test]
    fn without_a_smaller_limit_the_memory_of_the_machine_is_used() {
        let machine = (16384 * MIB, "machine");
        assert_eq!(Root::new("none", "0::/\n").limit(), machine);
        let unlimited = Root::new("unlimited", "4:memory:/a\n").file(
            "sys/fs/cgroup/memory/a/memory.limit_in_bytes",
            "9223372036854771712\n",
        );
        assert_eq!(unlimited.limit(), machine);
        let larger =
            Root::new("larger", "0::/\n").file("sys/fs/cgroup/memory.max", "99999999999\n");
        assert_eq!(larger.limit(), machine);
        assert_eq!(MemoryLimit::read(Path::new("/does/not/exist")), None);
    }

    #[test]
    fn the_reserve_is_an_eighth_within_a_range() {
        let reserve = |bytes| MemoryLimit { bytes, source: "cgroup" }.reserve_bytes() / MIB;
        let limits = [100, 500, 1024, 2048, 65536].map(|mib| reserve(mib * MIB));
        assert_eq!(limits, [25, 64, 128, 256, 512]);
    }
}

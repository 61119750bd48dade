//! A memory limit for one process, enforced by the kernel: a cgroup of version 1 or 2 with the controller `memory`.
//!
//! A limit requires root and a writable cgroup file system.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

static LIMITS: AtomicU32 = AtomicU32::new(0);

const MIB: u64 = 1 << 20;

/// Returns the memory budget that Witan derives from a limit: the limit minus a reserve, in bytes.
pub fn budget_bytes(limit_bytes: u64) -> u64 {
    let least = (64 * MIB).min(limit_bytes / 4);
    limit_bytes - (limit_bytes / 8).max(least).min(512 * MIB)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// A cgroup with a limit. Dropping it removes the cgroup; its processes must have ended before then.
#[derive(Debug)]
pub struct MemoryLimit {
    version: Version,
    folder: PathBuf,
}

impl MemoryLimit {
    /// Creates a cgroup for at most `bytes` bytes of memory and no swap. Fails with the reason if that is not possible.
    pub fn new(bytes: u64) -> Result<Self, String> {
        let read =
            |path: &str| fs::read_to_string(path).map_err(|error| format!("{path}: {error}"));
        let (own, mounts) = (read("/proc/self/cgroup")?, read("/proc/self/mountinfo")?);
        let (version, parents) =
            parents(&own, &mounts).ok_or("no cgroups with the controller memory are mounted")?;
        let mut wrong = String::new();
        for parent in &parents {
            match Self::below(parent, version, bytes) {
                Ok(limit) => return Ok(limit),
                Err(error) => wrong += &format!("below {}: {error}; ", parent.display()),
            }
        }
        Err(wrong)
    }

    fn below(parent: &Path, version: Version, bytes: u64) -> io::Result<Self> {
        if version == Version::Two {
            // The kernel refuses this if processes are in `parent`. `new` then tries the parent of `parent`, which has enabled
            // the controller.
            let _ = fs::write(parent.join("cgroup.subtree_control"), "+memory");
        }
        let count = LIMITS.fetch_add(1, Ordering::Relaxed);
        let folder = parent.join(format!("witan-e2e-{}-{count}", process::id()));
        fs::create_dir(&folder)?;
        let limit = Self { version, folder };
        limit.set(bytes)?;
        Ok(limit)
    }

    fn set(&self, bytes: u64) -> io::Result<()> {
        let write = |file: &str, text: &str| fs::write(self.folder.join(file), text);
        match self.version {
            Version::One => {
                write("memory.limit_in_bytes", &bytes.to_string())?;
                // A kernel that does not account for swap has only the second file.
                write("memory.memsw.limit_in_bytes", &bytes.to_string())
                    .or_else(|_| write("memory.swappiness", "0"))
            }
            Version::Two => {
                write("memory.max", &bytes.to_string())?;
                match self.folder.join("memory.swap.max").exists() {
                    true => write("memory.swap.max", "0"),
                    false => Ok(()),
                }
            }
        }
    }

    /// Returns the directory of the cgroup.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the command of a shell that moves itself into the cgroup.
    pub(crate) fn entry(&self) -> String {
        format!("echo $$ >'{}'", self.folder.join("cgroup.procs").display())
    }

    /// Returns the number of processes that the kernel has killed because of the limit. Panics if the kernel does not count
    /// them (before Linux 4.13).
    pub fn kills(&self) -> u64 {
        let file = match self.version {
            Version::One => "memory.oom_control",
            Version::Two => "memory.events",
        };
        let text = fs::read_to_string(self.folder.join(file)).expect("the cgroup exists");
        let mut lines = text.lines();
        let count = lines.find_map(|line| line.strip_prefix("oom_kill "));
        let count = count.and_then(|count| count.trim().parse().ok());
        count.expect("the kernel counts its kills")
    }
}

impl Drop for MemoryLimit {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.folder);
    }
}

/// Returns the version of the controller, and the directories below which a cgroup may be created, in the order of attempts.
/// Returns `None` if no controller is mounted. `own` is `/proc/self/cgroup`, `mounts` is `/proc/self/mountinfo`.
fn parents(own: &str, mounts: &str) -> Option<(Version, Vec<PathBuf>)> {
    let first = own.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        let mut controllers = controllers.split(',');
        controllers
            .any(|name| name == "memory")
            .then_some((Version::One, path))
    });
    let second = || {
        let mut lines = own.lines();
        let path = lines.find_map(|line| line.strip_prefix("0::"))?;
        Some((Version::Two, path))
    };
    let (version, path) = first.or_else(second)?;
    let (root, mount) = mounts.lines().find_map(|line| {
        let (place, system) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let mut system = system.split(' ');
        let (kind, options) = (system.next()?, system.nth(1)?);
        let is_it = match version {
            Version::One => kind == "cgroup" && options.split(',').any(|name| name == "memory"),
            Version::Two => kind == "cgroup2",
        };
        is_it.then_some((place.next()?, place.next()?))
    })?;
    // In a container, the mount may show only a part of the hierarchy.
    let below = Path::new(path).strip_prefix(root);
    let below = below.unwrap_or_else(|_| Path::new(path.trim_start_matches('/')));
    let mount = Path::new(mount);
    let group = mount.join(below);
    let mut parents = vec![group.clone()];
    if version == Version::Two && group != mount {
        parents.extend(group.parent().map(Path::to_path_buf));
    }
    Some((version, parents))
}

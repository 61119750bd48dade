//! A small file system in memory that tests can fill.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

const PIECE_BYTES: usize = 64 << 10;

/// Environment variable that marks a process in its own namespace, in which it may mount.
const INSIDE: &str = "WITAN_TEST_NAMESPACE";

/// Runs a case on a disk of `mib` MiB, in a separate namespace if this process is not allowed to mount. `test` is the full name
/// of the calling test. Panics if the case fails, or if nothing can be mounted.
pub fn on_a_small_disk(test: &str, mib: usize, case: fn(&Disk)) {
    let name = test.rsplit("::").next().unwrap_or(test);
    if let Some(disk) = Disk::mount(name, mib) {
        return case(&disk);
    }
    assert!(
        std::env::var_os(INSIDE).is_none(),
        "cannot mount a file system, not even in a user namespace: allow either to test a full disk"
    );
    let own = std::env::current_exe().expect("this program is a file");
    let inside = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount"])
        .arg(own)
        .args(["--exact", test])
        .env(INSIDE, "1")
        .status();
    assert!(inside.is_ok_and(|status| status.success()));
}

/// A file system in memory. Dropping it unmounts it.
#[derive(Debug)]
pub struct Disk(PathBuf);

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
        let _ = fs::remove_dir(&self.0);
    }
}

impl Disk {
    /// Mounts a file system of `mib` MiB. Returns `None` if mounting is not permitted. Panics if there is no temporary
    /// directory.
    pub fn mount(name: &str, mib: usize) -> Option<Self> {
        let dir = crate::folder::fresh_dir(name);
        fs::create_dir_all(&dir).expect("a fresh folder");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "tmpfs"])
            .arg(&dir)
            .output();
        let mounted = mount.is_ok_and(|done| done.status.success());
        if !mounted {
            let _ = fs::remove_dir(&dir);
        }
        mounted.then(|| Self(dir))
    }

    /// Returns the mount point.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Takes all remaining free space. Panics if it cannot create a file.
    pub fn fill(&self) {
        let mut file = self.filler();
        let some = vec![7; PIECE_BYTES];
        while file.write_all(&some).is_ok() {}
    }

    /// Takes `bytes` bytes of the free space. Panics if fewer bytes are free.
    pub fn take(&self, bytes: usize) {
        let written = self.filler().write_all(&vec![7; bytes]);
        written.expect("the bytes are free");
    }

    /// Frees the space that [`Self::fill`] and [`Self::take`] have taken. Panics if there is none.
    pub fn make_room(&self) {
        fs::remove_file(self.0.join("of somebody else")).expect("it was filled");
    }

    /// Opens the file that takes space.
    fn filler(&self) -> File {
        let path = self.0.join("of somebody else");
        let file = File::options().create(true).append(true).open(path);
        file.expect("a name is free")
    }
}

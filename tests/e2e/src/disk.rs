//! A small file system in memory that tests can fill.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

const PIECE_BYTES: usize = 64 << 10;

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
    /// folder.
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
        let path = self.0.join("of somebody else");
        let file = File::options().create(true).append(true).open(path);
        let mut file = file.expect("a name is free");
        let some = vec![7; PIECE_BYTES];
        while file.write_all(&some).is_ok() {}
    }

    /// Frees the space that [`Self::fill`] has taken. Panics if there is none.
    pub fn make_room(&self) {
        fs::remove_file(self.0.join("of somebody else")).expect("it was filled");
    }
}

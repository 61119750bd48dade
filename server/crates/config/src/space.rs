//! Settings of free space in the data directory.

/// Settings of the disk reserve and the ballast.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpaceConfig {
    /// `--disk-reserve-bytes`; `None` derives it from the file system's size, and 0 disables monitoring.
    pub reserve_bytes: Option<u64>,
    /// `--disk-ballast-bytes`; `None` derives it from the file system's size, and 0 disables the ballast.
    pub ballast_bytes: Option<u64>,
}

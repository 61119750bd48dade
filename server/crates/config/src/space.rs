//! Settings of the data directory's free space.

/// Settings of the reserve and the ballast.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpaceConfig {
    /// `--disk-reserve-bytes`; `None` chooses by the file system's size, 0 disables monitoring.
    pub reserve_bytes: Option<u64>,
    /// `--disk-ballast-bytes`; `None` chooses by the file system's size, 0 keeps none.
    pub ballast_bytes: Option<u64>,
}

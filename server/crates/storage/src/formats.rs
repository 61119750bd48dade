//! The versions of the data format: what each version changed, and the numbers by which readers recognize its files.
//!
//! A member reads all versions and writes the version of the cluster's feature level. Until the level rises, the previous
//! release can therefore start on the member's directory.

use witan_machine::levels::Level;

/// The first version whose `identity` names the first release that reads the version. Earlier releases show the named release
/// in their error.
const FIRST_WITH_RELEASE: u32 = 5;

/// A version of the data format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataFormat {
    /// The number in the first line of `identity`.
    pub number: u32,
    /// The lowest feature level of a cluster whose members write the format.
    pub level: Level,
    /// The first release that reads the format.
    pub first_release: &'static str,
    /// Change that the format introduced.
    pub changed: &'static str,
    /// Version of the snapshots that members send to each other at this level.
    pub snapshot: u32,
    /// The first line of a manifest.
    pub(super) manifest_title: &'static str,
    /// The first byte of an entry in the log.
    pub(super) frame_version: u8,
}

/// All formats that this release reads, in order.
pub const FORMATS: &[DataFormat] = &[
    DataFormat {
        number: 4,
        level: 1,
        first_release: "0.1.0",
        changed: "the first format",
        snapshot: 1,
        manifest_title: "witan checkpoint 3",
        frame_version: 1,
    },
    #[cfg(any(test, feature = "next-level"))]
    DataFormat {
        number: 5,
        level: 2,
        first_release: "0.2.0",
        changed: "tests only: the identity names the release, and all other version numbers differ",
        snapshot: 2,
        manifest_title: "witan checkpoint 5",
        frame_version: 2,
    },
];

/// Returns the format that members of a cluster with this feature level write. Levels below the first one get the first format.
pub fn format_of(level: Level) -> &'static DataFormat {
    let known = FORMATS.iter().rfind(|format| format.level <= level);
    known.unwrap_or(&FORMATS[0])
}

/// Returns the format with this number, or `None` if this release cannot read it.
pub(super) fn numbered(number: u32) -> Option<&'static DataFormat> {
    FORMATS.iter().find(|format| format.number == number)
}

/// Returns the format of a manifest with this first line, or `None` if this release cannot read it.
pub(super) fn titled(title: &str) -> Option<&'static DataFormat> {
    FORMATS.iter().find(|format| format.manifest_title == title)
}

/// Returns whether a readable format has this version of the frames of log entries.
pub(super) fn has_frame_version(version: u8) -> bool {
    FORMATS.iter().any(|format| format.frame_version == version)
}

/// Names the formats that this release can read, for an error: `format 4` or `formats 4, 5`.
pub(super) fn readable() -> String {
    let numbers: Vec<String> = FORMATS
        .iter()
        .map(|format| format.number.to_string())
        .collect();
    match numbers.as_slice() {
        [only] => format!("format {only}"),
        several => format!("formats {}", several.join(", ")),
    }
}

impl DataFormat {
    /// Returns the line of `identity` that names the first release, or nothing if the format has no such line.
    pub(super) fn release_line(&self) -> String {
        match self.number >= FIRST_WITH_RELEASE {
            true => format!("release {}\n", self.first_release),
            false => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use witan_machine::levels;

    use super::*;

    #[test]
    fn each_format_differs_from_the_others_in_all_numbers() {
        for pair in FORMATS.windows(2) {
            let [before, after] = pair else {
                panic!("a window has two formats");
            };
            assert!(before.number < after.number, "{after:?}");
            assert!(before.level < after.level, "{after:?}");
            assert_ne!(before.manifest_title, after.manifest_title);
            assert_ne!(before.frame_version, after.frame_version);
            assert_ne!(before.snapshot, after.snapshot);
        }
    }

    #[test]
    fn the_table_of_releases_names_the_format_of_each_level() {
        for row in levels::RELEASES {
            assert_eq!(row.format, format_of(row.level).number, "{row:?}");
        }
        assert_eq!(format_of(0), &FORMATS[0], "no member has a lower level");
    }
}

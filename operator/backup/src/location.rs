//! Locations of backups: `s3://BUCKET[/PREFIX]` or `file:///FOLDER`.

use std::{path::PathBuf, str::FromStr};

use object_store::path::Path;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Location {
    /// The keys of a bucket below this prefix, or all keys if the prefix is empty.
    Bucket {
        bucket: String,
        /// The prefix, without a leading or trailing slash.
        prefix: Path,
    },
    Folder(PathBuf),
}

impl FromStr for Location {
    type Err = String;

    /// Parses the URL of a location. Fails for any other scheme, an invalid bucket or prefix, a relative path, and the root.
    fn from_str(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text
            .split_once("://")
            .ok_or("a location is s3://BUCKET[/PREFIX] or file:///FOLDER")?;
        match scheme {
            "s3" => bucket(rest),
            "file" => folder(rest),
            other => Err(format!(
                "{other}:// is not supported: a location is s3://BUCKET[/PREFIX] or file:///FOLDER"
            )),
        }
    }
}

impl Location {
    /// Returns the location as a URL without a trailing slash.
    pub(crate) fn url(&self) -> String {
        match self {
            Self::Bucket { bucket, prefix } if prefix.as_ref().is_empty() => {
                format!("s3://{bucket}")
            }
            Self::Bucket { bucket, prefix } => format!("s3://{bucket}/{prefix}"),
            Self::Folder(folder) => format!("file://{}", folder.display()),
        }
    }
}

/// Parses `BUCKET[/PREFIX]`. Fails if the name of the bucket or the prefix is invalid.
fn bucket(rest: &str) -> Result<Location, String> {
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let allowed = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    if bucket.is_empty() || !bucket.chars().all(allowed) {
        return Err(format!("{bucket:?} is not a valid bucket name"));
    }
    let prefix = Path::parse(prefix).map_err(|error| format!("the prefix is invalid: {error}"))?;
    Ok(Location::Bucket { bucket: bucket.to_owned(), prefix })
}

/// Parses the path of a folder and removes trailing slashes. Fails for a relative path and for the root.
fn folder(rest: &str) -> Result<Location, String> {
    if !rest.starts_with('/') {
        return Err(format!(
            "file://{rest}: the directory must be an absolute path, as in file:///var/backups"
        ));
    }
    let folder = rest.trim_end_matches('/');
    if folder.is_empty() {
        return Err("file:///: the root of the file system cannot hold backups".to_owned());
    }
    Ok(Location::Folder(PathBuf::from(folder)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_urls() {
        let url = |text: &str| Location::from_str(text).map(|location| location.url());
        let sound = [
            ("s3://b", "s3://b"),
            ("s3://b/", "s3://b"),
            ("s3://my-bucket.x/a/b/", "s3://my-bucket.x/a/b"),
            ("file:///var/backups/", "file:///var/backups"),
            ("file:///a", "file:///a"),
        ];
        for (text, same) in sound {
            assert_eq!(url(text).as_deref(), Ok(same));
        }
        for wrong in [
            "",
            "b/a",
            "/var/backups",
            "file://var/backups",
            "file:///",
            "s3://",
            "s3:///a",
            "s3://b/a//b",
            "s3://b/../c",
            "s3://u:p@b/a",
            "gs://b/a",
        ] {
            assert!(url(wrong).is_err(), "{wrong}");
        }
    }
}

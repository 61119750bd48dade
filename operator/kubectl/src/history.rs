//! `history` lists the versions of a key, newest first, back to its creation or the last compaction. etcd does not store the
//! times of versions.

use serde::Serialize;
use witan_api::v3::mvccpb::KeyValue;

use super::{
    error::PluginError,
    keys::Keys,
    table::{Table, VALUE_CHARS, bytes, clipped, or_unknown},
};

/// Part of the server's error message about a compacted revision.
const COMPACTED: &str = "compacted";

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct History {
    key: String,
    versions: Vec<Version>,
    end: End,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    revision: i64,
    /// The number of puts since the creation of the key.
    version: i64,
    bytes: u64,
    /// The lease of the key, in hexadecimal.
    lease: Option<String>,
    /// The whole value; `None` if it is not UTF-8.
    value: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
enum End {
    /// The oldest version created the key. Versions before an earlier deletion are not listed.
    Created,
    Compacted,
    Limit,
}

/// Reads up to `limit` versions of a key (0 for all), newest first, starting at `revision` (`None` for the newest). Fails if the
/// key does not exist at that revision.
pub(super) async fn read(
    keys: &Keys,
    key: &[u8],
    revision: Option<i64>,
    limit: usize,
) -> Result<History, PluginError> {
    let (newest, at) = keys.get(key, revision.unwrap_or(0)).await?;
    let name = String::from_utf8_lossy(key).into_owned();
    let Some(mut next) = newest else {
        let at = revision.unwrap_or(at);
        return Err(words!(
            "key {name} does not exist at revision {at}; choose an earlier revision with --rev"
        ));
    };
    let mut versions = vec![version(&next)];
    let end = loop {
        if next.version <= 1 {
            break End::Created;
        }
        if versions.len() == limit {
            break End::Limit;
        }
        match keys.get(key, next.mod_revision - 1).await {
            Ok((Some(older), _)) => next = older,
            Ok((None, _)) => break End::Created,
            Err(error) if error.says(COMPACTED) => break End::Compacted,
            Err(error) => return Err(error.into()),
        }
        versions.push(version(&next));
    };
    Ok(History { key: name, versions, end })
}

/// Converts a key-value pair to a version. Keeps only a value that is UTF-8.
fn version(of: &KeyValue) -> Version {
    Version {
        revision: of.mod_revision,
        version: of.version,
        bytes: of.value.len() as u64,
        lease: (of.lease != 0).then(|| format!("{:x}", of.lease)),
        value: std::str::from_utf8(&of.value).ok().map(str::to_owned),
    }
}

/// Formats the versions as a table, followed by the reason why the list ends.
pub(super) fn text(history: &History) -> String {
    let mut table = Table::new(["REVISION", "VERSION", "SIZE", "LEASE", "VALUE"]);
    for version in &history.versions {
        let value = version.value.as_deref().unwrap_or("(binary)");
        table.row([
            version.revision.to_string(),
            version.version.to_string(),
            bytes(version.bytes),
            or_unknown(version.lease.clone()),
            clipped(value, VALUE_CHARS),
        ]);
    }
    let end = match history.end {
        End::Created => {
            "the oldest listed version created the key; versions before the last deletion are not listed"
        }
        End::Compacted => "older versions were compacted",
        End::Limit => "older versions are not shown; see --limit",
    };
    format!("{table}{end}\n")
}

#[cfg(test)]
mod tests {
    use super::{super::testing::golden, *};

    #[test]
    fn a_table_of_versions() {
        let kv = |mod_revision, version, lease, value: &'static [u8]| KeyValue {
            key: b"a".as_slice().into(),
            create_revision: 3,
            mod_revision,
            version,
            value: value.into(),
            lease,
        };
        let versions = [
            kv(1200, 3, 0, b"three"),
            kv(90, 2, 0x7b, b"two\nlines"),
            kv(3, 1, 0, b"\xff\xfe"),
        ];
        let long = version(&kv(4, 1, 0, &[b'a'; 2 * VALUE_CHARS]));
        let length = long.value.map(|value| value.len());
        assert_eq!(length, Some(2 * VALUE_CHARS), "for -o json");
        let history = History {
            key: "a".to_owned(),
            versions: versions.iter().map(version).collect(),
            end: End::Created,
        };
        golden("history.txt", &text(&history));
        let compacted = History { end: End::Compacted, ..history };
        assert!(text(&compacted).ends_with("older versions were compacted\n"));
    }
}

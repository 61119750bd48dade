//! Where backups are, and when they are taken.

use serde_json::{Map, Value, json};

use super::{
    fields::Fields,
    made::{Kind, Made},
    schema::{self, fits},
    values::{is_name, name, reference},
};

/// Bounds of the definition in seconds: an interval beyond them becomes the nearest one.
const CHANGES_MIN: u64 = 2;
const CHANGES_MAX: u64 = 3600;

/// Fields of a five-field schedule.
const CRON_FIELDS: usize = 5;

/// Intervals in seconds that a schedule of five fields keeps exactly.
const INTERVALS: [(u64, &str); 20] = [
    (60, "* * * * *"),
    (120, "*/2 * * * *"),
    (180, "*/3 * * * *"),
    (240, "*/4 * * * *"),
    (300, "*/5 * * * *"),
    (360, "*/6 * * * *"),
    (600, "*/10 * * * *"),
    (720, "*/12 * * * *"),
    (900, "*/15 * * * *"),
    (1200, "*/20 * * * *"),
    (1800, "*/30 * * * *"),
    (3600, "@hourly"),
    (7200, "0 */2 * * *"),
    (10_800, "0 */3 * * *"),
    (14_400, "0 */4 * * *"),
    (21_600, "0 */6 * * *"),
    (28_800, "0 */8 * * *"),
    (43_200, "0 */12 * * *"),
    (86_400, "@daily"),
    (604_800, "@weekly"),
];

/// Paths of the parts of a bucket.
pub(super) struct Bucket<'a> {
    pub(super) endpoint: &'a str,
    pub(super) region: &'a str,
    pub(super) path_style: &'a str,
    pub(super) secret: &'a str,
}

/// Makes an S3 store of a bucket and a prefix. `None` if one of its parts is not possible: a backup that went elsewhere
/// would be worse than none.
pub(super) fn s3(
    fields: &mut Fields,
    bucket: &str,
    prefix: &str,
    parts: &Bucket<'_>,
) -> Option<Value> {
    let mut store = Map::from_iter([("bucket".to_owned(), bucket.into())]);
    let prefix = prefix.trim_matches('/');
    let endpoint = fields.word(parts.endpoint);
    let region = fields.word(parts.region);
    let style = fields.switch(parts.path_style);
    let secret = name(fields, parts.secret);
    if !prefix.is_empty() {
        store.insert("prefix".to_owned(), prefix.into());
    }
    if let Some(endpoint) = endpoint {
        store.insert("endpoint".to_owned(), endpoint.into());
    }
    if let Some(region) = region {
        store.insert("region".to_owned(), region.into());
    }
    if style == Some(true) {
        store.insert("pathStyle".to_owned(), true.into());
    }
    if let Some(secret) = secret {
        store.insert("credentialsSecretRef".to_owned(), reference(&secret));
    }
    possible(json!({"s3": store}))
}

pub(super) fn volume(claim: &str, folder: &str) -> Option<Value> {
    let folder = folder.trim_matches('/');
    if !is_name(claim) {
        return None;
    }
    let mut store = json!({"claimName": claim});
    if !folder.is_empty() {
        store["prefix"] = folder.into();
    }
    possible(json!({"persistentVolumeClaim": store}))
}

fn possible(store: Value) -> Option<Value> {
    let checked = schema::check(Kind::Backup, "store", &store);
    checked.is_ok().then_some(store)
}

/// Begins a cluster from a snapshot, of which `found` are the store and the name; `false` without one.
pub(super) fn restore(made: &mut Made, found: Option<(Value, &str)>) -> bool {
    let Some((store, name)) = found else {
        return false;
    };
    made.set("bootstrap.restore.store", store);
    made.set("bootstrap.restore.name", name);
    true
}

/// Splits the key of a snapshot into its folder and its name; `None` if it cannot be restored by these.
pub(super) fn file(key: &str) -> Option<(&str, &str)> {
    let key = key.trim_matches('/');
    let (folder, name) = key.rsplit_once('/').unwrap_or(("", key));
    fits("bootstrap.restore.name", name).then_some((folder, name))
}

/// Returns the schedule of an interval, and whether it keeps it exactly; otherwise it is the next shorter one.
pub(super) fn every(seconds: u64) -> (&'static str, bool) {
    let mut found = INTERVALS
        .iter()
        .rev()
        .filter(|(length, _)| *length <= seconds);
    match found.next() {
        Some((length, schedule)) => (schedule, *length == seconds),
        None => ("* * * * *", false),
    }
}

fn schedule(fields: &mut Fields, path: &str) -> Option<String> {
    let text = fields.word(path)?;
    let five = text.split_whitespace().count() == CRON_FIELDS;
    let fits = schema::check(Kind::Schedule, "schedule", &text.as_str().into()).is_ok();
    if fits && (five || text.starts_with('@')) {
        return Some(text);
    }
    fields.refuse(
        path,
        format!("{text} has not the five fields of a schedule"),
    );
    None
}

/// Begins the EtcdBackupSchedule of a cluster, with the times at a path.
pub(super) fn schedule_of(fields: &mut Fields, cluster: &Made, path: &str, default: &str) -> Made {
    let mut made = cluster.dependent(Kind::Schedule, "-backup");
    made.set("clusterRef", reference(cluster.name()));
    let times = schedule(fields, path);
    made.set("schedule", times.unwrap_or_else(|| default.to_owned()));
    made
}

pub(super) fn keep_last(fields: &mut Fields, made: &mut Made, path: &str, number: i64) {
    made.put(fields, path, "retention.keepLast", Some(number));
}

pub(super) fn changes(made: &mut Made, seconds: u64) {
    made.set(
        "changes.everySeconds",
        seconds.clamp(CHANGES_MIN, CHANGES_MAX),
    );
}

pub(super) fn credentials(fields: &mut Fields, secret: &str, keys: &str) {
    fields.notes.by_hand(format!(
        "secret {secret}: it has {keys}; an EtcdBackup reads AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (docs/operating/kubernetes-backup.md)"
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_of_intervals() {
        assert_eq!(every(125), ("*/2 * * * *", false));
        assert_eq!(every(3600), ("@hourly", true));
        assert_eq!(every(5), ("* * * * *", false));
        assert_eq!(every(3 * 86_400), ("@daily", false));
    }

    #[test]
    fn parts_of_stores_are_those_of_the_schema() {
        for sound in ["", "a", "etcd.backup", "a/b_c/d-e", "/a/"] {
            assert!(volume("claim", sound).is_some(), "{sound}");
        }
        for wrong in ["a//b", ".a", "a/../b", "a b"] {
            assert_eq!(volume("claim", wrong), None, "{wrong}");
        }
        assert_eq!(file("/a/b/old.db"), Some(("a/b", "old.db")));
        assert_eq!(file("old.db"), Some(("", "old.db")));
        assert_eq!(file("a/ b.db"), None);
    }
}

//! `top` counts keys by prefix and estimates their size. Reads pages of keys without values and samples some values of each
//! prefix to estimate the sizes of the other values. Requests are paced and rows are bounded.

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval};
use witan_api::v3::mvccpb::KeyValue;

use super::{
    command::TopFlags,
    error::PluginError,
    keys::{Keys, REMEMBERED_MAX},
    output::{print_as, tell},
    table::{Table, bytes, counted},
    target::Target,
};

/// Maximum number of values to read for each prefix. The sizes of the other values are estimated from the mean.
const ROW_SAMPLES: u64 = 16;
/// Maximum number of values to read in total.
const SAMPLES: u64 = 500;
/// The name of the row for keys whose prefix is not counted separately.
const OTHERS: &str = "(others)";
const TELL: Duration = Duration::from_secs(5);

/// The number of keys by prefix and the sampled values.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct KeyCounts {
    keys: u64,
    sampled: u64,
    rows: BTreeMap<String, Row>,
    #[serde(skip)]
    sampled_bytes: u64,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    keys: u64,
    /// Total size of the keys, without values, in bytes.
    key_bytes: u64,
    newest_revision: i64,
    /// Number of sampled values. `sampled_bytes` is their total size.
    sampled: u64,
    sampled_bytes: u64,
}

/// Counts the keys with at most `--rate` requests per second, and prints the counts.
pub(super) async fn run(target: &Target, flags: &TopFlags) -> Result<(), PluginError> {
    let keys = Keys::open(target, &flags.cluster, &flags.members).await?;
    let mut pace = interval(Duration::from_secs(1) / u32::from(flags.rate));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut pages = keys.pages(flags.prefix.as_bytes(), None);
    let mut count = KeyCounts::default();
    let mut shown = Instant::now();
    loop {
        pace.tick().await;
        let page = pages.next().await?;
        if page.is_empty() {
            break;
        }
        for key in count.add(&page, flags) {
            pace.tick().await;
            // Skip a key that was deleted in the meantime.
            if let (Some(found), _) = keys.get(&key, 0).await? {
                count.sample(&found, flags);
            }
        }
        if shown.elapsed() >= TELL {
            shown = Instant::now();
            tell(&format!("{} keys so far", count.keys));
        }
    }
    print_as(flags.format.output, &count, |count| {
        count.table_text(flags.rows)
    })
}

impl KeyCounts {
    /// Adds a page of sorted keys. Returns the keys to sample: the middle key of each prefix that needs more samples.
    fn add(&mut self, page: &[KeyValue], flags: &TopFlags) -> Vec<Vec<u8>> {
        let mut wanted = Vec::new();
        let same = |a: &KeyValue, b: &KeyValue| {
            counted_prefix(&a.key, flags) == counted_prefix(&b.key, flags)
        };
        for run in page.chunk_by(same) {
            let Some(middle) = run.get(run.len() / 2) else {
                continue;
            };
            let row = self.row(&middle.key, flags);
            for kv in run {
                row.keys += 1;
                row.key_bytes += kv.key.len() as u64;
                row.newest_revision = row.newest_revision.max(kv.mod_revision);
            }
            let few = row.sampled < ROW_SAMPLES;
            self.keys += run.len() as u64;
            if few && self.sampled + (wanted.len() as u64) < SAMPLES {
                wanted.push(middle.key.to_vec());
            }
        }
        wanted
    }

    /// Adds the size of a sampled value to the totals and to the row of its key.
    fn sample(&mut self, found: &KeyValue, flags: &TopFlags) {
        let length = found.value.len() as u64;
        self.sampled += 1;
        self.sampled_bytes += length;
        let row = self.row(&found.key, flags);
        row.sampled += 1;
        row.sampled_bytes += length;
    }

    /// Returns the row for the prefix of a key, or the row [`OTHERS`] if there are already [`REMEMBERED_MAX`] rows.
    fn row(&mut self, key: &[u8], flags: &TopFlags) -> &mut Row {
        let mut name = counted_prefix(key, flags);
        if self.rows.len() >= REMEMBERED_MAX && !self.rows.contains_key(&name) {
            OTHERS.clone_into(&mut name);
        }
        self.rows.entry(name).or_default()
    }

    /// Returns the estimated size of the keys and values of a row, in bytes. Without samples of the row, uses the mean of all
    /// samples.
    fn estimated(&self, row: &Row) -> u64 {
        let (sampled, sampled_bytes) = if row.sampled > 0 {
            (row.sampled, row.sampled_bytes)
        } else {
            (self.sampled.max(1), self.sampled_bytes)
        };
        let values = u128::from(row.keys) * u128::from(sampled_bytes) / u128::from(sampled);
        row.key_bytes
            .saturating_add(u64::try_from(values).unwrap_or(u64::MAX))
    }

    /// Returns the table of the `rows` prefixes with the largest estimated size in bytes, a line about the remaining prefixes,
    /// if any, and the totals.
    fn table_text(&self, rows: usize) -> String {
        let mut all: Vec<_> = self.rows.iter().collect();
        all.sort_by_key(|(_, row)| std::cmp::Reverse(self.estimated(row)));
        let left = all.len().saturating_sub(rows);
        let left_keys: u64 = all.iter().skip(rows).map(|(_, row)| row.keys).sum();
        let mut table = Table::new(["PREFIX", "KEYS", "BYTES (ABOUT)", "NEWEST REVISION"]);
        for (name, row) in all.into_iter().take(rows) {
            table.row([
                name.clone(),
                row.keys.to_string(),
                bytes(self.estimated(row)),
                row.newest_revision.to_string(),
            ]);
        }
        let total = self.rows.values().map(|row| self.estimated(row));
        let total = bytes(total.fold(0, u64::saturating_add));
        let mut text = table.to_string();
        if left > 0 {
            text.push_str(&format!(
                "prefixes that are not shown: {left} (keys: {left_keys}); see --rows\n"
            ));
        }
        let (keys, values) = (counted(self.keys, "key"), counted(self.sampled, "value"));
        text.push_str(&format!(
            "{keys}, about {total}, estimated from {values}
"
        ));
        text
    }
}

/// Returns the prefix under which a key is counted: the flag's prefix and up to `depth` more segments, each with its trailing
/// slash. A slash directly after the flag's prefix does not end a segment. A last segment without a slash is not part of the
/// prefix.
fn counted_prefix(key: &[u8], flags: &TopFlags) -> String {
    let start = flags.prefix.len().min(key.len());
    let rest = &key[start..];
    let first = usize::from(rest.first() == Some(&b'/'));
    let slashes = rest
        .iter()
        .enumerate()
        .skip(first)
        .filter(|(_, byte)| **byte == b'/');
    let cut = slashes
        .map(|(at, _)| at + 1)
        .take(usize::from(flags.depth))
        .last();
    let cut = start + cut.unwrap_or(first);
    String::from_utf8_lossy(&key[..cut]).into_owned()
}

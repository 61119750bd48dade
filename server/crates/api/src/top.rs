//! The page `/debug/top`: the key prefixes with the most requests and watchers on one member. The member counts the requests
//! while the request for the page waits. The page shows no values. etcd has no such page.

use std::ops::{AddAssign, RangeInclusive};

use serde::{Deserialize, Serialize};

/// The path of the page.
pub const PATH: &str = "/debug/top";
/// Permitted durations of the count in seconds. A shorter count produces random results. During a longer count, the member
/// would refuse other requests for the page for too long.
pub const SECONDS: RangeInclusive<u64> = 1..=30;
/// Number of seconds for which requests are counted if the request specifies none.
pub const SECONDS_DEFAULT: u64 = 5;

/// The content of the page.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TopPage {
    /// Number of seconds for which requests were counted.
    pub seconds: f64,
    /// Prefixes, sorted by descending count.
    pub rows: Vec<TopRow>,
    /// Total counts of all prefixes without a row.
    pub others: TopCounts,
}

/// A prefix and the number of requests and watchers below it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TopRow {
    /// The key space of the prefix.
    pub key_space: KeySpace,
    /// The first segments of the keys' paths, as text.
    pub prefix: String,
    /// The counts below the prefix.
    #[serde(flatten)]
    pub counts: TopCounts,
}

/// A key space. v1 uses the v2 key space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeySpace {
    /// The v2 tree.
    V2,
    /// The v3 keys.
    V3,
}

/// Counts of requests and watchers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopCounts {
    /// Number of operations that read keys.
    pub reads: u64,
    /// Number of operations that put or delete keys.
    pub writes: u64,
    /// Number of open watchers.
    pub watchers: u64,
}

impl TopCounts {
    /// Returns the sum of all counts, by which rows are sorted.
    pub fn total(self) -> u64 {
        self.reads + self.writes + self.watchers
    }
}

impl AddAssign for TopCounts {
    fn add_assign(&mut self, other: Self) {
        self.reads += other.reads;
        self.writes += other.writes;
        self.watchers += other.watchers;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_flat_json() {
        let counts = TopCounts { reads: 1, writes: 2, watchers: 3 };
        let page = TopPage {
            seconds: 5.0,
            rows: vec![TopRow { key_space: KeySpace::V3, prefix: "/a/b/".into(), counts }],
            others: counts,
        };
        let json = serde_json::to_string(&page).unwrap();
        assert_eq!(
            json,
            r#"{"seconds":5.0,"rows":[{"keySpace":"v3","prefix":"/a/b/","reads":1,"writes":2,"watchers":3}],"others":{"reads":1,"writes":2,"watchers":3}}"#
        );
        assert_eq!(serde_json::from_str::<TopPage>(&json).unwrap(), page);
        assert_eq!(counts.total(), 6);
    }
}

//! Counts by prefix and client in bounded memory. Sums are exact. When there are too many rows, those with the smallest
//! counts are added to what else their clients do, so that what is large stays, whenever it begins.

use std::{
    cmp::Reverse,
    collections::{HashMap, hash_map::Entry},
};

use witan_api::top::{KeySpace, TopCounts, TopOthers, TopRow};
use witan_base::client_network::ClientNetwork;

/// Rows of a tally, and clients with other counts of their own; the counts of further ones are added up. A row
/// has some hundred bytes, so that the answer has less than 4 MiB.
const ROWS_MAX: usize = 2048;
/// Segments of a path that are a prefix: what objects of Kubernetes have before their namespace.
const SEGMENTS: usize = 2;
/// Bytes of a prefix; segments of the key that end later are left out. A key can have 2 MiB.
const PREFIX_BYTES_MAX: usize = 256;

/// See the module's description.
#[derive(Debug, Default)]
pub struct Tally {
    rows: HashMap<Row, TopCounts>,
    others: HashMap<Option<ClientNetwork>, TopCounts>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Row {
    key_space: KeySpace,
    prefix: Box<[u8]>,
    client: ClientNetwork,
}

impl Tally {
    /// Adds counts of a client below the prefix of a key.
    pub fn add(
        &mut self,
        client: ClientNetwork,
        key_space: KeySpace,
        key: &[u8],
        counts: TopCounts,
    ) {
        let prefix = prefix(key).into();
        self.add_row(Row { key_space, prefix, client }, counts);
    }

    /// Adds counts to a row. Above [`ROWS_MAX`] rows, keeps the half with the largest counts and sums up the rest by
    /// client, so that the memory is bounded.
    fn add_row(&mut self, row: Row, counts: TopCounts) {
        match self.rows.entry(row) {
            Entry::Occupied(mut known) => *known.get_mut() += counts,
            Entry::Vacant(new) => {
                new.insert(counts);
                if self.rows.len() > ROWS_MAX {
                    self.keep(ROWS_MAX / 2);
                }
            }
        }
    }

    fn add_other(&mut self, client: Option<ClientNetwork>, counts: TopCounts) {
        let own = self.others.len() < ROWS_MAX || self.others.contains_key(&client);
        let client = client.filter(|_| own);
        *self.others.entry(client).or_default() += counts;
    }

    /// Adds all that another tally has counted.
    pub fn merge(&mut self, other: Self) {
        for (row, counts) in other.rows {
            self.add_row(row, counts);
        }
        for (client, counts) in other.others {
            self.add_other(client, counts);
        }
    }

    /// Keeps the `rows` rows with the largest counts; adds up the others by client.
    fn keep(&mut self, rows: usize) {
        if self.rows.len() <= rows {
            return;
        }
        let mut all: Vec<_> = self.rows.drain().collect();
        all.select_nth_unstable_by_key(rows, |(_, counts)| Reverse(counts.total()));
        for (row, counts) in all.split_off(rows) {
            self.add_other(Some(row.client), counts);
        }
        self.rows.extend(all);
    }

    /// Returns the rows, those with the largest counts first, and the counts of all others that there were, summed up by
    /// client.
    pub fn into_rows(self) -> (Vec<TopRow>, Vec<TopOthers>) {
        let row = |(row, counts): (Row, TopCounts)| TopRow {
            key_space: row.key_space,
            prefix: String::from_utf8_lossy(&row.prefix).into_owned(),
            client: row.client.to_string(),
            counts,
        };
        let mut rows: Vec<_> = self.rows.into_iter().map(row).collect();
        rows.sort_by(|a, b| {
            let order = b.counts.total().cmp(&a.counts.total());
            let by_name =
                || (a.key_space, &a.prefix, &a.client).cmp(&(b.key_space, &b.prefix, &b.client));
            order.then_with(by_name)
        });
        let other = |(client, counts): (Option<ClientNetwork>, TopCounts)| TopOthers {
            client: client.map(|client| client.to_string()),
            counts,
        };
        let mut others: Vec<_> = self.others.into_iter().map(other).collect();
        others.sort_by(|a, b| {
            let order = b.counts.total().cmp(&a.counts.total());
            order.then_with(|| a.client.cmp(&b.client))
        });
        (rows, others)
    }
}

/// Returns the first segments of a key's path, with the slash behind them: those that end within [`PREFIX_BYTES_MAX`]. What
/// follows the last slash is not a segment.
fn prefix(key: &[u8]) -> &[u8] {
    let key = &key[..key.len().min(PREFIX_BYTES_MAX)];
    let first = usize::from(key.first() == Some(&b'/'));
    let slashes = key.iter().enumerate().skip(first);
    let ends = slashes.filter(|(_, byte)| **byte == b'/');
    let end = ends.take(SEGMENTS).last().map(|(at, _)| at + 1);
    &key[..end.unwrap_or(first)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(last: u16) -> ClientNetwork {
        let [high, low] = last.to_be_bytes();
        ClientNetwork::of(Some([10, 0, high, low].into()))
    }

    fn writes(writes: u64) -> TopCounts {
        TopCounts { writes, ..TopCounts::default() }
    }

    #[test]
    fn a_prefix_is_two_segments() {
        let long = ["/a/", &"b".repeat(PREFIX_BYTES_MAX), "/c"].concat();
        let fits = ["/a/", &"b".repeat(PREFIX_BYTES_MAX - 4), "/"].concat();
        let table = [
            ("/registry/pods/prod/web", "/registry/pods/"),
            ("/registry/ranges", "/registry/"),
            ("/registry", "/"),
            ("a/b/c", "a/b/"),
            ("plain", ""),
            ("", ""),
            ("//a", "//"),
            (&long, "/a/"),
            (&fits, &fits),
        ];
        for (key, expect) in table {
            assert_eq!(prefix(key.as_bytes()), expect.as_bytes(), "{key}");
        }
    }

    #[test]
    fn rows_are_of_a_key_space_a_prefix_and_a_client() {
        let mut tally = Tally::default();
        for (space, key, of, count) in [
            (KeySpace::V3, "/a/b/c", 1, 2),
            (KeySpace::V3, "/a/b/d", 1, 3),
            (KeySpace::V3, "/a/b/d", 2, 4),
            (KeySpace::V2, "/a/b/d", 1, 1),
            (KeySpace::V3, "/a/c/d", 1, 1),
        ] {
            tally.add(client(of), space, key.as_bytes(), writes(count));
        }
        tally.keep(3);
        let (rows, others) = tally.into_rows();
        let rows: Vec<_> = rows
            .iter()
            .map(|row| (row.key_space, &*row.prefix, &*row.client, row.counts.writes))
            .collect();
        let (one, two) = ("10.0.0.1", "10.0.0.2");
        assert_eq!(
            rows[..2],
            [
                (KeySpace::V3, "/a/b/", one, 5),
                (KeySpace::V3, "/a/b/", two, 4)
            ]
        );
        let rest = TopOthers { client: Some(one.into()), counts: writes(1) };
        assert_eq!((rows[2].3, others), (1, vec![rest]));
    }

    /// The most requested prefix begins after many prefixes that are asked for once, and goes on between others.
    #[test]
    fn memory_is_bounded_and_what_is_large_stays() {
        let mut tally = Tally::default();
        let key = |at: usize| format!("/{at}/k");
        for at in 0..100_000 {
            tally.add(client(1), KeySpace::V3, key(at).as_bytes(), writes(1));
            if at >= 50_000 && at % 100 == 0 {
                tally.add(client(2), KeySpace::V3, b"/hot/k", writes(1));
            }
            assert!(tally.rows.len() <= ROWS_MAX);
        }
        let (rows, others) = tally.into_rows();
        let hot = &rows[0];
        assert_eq!((&*hot.prefix, hot.counts.writes), ("/hot/", 500));
        let all = rows.iter().map(|row| row.counts);
        let all: TopCounts = all.chain(others.iter().map(|other| other.counts)).sum();
        assert!(rows.len() > ROWS_MAX / 2);
        assert_eq!(all.writes, 100_500);
        assert_eq!(others.len(), 1);
    }

    #[test]
    fn clients_are_bounded() {
        let mut tally = Tally::default();
        let clients = 3 * ROWS_MAX as u16;
        for of in 0..clients {
            tally.add(client(of), KeySpace::V3, b"/a/b/c", writes(1));
        }
        let mut both = Tally::default();
        both.add(client(clients), KeySpace::V3, b"/a/b/c", writes(2));
        both.merge(tally);
        both.keep(1);
        let (rows, others) = both.into_rows();
        assert_eq!((rows.len(), rows[0].counts), (1, writes(2)));
        // those of further clients may be among the first so many
        assert!((ROWS_MAX..=ROWS_MAX + 1).contains(&others.len()));
        assert_eq!(others[0].client, None);
        let all: TopCounts = others.iter().map(|other| other.counts).sum();
        assert_eq!(all.writes, u64::from(clients));
    }
}

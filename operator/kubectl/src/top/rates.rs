//! `top --rates`: which clients read, write and watch which keys. All members count their requests during the same seconds,
//! because each knows only its own clients.

#[cfg(test)]
mod tests;

use std::{cmp::Ordering, collections::BTreeMap, time::Duration};

use futures_util::future::join_all;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use witan_api::top::{KeySpace, PATH, TopCounts, TopPage, TopRow};
use witan_members::page::{PAGE_BYTES_MAX, PageError, get};

use super::OTHERS;
use crate::{
    PluginError,
    command::{By, TargetFlags, TopFlags},
    output::{print_as, tell},
    page,
    reach::Reach,
    table::{Table, UNKNOWN, clipped, counted},
};

/// How long a member may take in addition to the seconds of counting.
const PATIENCE: Duration = Duration::from_secs(15);
/// Characters of a name that are shown; longer names are cut.
const NAME_MAX: usize = 80;

#[derive(Debug, Default, Serialize, Deserialize)]
struct Rates {
    members: Vec<MemberRates>,
}

#[derive(Debug, Serialize, Deserialize)]
struct MemberRates {
    member: String,
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    page: Option<TopPage>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

pub(super) async fn run(target: &TargetFlags, flags: &TopFlags) -> Result<(), PluginError> {
    let (reach, _) = Reach::of(target, flags.cluster.as_deref(), &flags.members).await?;
    let seconds = flags.rates.seconds;
    tell(&format!("counting requests for {seconds} s"));
    let path = format!("{PATH}?seconds={seconds}");
    let patience = Duration::from_secs(seconds) + PATIENCE;
    let asked = reach.addresses.iter().map(async |address| {
        let got = get(&address.url(&path), Some(address), patience, PAGE_BYTES_MAX).await;
        let read = got.map_err(explain).and_then(|json| {
            serde_json::from_slice(&json)
                .map_err(|error| format!("its page is unreadable: {error}"))
        });
        let member = address.member.clone();
        match read {
            Ok(page) => MemberRates { member, page: Some(page), error: None },
            Err(error) => {
                let error = reach.forward_failure(&member).unwrap_or(error);
                MemberRates { member, page: None, error: Some(error) }
            }
        }
    });
    let rates = Rates { members: join_all(asked).await };
    if rates.members.iter().all(|member| member.page.is_none()) {
        let missing = rates.missing();
        return Err(words!("no member answered\n{}", missing.trim_end()));
    }
    print_as(flags.format.output, &rates, |rates| {
        rates.text(flags.rates.by, flags.rows)
    })
}

/// Returns an error as text for the user.
fn explain(error: PageError) -> String {
    match error {
        PageError::Status(StatusCode::NOT_FOUND, _) => {
            format!("it has no page {PATH}: its version is older than this plugin")
        }
        error @ (PageError::Status(..) | PageError::Failed(_)) => page::explain(error),
    }
}

/// Requests per second, and watchers.
#[derive(Debug, Clone, Copy, Default)]
struct Load {
    reads: f64,
    writes: f64,
    watchers: u64,
}

impl Load {
    fn of(counts: TopCounts, seconds: f64) -> Self {
        let a_second = |count: u64| count as f64 / seconds.max(f64::MIN_POSITIVE);
        Self {
            reads: a_second(counts.reads),
            writes: a_second(counts.writes),
            watchers: counts.watchers,
        }
    }

    fn add(&mut self, other: Self) {
        self.reads += other.reads;
        self.writes += other.writes;
        self.watchers += other.watchers;
    }

    /// Orders by requests, then by watchers.
    fn order(&self, other: &Self) -> Ordering {
        let requests = |load: &Self| load.reads + load.writes;
        let by_requests = requests(self).total_cmp(&requests(other));
        by_requests.then(self.watchers.cmp(&other.watchers))
    }
}

#[derive(Debug, Default)]
struct Group {
    all: Load,
    parts: BTreeMap<String, Load>,
}

impl Rates {
    /// Groups the rows by prefix or by client, busiest first.
    fn groups(&self, by: By) -> Vec<(String, Group)> {
        let mut groups: BTreeMap<String, Group> = BTreeMap::new();
        let mut add = |prefix: String, client: String, load: Load| {
            let (name, part) = match by {
                By::Prefix => (prefix, client),
                By::Client => (client, prefix),
            };
            let group = groups.entry(name).or_default();
            group.all.add(load);
            group.parts.entry(part).or_default().add(load);
        };
        for page in self.pages() {
            for row in &page.rows {
                let load = Load::of(row.counts, page.seconds);
                add(prefix(row), row.client.clone(), load);
            }
            for other in &page.others {
                let client = other.client.clone();
                let client = client.unwrap_or_else(|| OTHERS.to_owned());
                add(
                    OTHERS.to_owned(),
                    client,
                    Load::of(other.counts, page.seconds),
                );
            }
        }
        let mut groups: Vec<_> = groups.into_iter().collect();
        groups.sort_by(|(_, a), (_, b)| b.all.order(&a.all));
        groups
    }

    fn pages(&self) -> impl Iterator<Item = &TopPage> {
        self.members
            .iter()
            .filter_map(|member| member.page.as_ref())
    }

    fn text(&self, by: By, rows: usize) -> String {
        let groups = self.groups(by);
        let (name, part) = match by {
            By::Prefix => ("PREFIX", "BUSIEST CLIENT"),
            By::Client => ("CLIENT", "BUSIEST PREFIX"),
        };
        let mut table = Table::new([name, "READS/S", "WRITES/S", "WATCHERS", part]);
        for (name, group) in groups.iter().take(rows) {
            let busiest = group.parts.iter().max_by(|(_, a), (_, b)| a.order(b));
            table.row([
                clipped(name, NAME_MAX),
                rate(group.all.reads),
                rate(group.all.writes),
                group.all.watchers.to_string(),
                busiest.map_or_else(|| UNKNOWN.to_owned(), |(part, _)| clipped(part, NAME_MAX)),
            ]);
        }
        let mut text = table.to_string();
        if let Some(left) = groups.len().checked_sub(rows).filter(|left| *left > 0) {
            let thing = match by {
                By::Prefix => "further prefix",
                By::Client => "further client",
            };
            text.push_str(&format!("{}; see --rows\n", counted(left as u64, thing)));
        }
        text.push_str(&self.sums(&groups));
        text + &self.missing()
    }

    fn sums(&self, groups: &[(String, Group)]) -> String {
        let mut all = Load::default();
        groups.iter().for_each(|(_, group)| all.add(group.all));
        let longest = self.pages().map(|page| page.seconds);
        format!(
            "{} reads/s, {} writes/s, {}; {} counted for {:.0} s\n",
            rate(all.reads),
            rate(all.writes),
            counted(all.watchers, "watcher"),
            counted(self.pages().count() as u64, "member"),
            longest.fold(0.0, f64::max),
        )
    }

    fn missing(&self) -> String {
        let missing = self.members.iter().filter_map(|member| {
            let error = member.error.as_ref()?;
            Some(format!("without {}: {error}\n", member.member))
        });
        missing.collect()
    }
}

/// Returns the name of a row's prefix. The v2 keys are separate.
fn prefix(row: &TopRow) -> String {
    let prefix = if row.prefix.is_empty() {
        "\"\""
    } else {
        &row.prefix
    };
    match row.key_space {
        KeySpace::V3 => prefix.to_owned(),
        KeySpace::V2 => format!("{prefix} (v2)"),
    }
}

/// Formats a rate with about two significant digits.
fn rate(rate: f64) -> String {
    match rate {
        0.0 => "0".to_owned(),
        _ if rate < 1.0 => format!("{rate:.2}"),
        _ if rate < 100.0 => format!("{rate:.1}"),
        _ => format!("{rate:.0}"),
    }
}

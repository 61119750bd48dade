//! `top --rates`: shows which keys are read, written and watched. All members count their own clients during the same seconds.

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
    command::TopFlags,
    error::PluginError,
    output::{print_as, tell},
    page,
    reach::Reach,
    table::{Table, VALUE_CHARS, clipped, counted},
    target::Target,
};

/// How long a member may take to answer, in addition to the seconds of counting.
const PATIENCE: Duration = Duration::from_secs(15);

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

pub(super) async fn run(target: &Target, flags: &TopFlags) -> Result<(), PluginError> {
    let cluster = target.cluster(&flags.cluster).await?;
    let reach = Reach::open(target, &cluster, &flags.members).await?;
    let seconds = flags.rates.seconds;
    tell(&format!("counting requests for {seconds} s"));
    let path = format!("{PATH}?seconds={seconds}");
    let patience = Duration::from_secs(seconds) + PATIENCE;
    let asked = reach.addresses.iter().map(async |address| {
        let got = get(&address.url(&path), Some(address), patience, PAGE_BYTES_MAX).await;
        let read = got.map_err(explain).and_then(|json| {
            serde_json::from_slice(&json)
                .map_err(|error| format!("cannot parse its response: {error}"))
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
    print_as(flags.format.output, &rates, |rates| rates.text(flags.rows))
}

fn explain(error: PageError) -> String {
    match error {
        PageError::Status(StatusCode::NOT_FOUND, _) => {
            format!("it does not serve {PATH}, because its version is older than this plugin")
        }
        error @ (PageError::Status(..) | PageError::Failed(_)) => page::explain(error),
    }
}

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

    fn order(&self, other: &Self) -> Ordering {
        let requests = |load: &Self| load.reads + load.writes;
        let by_requests = requests(self).total_cmp(&requests(other));
        by_requests.then(self.watchers.cmp(&other.watchers))
    }
}

impl Rates {
    /// Returns the load of each prefix, in descending order of requests.
    fn prefixes(&self) -> Vec<(String, Load)> {
        let mut loads: BTreeMap<String, Load> = BTreeMap::new();
        for page in self.pages() {
            let others = (page.others.total() > 0).then(|| (OTHERS.to_owned(), page.others));
            let rows = page.rows.iter().map(|row| (prefix(row), row.counts));
            for (name, counts) in rows.chain(others) {
                let load = Load::of(counts, page.seconds);
                loads.entry(name).or_default().add(load);
            }
        }
        let mut loads: Vec<_> = loads.into_iter().collect();
        loads.sort_by(|(_, a), (_, b)| b.order(a));
        loads
    }

    fn pages(&self) -> impl Iterator<Item = &TopPage> {
        self.members
            .iter()
            .filter_map(|member| member.page.as_ref())
    }

    fn text(&self, rows: usize) -> String {
        let loads = self.prefixes();
        let mut table = Table::new(["PREFIX", "READS/S", "WRITES/S", "WATCHERS"]);
        for (name, load) in loads.iter().take(rows) {
            table.row([
                clipped(name, VALUE_CHARS),
                rate(load.reads),
                rate(load.writes),
                load.watchers.to_string(),
            ]);
        }
        let mut text = table.to_string();
        if let Some(left) = loads.len().checked_sub(rows).filter(|left| *left > 0) {
            let left = counted(left as u64, "further prefix");
            text.push_str(&format!("{left}; see --rows\n"));
        }
        text.push_str(&self.sums(&loads));
        text + &self.missing()
    }

    fn sums(&self, loads: &[(String, Load)]) -> String {
        let mut all = Load::default();
        loads.iter().for_each(|(_, load)| all.add(*load));
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

/// Returns the displayed prefix of a row: `""` if it is empty, with the suffix `(v2)` for v2 keys.
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

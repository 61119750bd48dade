//! Parses the output of `/metrics`.

use std::collections::{BTreeMap, BTreeSet};

use witan_e2e::Server;

#[derive(Debug, Default)]
pub(crate) struct Scrape {
    pub(crate) types: BTreeMap<String, String>,
    pub(crate) series: BTreeMap<String, f64>,
}

impl Scrape {
    pub(crate) fn value(&self, series: &str) -> f64 {
        let value = self.series.get(series);
        *value.unwrap_or_else(|| panic!("{series} is exposed"))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.samples(name).next().is_some()
    }

    fn samples<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let own = move |series: &&str| series.split('{').next() == Some(name);
        self.series.keys().map(String::as_str).filter(own)
    }

    /// Returns the name of the samples that have all labels of a family.
    pub(crate) fn sample(&self, family: &str) -> String {
        match self.types[family].as_str() {
            "histogram" => format!("{family}_bucket"),
            _ => family.to_owned(),
        }
    }

    pub(crate) fn labels(&self, name: &str) -> BTreeSet<String> {
        let labels = self.samples(name).flat_map(labels_of);
        labels.map(|(label, _)| label.to_owned()).collect()
    }

    pub(crate) fn values_of(&self, name: &str, label: &str) -> Vec<String> {
        let labels = self.samples(name).flat_map(labels_of);
        let labels = labels.filter(|(known, _)| *known == label);
        labels.map(|(_, value)| value.to_owned()).collect()
    }

    /// Returns the family of a series, without the suffix of a histogram or summary.
    fn family(&self, name: &str) -> String {
        for suffix in ["_bucket", "_sum", "_count"] {
            if let Some(base) = name.strip_suffix(suffix)
                && matches!(
                    self.types.get(base).map(String::as_str),
                    Some("histogram" | "summary")
                )
            {
                return base.into();
            }
        }
        name.into()
    }
}

/// Returns the names and values of a series' labels. No value here contains a comma.
fn labels_of(series: &str) -> impl Iterator<Item = (&str, &str)> {
    let (_, labels) = series.split_once('{').unwrap_or_default();
    let labels = labels.trim_end_matches('}').split(',');
    let pairs = labels.filter_map(|label| label.split_once('='));
    pairs.map(|(name, value)| (name, value.trim_matches('"')))
}

/// Parses a page. Panics if the format is invalid, for example a series without a type or a help text.
fn parse(text: &str) -> Scrape {
    assert!(text.ends_with('\n'), "the last line is complete");
    let mut scrape = Scrape::default();
    let mut helped = Vec::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest
                .split_once(' ')
                .unwrap_or_else(|| panic!("no help: {line}"));
            assert!(!help.trim().is_empty(), "no help: {line}");
            helped.push(name.to_owned());
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest
                .split_once(' ')
                .unwrap_or_else(|| panic!("no type: {line}"));
            let known = ["counter", "gauge", "histogram", "summary"].contains(&kind);
            assert!(known, "{line}");
            let before = scrape.types.insert(name.into(), kind.into());
            assert!(before.is_none(), "{name} comes twice");
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
            let number = match value {
                "+Inf" => f64::INFINITY,
                _ => value
                    .parse()
                    .unwrap_or_else(|_| panic!("no number: {line}")),
            };
            let name = series.split('{').next().expect("split gives one");
            let family = scrape.family(name);
            let typed = scrape.types.contains_key(&family);
            assert!(typed, "{name} has a type before it: {line}");
            assert!(helped.contains(&family), "{name} has a help before it");
            let labeled = series.len() > name.len();
            assert!(!labeled || series.ends_with('}'), "{line}");
            let before = scrape.series.insert(series.into(), number);
            assert!(before.is_none(), "{series} twice");
        }
    }
    scrape
}

pub(crate) fn scrape(server: &Server) -> Scrape {
    let answer = server.answers(200, "GET", "/metrics", "");
    let kind = answer.header("content-type").expect("a content type");
    assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
    parse(&answer.text())
}

//! Compares the types and labels in `docs/reference/metrics.md` with a running member. `tests/tidy/tests/documents.rs` checks
//! that the page names every series.

use std::{collections::BTreeMap, fs};

use witan_e2e::{Launch, binaries};

use super::scrape::scrape;

const SHOWN_MIN: usize = 70;

#[test]
fn the_page_has_types_and_labels() {
    let path = binaries::root().join("docs/reference/metrics.md");
    let page = fs::read_to_string(path).expect("the page is in the repository");
    // Maps names to types and labels.
    let rows: BTreeMap<&str, (&str, Vec<&str>)> = page
        .lines()
        .filter_map(|line| {
            let (name, rest) = line.strip_prefix("| `")?.split_once("` | ")?;
            let mut cells = rest.split(" | ");
            let kind = cells.next()?;
            let mut labels: Vec<&str> = cells.next()?.split('`').skip(1).step_by(2).collect();
            labels.sort_unstable();
            Some((name, (kind, labels)))
        })
        .collect();
    let server = Launch::witan().arg("--metrics=extensive").start();
    server.http("GET", "/readyz", "");
    server.http("PUT", "/v2/keys/absent", "value=1&prevExist=true");
    let scraped = scrape(&server);
    assert!(scraped.types.len() >= SHOWN_MIN, "{:?}", scraped.types);
    let mut wrong = Vec::new();
    for (name, kind) in &scraped.types {
        let labels = scraped.labels(&scraped.sample(name));
        let labels = labels.iter().map(String::as_str).filter(|l| *l != "le");
        let labels: Vec<&str> = labels.collect();
        let shown = (kind.as_str(), labels);
        if rows.get(name.as_str()) != Some(&shown) {
            let listed = rows.get(name.as_str());
            wrong.push(format!("{name} is {shown:?}, the page has {listed:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

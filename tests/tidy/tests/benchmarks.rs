//! The picture of the benchmarks shows the numbers of the tables, and each table has a command. What does *not* live here: the
//! measurement, which `tests/bench` makes.

use std::{collections::BTreeMap, process::Command};

use witan_tidy::{file, none, root};

/// Bars that the picture has at least, so that an empty one is none.
const BARS_MIN: usize = 20;

/// Rounding of widths in the picture.
const WIDTH_TOLERANCE: f64 = 0.1;

#[test]
fn picture_and_readme_are_drawn_from_the_tables() {
    let script = "tests/bench/plot";
    assert_eq!(
        check(script),
        None,
        "what {script} writes is as it writes it"
    );
}

#[test]
fn every_table_has_a_place_and_a_command() {
    let script = "tests/bench/tables";
    assert_eq!(
        check(script),
        None,
        "{script} and the page name the same tables"
    );
}

/// What a script finds wrong.
fn check(script: &str) -> Option<String> {
    let output = Command::new("python3")
        .arg(root().join(script))
        .arg("--check")
        .output()
        .expect("python3 reads the page");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (!output.status.success()).then(|| said.into_owned())
}

/// Does not trust the script: reads number and width of each bar out of the picture.
#[test]
fn bars_have_the_length_of_their_numbers() {
    let tables = file("docs/benchmarks.md").text;
    let picture = file("docs/benchmarks.svg").text;
    let servers = [
        ("Witan", "witan"),
        ("etcd 3.6", "etcd36"),
        ("etcd 3.4", "etcd34"),
    ];
    let mut wrong = Vec::new();
    // widths and numbers of each load and panel
    let mut groups: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    for bar in picture
        .lines()
        .filter(|line| line.starts_with("<rect x=") && line.contains("<title>"))
    {
        let width: f64 = between(bar, "width=\"", "\"").parse().expect("a width");
        let title = between(bar, "<title>", "</title>");
        let (who, what) = title.rsplit_once(": ").expect("a bar says who");
        let (load, server) = who.rsplit_once(", ").expect("a load and a server");
        let (number, unit) = what.split_once(' ').expect("a number with its unit");
        let (_, server) = servers
            .iter()
            .find(|(name, _)| *name == server)
            .expect("a known server");
        let cell = if unit == "requests/s" { 3 } else { 6 };
        let row = tables
            .lines()
            .find(|line| line.starts_with(&format!("| {load} | 64 | {server} |")));
        let stated = row.and_then(|row| row.trim_matches('|').split('|').nth(cell));
        if stated.map(str::trim) != Some(number) {
            wrong.push(format!("{title}: the table has {stated:?}"));
        }
        let value: f64 = number.parse().expect("a number");
        let group = groups.entry(format!("{load}, {unit}")).or_default();
        group.push((width, value));
    }
    assert!(
        groups.values().map(Vec::len).sum::<usize>() >= BARS_MIN,
        "{groups:?}"
    );
    for (name, bars) in &groups {
        let (longest, most) = bars.iter().fold((0.0, 0.0), |(w, v): (f64, f64), bar| {
            (w.max(bar.0), v.max(bar.1))
        });
        for (width, value) in bars {
            if (width - longest * value / most).abs() > WIDTH_TOLERANCE {
                wrong.push(format!(
                    "{name}: {value} is {width} wide, {most} is {longest}"
                ));
            }
        }
    }
    none("a bar of the picture has its number", &wrong);
}

fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let (_, rest) = text
        .split_once(from)
        .expect("the picture is written by tests/bench/plot");
    rest.split_once(to).expect("and whole").0
}

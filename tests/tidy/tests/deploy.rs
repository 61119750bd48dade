//! Checks that the sample configuration has existing flags, and that its listed defaults are correct.

use witan_tidy::{file, none};

const SAMPLE: &str = "deploy/witan.yaml";
const FLAGS: &str = "docs/reference/flags.md";

/// A section of the file with keys that are not flags.
const SECTION: &str = "client-transport-security";

/// Minimum number of keys in the sample. With fewer, the test did not read the sample.
const KEYS_MIN: usize = 20;

#[test]
fn the_sample_configuration_names_flags() {
    let flags = file(FLAGS).text;
    let sample = file(SAMPLE).text;
    let mut wrong = Vec::new();
    let mut keys = 0;
    for line in sample.lines() {
        let commented = line.starts_with('#');
        let Some((key, value)) = line.trim_start_matches(['#', ' ']).split_once(':') else {
            continue;
        };
        let is_key = !key.is_empty() && key.chars().all(|c| c == '-' || c.is_ascii_lowercase());
        if !is_key || key == SECTION || !(value.is_empty() || value.starts_with(' ')) {
            continue;
        }
        keys += 1;
        let plain = format!("| `--{key}` | ");
        let sectioned = format!("(in a file `{SECTION}.{key}`)");
        let Some(row) = flags
            .lines()
            .find(|row| row.starts_with(&plain) || row.contains(&sectioned))
        else {
            wrong.push(format!("{key} is not a flag"));
            continue;
        };
        let default = row
            .split(" | ")
            .nth(1)
            .unwrap_or_default()
            .trim_matches(['`', ' ']);
        let value = value.trim().trim_matches('"');
        if commented && row.starts_with(&plain) && !default.is_empty() && value != default {
            wrong.push(format!("{key} is {default} by default, not {value}"));
        }
    }
    assert!(keys >= KEYS_MIN, "the sample was read: {keys} keys");
    none("deploy/witan.yaml", &wrong);
}

/// The unit must start the program with existing flags and with the user and the directory of the sample.
#[test]
fn the_unit_fits_the_sample() {
    let unit = file("deploy/systemd/witan.service").text;
    let start = unit
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart="));
    assert_eq!(
        start,
        Some("/usr/local/bin/witan --config-file /etc/witan/witan.yaml")
    );
    assert!(
        unit.contains("\nStateDirectory=witan\n"),
        "systemd creates /var/lib/witan"
    );
    assert!(file(SAMPLE).text.contains("\ndata-dir: /var/lib/witan\n"));
}

/// By default, systemd starts a unit five times within ten seconds. The member would then stay down after a short outage.
#[test]
fn systemd_restarts_a_member_after_any_number_of_failures() {
    for path in ["deploy/systemd/witan.service", "deploy/etcd/etcd.service"] {
        let unit = file(path).text;
        let (head, service) = unit.split_once("\n[Service]\n").expect("two sections");
        assert!(service.contains("\nRestartSec=1s\n"), "{path}");
        assert!(head.ends_with("\nStartLimitIntervalSec=0\n"), "{path}");
    }
}

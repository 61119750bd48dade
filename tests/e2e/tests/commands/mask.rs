//! Masks the parts of an answer that no two servers share: addresses, ids, times, sizes.
//!
//! What does *not* live here: what is typed (`table`).

use witan_e2e::tool::Said;

/// After these words comes a time or a size, up to the next character that belongs to none.
const VARYING: [&str; 10] = [
    "remaining(",
    "\"ttl\":",
    "TTL(",
    " took = ",
    "\"took\":\"",
    "took: ",
    "\"dbSize\":",
    "\"dbSizeInUse\":",
    "\"raftIndex\":",
    "\"raftAppliedIndex\":",
];

/// Digits or hexadecimal digits from this length on are an id; hashes have up to ten.
const ID_LENGTH: usize = 11;

/// Exit code and both streams in one text.
pub(crate) fn said(said: &Said, address: &str) -> String {
    let stderr: String = said
        .stderr
        .lines()
        .filter(|line| !line.starts_with("{\"level\""))
        .map(|line| format!("{}\n", text(line, address)))
        .collect();
    let stdout = text(&said.stdout, address);
    format!(
        "exit {:?}\n--- stdout\n{stdout}\n--- stderr\n{stderr}",
        said.code
    )
}

/// The same text with masks.
fn text(text: &str, address: &str) -> String {
    let mut masked = text.replace(address, "CLIENT");
    for word in VARYING {
        masked = after(&masked, word);
    }
    ids(&masked)
}

fn after(text: &str, word: &str) -> String {
    let mut parts = text.split(word);
    let mut masked = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest =
            part.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || ".-µ".contains(c));
        masked.push_str(word);
        masked.push('#');
        masked.push_str(rest);
    }
    masked
}

fn ids(text: &str) -> String {
    let mut masked = String::new();
    let mut run = String::new();
    for c in text.chars().chain(['\n']) {
        if c.is_ascii_alphanumeric() {
            run.push(c);
            continue;
        }
        let id = run.len() >= ID_LENGTH && run.chars().all(|c| c.is_ascii_hexdigit());
        masked.push_str(if id { "ID" } else { &run });
        masked.push(c);
        run.clear();
    }
    masked
}

#[test]
fn masks_hide_what_varies_and_nothing_else() {
    let line = "lease 694d5765fc71500b granted with TTL(60s), remaining(59s) at 1.2.3.4:5 rev 7\n";
    assert_eq!(
        text(line, "1.2.3.4:5"),
        "lease ID granted with TTL(#), remaining(#) at CLIENT rev 7\n\n"
    );
    assert_eq!(
        text("is healthy: took = 1.2ms.", "x"),
        "is healthy: took = #\n"
    );
}

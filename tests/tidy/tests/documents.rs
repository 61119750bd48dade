//! Checks that documents name only existing files, flags, metrics and messages. `tests/e2e/tests/documents` runs their
//! commands.

use std::collections::{BTreeMap, BTreeSet};

use witan_tidy::{Source, file, files, none, root};

/// The page with all flags, which a test of the server keeps current.
const FLAGS: &str = "docs/reference/flags.md";

/// The page with all metrics of a member.
const METRICS: &str = "docs/reference/metrics.md";

/// The page with the operator's flags and metrics.
const OPERATOR: &str = "docs/reference/operator.md";

/// The file that registers the operator's metrics.
const OPERATOR_METRICS: &str = "operator/controller/src/metrics.rs";

/// Flags of other programs in documents, with the program.
const FOREIGN_FLAGS: [(&str, &str); 13] = [
    ("--all", "tests/run"),
    ("--bin", "cargo"),
    ("--bump-revision", "witan snapshot restore"),
    ("--changes", "witan snapshot restore"),
    ("--compare", "witan snapshot restore"),
    ("--endpoints", "witan gateway start"),
    ("--mark-compacted", "witan snapshot restore"),
    ("--remove-snapshot", "witan snapshot restore"),
    ("--retry-delay", "witan gateway start"),
    ("--rev", "etcdctl"),
    ("--skip-existing", "witan snapshot restore"),
    ("--skip-hash-check", "witan snapshot restore"),
    ("--timeout", "etcdutl"),
];

/// Prefixes of metric names.
const SERIES: [&str; 6] = [
    "etcd_",
    "witan_",
    "grpc_server_",
    "process_",
    "os_fd_",
    "promhttp_",
];

/// Suffixes that Prometheus adds to the name of a histogram.
const HISTOGRAM: [&str; 3] = ["_bucket", "_count", "_sum"];

/// Prefix of error messages for clients.
const MESSAGE: &str = "etcdserver: ";

fn documents() -> Vec<Source> {
    let mut documents = files();
    documents.retain(|file| {
        let leads = !file.path.contains('/') || file.path == "tests/README.md";
        file.path.ends_with(".md") && (leads || file.path.starts_with("docs/"))
    });
    assert!(documents.len() > 10, "the documents were found");
    documents
}

/// Returns the text outside of fenced blocks.
fn prose(document: &Source) -> String {
    let mut fenced = false;
    let mut text = String::new();
    for line in document.text.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

/// Returns the strings between backticks.
fn spans(prose: &str) -> impl Iterator<Item = &str> {
    prose.split('`').skip(1).step_by(2)
}

/// Returns the label and the target if a line defines a link: `[label]: target`.
fn definition(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix('[')?.split_once("]: ")
}

/// Returns the names in the first column of a page's tables.
fn rows(page: &str) -> BTreeSet<String> {
    let text = file(page).text;
    let names = text
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    names.map(str::to_owned).collect()
}

fn is_series(name: &str) -> bool {
    SERIES.iter().any(|series| name.starts_with(series))
}

/// Returns the names of series in the string literals of a source.
fn series_of(source: &str) -> impl Iterator<Item = String> {
    let is_name = |c: char| c == '_' || c.is_ascii_lowercase() || c.is_ascii_digit();
    let literals = source.split('"').skip(1).step_by(2);
    let names = literals.filter(move |literal| literal.chars().all(is_name) && is_series(literal));
    names.map(str::to_owned)
}

#[test]
fn named_paths_exist() {
    let tops: BTreeSet<String> = files()
        .iter()
        .filter_map(|file| file.path.split_once('/').map(|(top, _)| top.to_owned()))
        .collect();
    let mut missing = Vec::new();
    let mut found = 0;
    for document in documents() {
        for name in spans(&prose(&document)) {
            let path = name.split_whitespace().next().unwrap_or_default();
            let Some((top, _)) = path.split_once('/') else {
                continue;
            };
            if !tops.contains(top) || path.contains('*') {
                continue;
            }
            found += 1;
            if !root().join(path).exists() {
                missing.push(format!("{}: {path}", document.path));
            }
        }
    }
    assert!(found > 100, "the documents were read: {found}");
    none("a path in a document exists", &missing);
}

#[test]
fn links_lead_to_files() {
    let mut dead = Vec::new();
    let mut found = 0;
    for document in documents() {
        let folder = root().join(&document.path);
        let folder = folder.parent().expect("a document is in a folder");
        let prose = prose(&document);
        let inline = prose.split("](").skip(1);
        let inline = inline.filter_map(|link| link.split([')', '#']).next());
        let defined: BTreeMap<&str, &str> = prose.lines().filter_map(definition).collect();
        for target in inline.chain(defined.values().copied()) {
            if target.is_empty() || target.contains("://") {
                continue;
            }
            found += 1;
            if !folder.join(target).exists() {
                dead.push(format!("{}: {target}", document.path));
            }
        }
        let labels = prose
            .split('[')
            .skip(1)
            .filter_map(|link| link.split_once(']'));
        for (label, after) in labels.filter(|_| !defined.is_empty()) {
            if !after.starts_with('(') && !defined.contains_key(label) {
                dead.push(format!("{}: [{label}] has no target", document.path));
            }
        }
    }
    assert!(found > 10, "the links were read: {found}");
    none("a link leads to a file", &dead);
}

#[test]
fn named_flags_exist() {
    let mut flags = rows(FLAGS);
    assert!(flags.len() > 100, "{FLAGS} was read");
    flags.extend(rows(OPERATOR));
    let mut unknown = Vec::new();
    let mut unused: BTreeSet<&str> = FOREIGN_FLAGS.iter().map(|(name, _)| *name).collect();
    for document in documents() {
        for span in spans(&prose(&document)) {
            let name = span.split(['=', ' ']).next().unwrap_or_default();
            let is_flag = name
                .strip_prefix("--")
                .is_some_and(|rest| rest.starts_with(char::is_alphabetic));
            if is_flag && !flags.contains(name) && !FOREIGN_FLAGS.iter().any(|(f, _)| *f == name) {
                unknown.push(format!("{}: {name}", document.path));
            }
            unused.remove(name);
        }
    }
    none(
        "a flag that a document names is witan's or witan-operator's, or listed",
        &unknown,
    );
    assert!(
        unused.is_empty(),
        "listed but not in any document: {unused:?}"
    );
}

#[test]
fn named_metrics_exist() {
    let mut metrics = rows(METRICS);
    assert!(metrics.len() > 50, "{METRICS} was read");
    metrics.extend(rows(OPERATOR));
    let manifests = files().into_iter();
    let manifests = manifests.filter(|file| file.path.ends_with("/Cargo.toml"));
    let names = |file: Source| Some(file.text.split('"').nth(1)?.replace('-', "_"));
    let crates: BTreeSet<String> = manifests.filter_map(names).collect();
    let mut unknown = Vec::new();
    for document in documents()
        .iter()
        .filter(|document| document.path != METRICS)
    {
        // Queries and alerts are in fenced blocks.
        for word in document
            .text
            .split(|c: char| c != '_' && !c.is_ascii_alphanumeric())
        {
            let series = is_series(word) && !crates.contains(word);
            let family = HISTOGRAM.iter().find_map(|end| word.strip_suffix(end));
            let known = |name: &str| metrics.contains(name);
            if series && !known(word) && !family.is_some_and(known) {
                unknown.push(format!("{}: {word}", document.path));
            }
        }
    }
    none(
        "a metric that a document names is in docs/reference/metrics.md or operator.md",
        &unknown,
    );
}

/// The page and the program must have the same series. An end-to-end test compares types and labels.
#[test]
fn the_page_of_metrics_is_complete() {
    let listed = rows(METRICS);
    let mut sources = files();
    sources.retain(|file| file.path.starts_with("server/") && file.path.ends_with(".rs"));
    let named: BTreeSet<String> = sources
        .iter()
        .flat_map(|file| series_of(&file.text))
        .collect();
    let differ = listed.symmetric_difference(&named);
    let differ: Vec<String> = differ.cloned().collect();
    none(
        "docs/reference/metrics.md lists the metrics of the server",
        &differ,
    );
}

/// The operator's page must have exactly the series of its program.
#[test]
fn the_page_of_the_operator_is_complete() {
    let page = prose(&file(OPERATOR));
    let listed = spans(&page).filter(|span| is_series(span));
    let listed: BTreeSet<String> = listed.map(str::to_owned).collect();
    let named: BTreeSet<String> = series_of(&file(OPERATOR_METRICS).text).collect();
    assert!(named.len() > 15, "{OPERATOR_METRICS} was read: {named:?}");
    let differ: Vec<String> = listed.symmetric_difference(&named).cloned().collect();
    none(
        "docs/reference/operator.md names the metrics of operator/controller/src/metrics.rs",
        &differ,
    );
}

#[test]
fn named_messages_exist() {
    let sources: Vec<Source> = files();
    let in_source = |message: &str| {
        let code = |file: &&Source| file.path.ends_with(".rs");
        sources
            .iter()
            .filter(code)
            .any(|file| file.text.contains(message))
    };
    let mut unknown = Vec::new();
    for document in documents() {
        for span in spans(&prose(&document)).filter(|span| span.starts_with(MESSAGE)) {
            if !in_source(span) {
                unknown.push(format!("{}: {span}", document.path));
            }
        }
    }
    none("a message that a document quotes is in the code", &unknown);
}

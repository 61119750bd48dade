//! Runs the shell commands of `README.md`, `docs/start` and `docs/operating` on a real member. Each document is one session,
//! whose blocks run from top to bottom.
//!
//! `tests/tidy/tests/documents.rs` checks names in prose (flags, metrics, paths).
//!
//! Reading order: `markdown` (blocks and their marks) → `session` (running them) → this file.

mod markdown;
mod session;

use std::{fs, path::PathBuf, thread};

use witan_e2e::binaries;

const FOLDERS: [&str; 2] = ["docs/start", "docs/operating"];

fn pages() -> Vec<(String, String)> {
    let root = binaries::root();
    let folder = |folder: &&str| fs::read_dir(root.join(folder)).expect("the folder is there");
    let found = FOLDERS.iter().flat_map(folder);
    let found = found.map(|entry| entry.expect("the folder is readable").path());
    let mut paths: Vec<PathBuf> = found
        .filter(|path| path.extension().is_some_and(|end| end == "md"))
        .collect();
    paths.push(root.join("README.md"));
    paths.sort();
    let page = |path: &PathBuf| {
        let name = path.strip_prefix(&root).expect("pages are below the root");
        let text = fs::read_to_string(path).expect("a page is text");
        (name.display().to_string(), text)
    };
    paths.iter().map(page).collect()
}

fn run(name: &str, text: &str) -> Result<(), String> {
    session::run(name, &markdown::blocks(text)?)
}

#[test]
fn commands_of_documents_run() {
    let pages = pages();
    let wrong: Vec<String> = thread::scope(|scope| {
        let run =
            |(name, text): &(String, String)| run(name, text).map_err(|e| format!("{name}: {e}"));
        let sessions = pages.iter().map(|page| scope.spawn(move || run(page)));
        let sessions: Vec<_> = sessions.collect();
        let ended = sessions
            .into_iter()
            .map(|session| session.join().expect("a session reports"));
        ended.filter_map(Result::err).collect()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// Each of these pages has one mistake, which the runner must detect.
#[test]
fn a_wrong_command_fails() {
    let server = "<!-- run: server -->\n```sh\nwitan --data-dir data\n```\n";
    let wrong = [
        ("```sh\netcdctl gett x\n```", "gett"),
        ("```sh\ncurl http://localhost:2379/v2/nowhere\n```", "404"),
        (
            "```sh\ncurl http://localhost:2379/v2/keys/absent &\n```",
            "404",
        ),
        ("```sh\nfalse | cat\n```", "page:5"),
        ("```sh\necho $UNSET_VARIABLE\n```", "UNSET_VARIABLE"),
        (
            "```sh\necho one\n```\n\n<!-- output -->\n```text\ntwo\n```",
            "two",
        ),
        (
            "<!-- fails with: something -->\n```sh\ntrue\n```",
            "succeeded",
        ),
        (
            "<!-- fails with: something -->\n```sh\necho $UNSET_VARIABLE\n```",
            "without printing",
        ),
        (
            "<!-- run: server -->\n```sh\nwitan --no-such-flag\n```",
            "no-such-flag",
        ),
    ];
    thread::scope(|scope| {
        for (block, part) in wrong {
            scope.spawn(move || {
                let said = run("page", &format!("{server}{block}\n")).expect_err(block);
                assert!(said.contains(part), "{block}: {said}");
            });
        }
    });
    for text in [
        "```\nls\n```",
        "text\n\n    ls\n",
        "<!-- not run: -->\n```sh\nls\n```",
        "```sh\nls\n",
    ] {
        assert!(markdown::blocks(text).is_err(), "{text}");
    }
}

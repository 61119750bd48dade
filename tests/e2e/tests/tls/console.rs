//! The console's files and their headers, which a flag enables. `tests/console` tests the page in a browser.

use std::collections::BTreeMap;

use witan_e2e::{Launch, Server, http::Response};

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Texts that no file may contain: functions that create markup or code from text, uses of the browser's storage, and other
/// hosts.
const BANNED: [&str; 12] = [
    "innerHTML",
    "outerHTML",
    "insertAdjacentHTML",
    "document.write",
    "DOMParser",
    "eval(",
    "new Function",
    "javascript:",
    "localStorage",
    "sessionStorage",
    "http://",
    "https://",
];

/// The name of a namespace. Nothing is loaded from it.
const SVG: &str = "xmlns=\"http://www.w3.org/2000/svg\"";

/// Returns the names that a file refers to: attributes of HTML, imports of scripts.
fn references(text: &str) -> Vec<&str> {
    let after = |mark: &'static str| {
        text.split(mark)
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .filter(|name| !name.starts_with('#'))
    };
    let attributes = ["href=\"", "src=\""].into_iter().flat_map(after);
    attributes.chain(after("from \"./")).collect()
}

/// Returns all files of the console that the page refers to, directly or indirectly, by name.
fn crawl(server: &Server) -> BTreeMap<String, Response> {
    let mut found = BTreeMap::new();
    let mut wanted = vec![String::new()];
    while let Some(name) = wanted.pop() {
        if found.contains_key(&name) {
            continue;
        }
        let answer = server.http("GET", &format!("/console/{name}"), "");
        assert_eq!(answer.status, 200, "{name}");
        wanted.extend(references(&answer.text()).into_iter().map(str::to_owned));
        found.insert(name, answer);
    }
    found
}

#[test]
fn a_flag_enables_the_console() {
    let paths = ["/console", "/console/", "/console/console.js"];
    let server = Launch::witan().start();
    let unknown = server.http("GET", "/unknown", "");
    for path in paths {
        let answer = server.http("GET", path, "");
        let seen = (answer.status, answer.text());
        assert_eq!(seen, (404, unknown.text()), "{path}");
    }
    let server = Launch::witan().arg("--enable-console").start();
    let statuses = paths.map(|path| server.http("GET", path, "").status);
    assert_eq!(statuses, [307, 200, 200]);
    let location = server.http("GET", "/console", "");
    assert_eq!(location.header("location"), Some("console/"));
}

#[test]
fn every_file_of_the_console_is_served_and_harmless() {
    let server = Launch::witan().arg("--enable-console").start();
    let files = crawl(&server);
    assert!(files.len() > 20, "{:?}", files.keys());
    for (name, file) in &files {
        let media_type = match name.rsplit_once('.').map_or("html", |(_, end)| end) {
            "html" => "text/html; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "js" => "text/javascript; charset=utf-8",
            "svg" => "image/svg+xml",
            other => panic!("{other}"),
        };
        for (header, expect) in [
            ("content-type", media_type),
            ("content-security-policy", POLICY),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-cache"),
        ] {
            assert_eq!(file.header(header), Some(expect), "{name}");
        }
        let text = file.text().replace(SVG, "");
        for word in BANNED {
            assert!(!text.contains(word), "{name} has {word}");
        }
    }
    // The content security policy refuses handlers and styles in the markup.
    let page = files[""].text();
    for word in [" on", " style", "<style"] {
        let found = page.split(word).skip(1).any(|rest| {
            rest.trim_start_matches(char::is_alphabetic)
                .starts_with('=')
        });
        assert!(!found, "the page has {word}");
    }
    assert!(!page.contains("<script>"), "the page has an inline script");
}

#[test]
fn a_file_of_the_console_is_sent_once() {
    let server = Launch::witan().arg("--enable-console").start();
    let path = "/console/console.js";
    let whole = server.http("GET", path, "");
    let tag = whole.header("etag").unwrap();
    let known = server.http_with(&[("If-None-Match", tag)], "GET", path, "");
    assert_eq!((known.status, known.body.len()), (304, 0));
    assert_eq!(known.header("etag"), Some(tag));
    assert_eq!(known.header("content-security-policy"), Some(POLICY));
    let other = server.http_with(&[("If-None-Match", "\"other\"")], "GET", path, "");
    assert_eq!(other.body, whole.body);
    let style = server.http("GET", "/console/console.css", "");
    assert_ne!(style.header("etag"), Some(tag));

    let head = server.http("HEAD", path, "");
    assert_eq!((head.status, head.body.len()), (200, 0));
    let length = whole.body.len().to_string();
    assert_eq!(head.header("content-length"), Some(length.as_str()));
    assert_eq!(head.header("etag"), Some(tag));

    for unknown in [
        "nothing.js",
        "../console.js",
        "%2e%2e/lib.rs",
        "console.js/",
        "CONSOLE.JS",
    ] {
        let answer = server.http("GET", &format!("/console/{unknown}"), "");
        assert_eq!(answer.status, 404, "{unknown}");
    }
    for method in ["POST", "PUT", "DELETE"] {
        let refused = server.http(method, path, "");
        assert_eq!(refused.status, 405, "{method}");
        assert_eq!(refused.header("allow"), Some("GET, HEAD"));
    }
}

//! Serves the console, a web page below `/console/`, whose files are part of the program. The page itself is in `assets`; start
//! reading at `assets/console.js`.
//!
//! Not here: data. The page calls the member's APIs like any other client, with the rights of its user, so these files are the
//! same for everybody and reveal nothing about the cluster.

use std::hash::{DefaultHasher, Hasher as _};

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    http::header::{
        CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH,
        LOCATION, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    },
};
use witan_dialect::reply;

/// Path of the page. Its files are below.
const BASE: &[u8] = b"/console/";

/// The page's content security policy: it can load its own files and call the member that serves it, and cannot be framed.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// A file of the page.
#[derive(Clone, Copy, Debug)]
struct Asset {
    name: &'static str,
    media_type: &'static str,
    text: &'static str,
}

macro_rules! assets {
    ($($name:literal $media_type:ident;)+) => {
        &[$(Asset {
            name: $name,
            media_type: $media_type,
            text: include_str!(concat!("../assets/", $name)),
        },)+]
    };
}

const ASSETS: &[Asset] = assets! {
    "index.html" HTML;
    "console.css" CSS;
    "icon.svg" SVG;
    "console.js" SCRIPT;
    "alarms.js" SCRIPT;
    "api.js" SCRIPT;
    "bytes.js" SCRIPT;
    "cluster.js" SCRIPT;
    "diff.js" SCRIPT;
    "discovery.js" SCRIPT;
    "dom.js" SCRIPT;
    "drawing.js" SCRIPT;
    "edit.js" SCRIPT;
    "history.js" SCRIPT;
    "key.js" SCRIPT;
    "keys.js" SCRIPT;
    "leases.js" SCRIPT;
    "metrics.js" SCRIPT;
    "poll.js" SCRIPT;
    "users.js" SCRIPT;
    "v2keys.js" SCRIPT;
    "v3list.js" SCRIPT;
    "values.js" SCRIPT;
    "watch.js" SCRIPT;
};

/// Answers a request for a cleaned path at or below `/console`.
pub fn handle(request: &HttpRequest, path: &[u8]) -> HttpResponse {
    if !reply::allows(request, "GET,HEAD") {
        return reply::method_not_allowed(Some("GET, HEAD"));
    }
    let Some(name) = path.strip_prefix(BASE) else {
        // the page refers to its files by relative paths
        return HttpResponse::TemporaryRedirect()
            .insert_header((LOCATION, "/console/"))
            .finish();
    };
    let name: &[u8] = if name.is_empty() { b"index.html" } else { name };
    match ASSETS.iter().find(|asset| asset.name.as_bytes() == name) {
        Some(asset) => asset.answer(request),
        None => reply::not_found(),
    }
}

impl Asset {
    /// Returns the entity tag, a hash of the text, so that browsers reload the file when a release has changed it.
    fn tag(&self) -> String {
        // an unkeyed hasher, so that all members of a release answer alike
        let mut hasher = DefaultHasher::new();
        hasher.write(self.text.as_bytes());
        format!("\"{:016x}\"", hasher.finish())
    }

    /// Answers with the file, or with 304 if the browser has it.
    fn answer(&self, request: &HttpRequest) -> HttpResponse {
        let tag = self.tag();
        let known = request.headers().get_all(IF_NONE_MATCH);
        if known.into_iter().any(|known| names(known, tag.as_bytes())) {
            return guarded(HttpResponse::NotModified())
                .insert_header((ETAG, tag))
                .finish();
        }
        guarded(HttpResponse::Ok())
            .insert_header((CONTENT_TYPE, self.media_type))
            .insert_header((ETAG, tag))
            .body(self.text)
    }
}

/// Returns whether an `If-None-Match` lists a tag, which a proxy may have marked as weak.
fn names(known: &HeaderValue, tag: &[u8]) -> bool {
    known.as_bytes().split(|byte| *byte == b',').any(|one| {
        let one = one.trim_ascii();
        one == b"*" || one.strip_prefix(b"W/").unwrap_or(one) == tag
    })
}

/// Adds the headers that all files have. A browser can cache them but must revalidate each time, so that the page and its
/// scripts are of one release.
fn guarded(mut response: HttpResponseBuilder) -> HttpResponseBuilder {
    response
        .insert_header((CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((REFERRER_POLICY, "no-referrer"))
        .insert_header((CACHE_CONTROL, "no-cache"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_found_in_a_list() {
        let table = [
            ("\"a\"", true),
            ("W/\"a\"", true),
            ("\"b\", \"a\"", true),
            ("*", true),
            ("\"b\"", false),
            ("a", false),
            ("", false),
        ];
        for (known, expect) in table {
            let header = HeaderValue::from_static(known);
            assert_eq!(names(&header, b"\"a\""), expect, "{known}");
        }
    }

    #[test]
    fn every_file_of_the_folder_is_served() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/assets");
        for file in std::fs::read_dir(folder).unwrap() {
            let name = file.unwrap().file_name();
            assert!(
                ASSETS.iter().any(|asset| name == asset.name),
                "{} is not listed",
                name.display()
            );
        }
    }
}

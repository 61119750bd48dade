//! Serves the console, a web page at `/console/`, from files that are compiled into the program. Start reading at
//! `assets/console.js`.
//!
//! The files contain no data and are the same for all users. The page calls the member's APIs with its user's permissions.

use std::hash::{DefaultHasher, Hasher as _};

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    http::header::{
        CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH,
        LOCATION, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    },
};
use witan_dialect::reply;

/// Path of the page and prefix of its files.
const BASE: &[u8] = b"/console/";

/// The content security policy: the page loads its own files, calls only its own member, and cannot be framed.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

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

/// Answers a request for a cleaned path at or below `/console`. `/console` redirects to the page. The response is 404 for an
/// unknown file, and 405 for a method other than GET and HEAD.
pub fn handle(request: &HttpRequest, path: &[u8]) -> HttpResponse {
    if !reply::allows(request, "GET,HEAD") {
        return reply::method_not_allowed(Some("GET, HEAD"));
    }
    let Some(name) = path.strip_prefix(BASE) else {
        // The page refers to its files by relative paths. A relative location keeps the prefix that a proxy adds.
        return HttpResponse::TemporaryRedirect()
            .insert_header((LOCATION, "console/"))
            .finish();
    };
    let name: &[u8] = if name.is_empty() { b"index.html" } else { name };
    match ASSETS.iter().find(|asset| asset.name.as_bytes() == name) {
        Some(asset) => asset.answer(request),
        None => reply::not_found(),
    }
}

impl Asset {
    /// Returns the entity tag, a hash of the text. The tag makes browsers reload a file that a release has changed.
    fn tag(&self) -> String {
        // An unkeyed hasher gives all members of a release the same tags.
        let mut hasher = DefaultHasher::new();
        hasher.write(self.text.as_bytes());
        format!("\"{:016x}\"", hasher.finish())
    }

    /// Answers with the file. If the browser has this version, answers with 304.
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

/// Returns whether an `If-None-Match` header is `*` or lists `tag`, possibly marked as weak by a proxy.
fn names(known: &HeaderValue, tag: &[u8]) -> bool {
    known.as_bytes().split(|byte| *byte == b',').any(|one| {
        let one = one.trim_ascii();
        one == b"*" || one.strip_prefix(b"W/").unwrap_or(one) == tag
    })
}

/// Adds the headers that all files have. Browsers must revalidate, so that the page and its scripts belong to one release.
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
}

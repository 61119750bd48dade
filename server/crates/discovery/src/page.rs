//! The HTML page of a token: registered members, the number of missing members, and the next steps. The page contains no
//! scripts, and all strings from members are escaped.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{
        CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, VARY,
        X_CONTENT_TYPE_OPTIONS,
    },
};
use witan_dialect::reply;
use witan_gocompat::text;
use witan_tree::Node;

use super::{REGISTRATION_BYTES_MAX, SIZE_MAX};

const STYLE: &str = "body{font-family:sans-serif;margin:2em;max-width:60em}\
                     table{border-collapse:collapse}\
                     td,th{border:1px solid #999;padding:.3em .6em;text-align:left}";

/// Responds with the page, with headers that keep the token secret and forbid scripts. For the other parameters, see `html`.
pub(super) fn answer(
    request: &HttpRequest,
    url: Option<&str>,
    token_size: Option<u64>,
    directory: &Node,
) -> HttpResponse {
    let page = html(url, token_size, directory);
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/html; charset=utf-8"))
        // The token is a secret, so no cache may store the page, and no other site may receive its URL.
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((REFERRER_POLICY, "no-referrer"))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
        ))
        .insert_header((VARY, "Accept"))
        .body(reply::framed(request, page.into_bytes()))
}

/// Renders the page. The registrations are in order of creation; registrations beyond the size are marked as surplus. Each
/// missing member has a row, up to `SIZE_MAX`. `url` is the value for `--discovery`, or `None` if the host is unknown.
/// `token_size` is `None` if the token has no valid size. `directory` contains the registrations.
fn html(url: Option<&str>, token_size: Option<u64>, directory: &Node) -> String {
    let mut members: Vec<&Node> = directory.nodes.iter().flatten().collect();
    // The members that registered first form the cluster.
    members.sort_by_key(|node| node.created);
    let size = token_size.unwrap_or(0);
    let registered = (members.len() as u64).min(size);
    let summary = match (token_size, size - registered) {
        (None, _) => "This token has no size, so members cannot use it.".to_owned(),
        (Some(_), 0) => format!("{size} of {size} members have registered."),
        (Some(_), missing) => {
            format!("{registered} of {size} members have registered, {missing} missing.")
        }
    };
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\">\
         <title>{summary}</title><style>{STYLE}</style></head>\n<body>\n\
         <h1>Cluster discovery</h1>\n<p>{summary}</p>\n\
         <table>\n<tr><th></th><th>Name</th><th>Peer URLs</th><th>Member ID</th></tr>\n"
    );
    for (at, node) in (1_u64..).zip(&members) {
        let number = if at <= size {
            at.to_string()
        } else {
            "not a member: the cluster is full".to_owned()
        };
        let (name, urls) = registration(node);
        let id = node.path.rsplit(|byte| *byte == b'/').next();
        let id = escape(&String::from_utf8_lossy(id.unwrap_or_default()));
        out += &format!("<tr><td>{number}</td><td>{name}</td><td>{urls}</td><td>{id}</td></tr>\n");
    }
    // A v2 client can write any number as the size, so the number of rows is limited.
    for at in registered + 1..=size.min(SIZE_MAX) {
        out += &format!("<tr><td>{at}</td><td colspan=\"3\">missing</td></tr>\n");
    }
    out.push_str("</table>\n");
    if let Some(url) = url.filter(|_| registered < size) {
        let url = escape(url);
        out += &format!("<p>Start the missing members with <code>--discovery {url}</code></p>\n");
    }
    if let Some(expires_ns) = directory.expires_ns {
        let time = text::time(expires_ns);
        out += &format!(
            "<p>The token expires at {time}. A cluster that has started no longer needs it.</p>\n"
        );
    }
    out.push_str("</body>\n</html>\n");
    out
}

/// Returns the distinct names and all URLs in a registration (`NAME=URL,…`) as HTML. A v2 client can write a registration of
/// any length, so only its first [`REGISTRATION_BYTES_MAX`] bytes are shown.
fn registration(node: &Node) -> (String, String) {
    let value = node.value.clone().unwrap_or_default();
    let value = String::from_utf8_lossy(&value[..value.len().min(REGISTRATION_BYTES_MAX)]);
    let mut names = Vec::new();
    let mut urls = Vec::new();
    for part in value.split(',') {
        let (name, url) = part.split_once('=').unwrap_or(("", part));
        if !names.contains(&name) {
            names.push(name);
        }
        urls.push(url);
    }
    (escape(&names.join(", ")), escape(&urls.join(", ")))
}

/// Escapes text for HTML, including attributes.
fn escape(text: &str) -> String {
    // The ampersand comes first, because the other replacements contain one.
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Renders the page of `http://h/t` for registrations with these values, in order of creation.
    fn shown(size: Option<u64>, values: &[&str]) -> String {
        let node = |(at, value): (usize, &&str)| Node {
            // The names sort in reverse, so the last registration comes first.
            path: format!("/_etcd/registry/t/{}", 9 - at).into(),
            value: Some((*value).to_owned().into()),
            created: at as u64,
            ..Node::default()
        };
        let mut nodes: Vec<Node> = values.iter().enumerate().map(node).collect();
        nodes.reverse();
        let directory = Node { nodes: Some(nodes), ..Node::default() };
        html(Some("http://h/t"), size, &directory)
    }

    #[test]
    fn the_page_lists_registered_members_and_counts_missing_members() {
        let page = shown(Some(3), &["a=http://1:1,a=http://1:2", "b=http://2:1"]);
        for part in [
            "2 of 3 members have registered, 1 missing.",
            "<tr><td>1</td><td>a</td><td>http://1:1, http://1:2</td><td>9</td></tr>",
            "<tr><td>2</td><td>b</td><td>http://2:1</td><td>8</td></tr>",
            "<tr><td>3</td><td colspan=\"3\">missing</td></tr>",
            "--discovery http://h/t",
        ] {
            assert!(page.contains(part), "{part} is not in {page}");
        }
        let page = shown(Some(1), &["a=http://1:1", "b=http://2:1"]);
        assert!(page.contains("1 of 1 members") && !page.contains("--discovery"));
        assert!(page.contains("<td>not a member: the cluster is full</td><td>b</td>"));
        assert!(shown(None, &[]).contains("no size"));
    }

    #[test]
    fn the_page_lists_at_most_the_maximum_number_of_missing_members() {
        let page = shown(Some(1_000_000), &["a=http://1:1"]);
        assert!(page.contains("1 of 1000000 members have registered, 999999 missing."));
        assert_eq!(page.matches("missing</td>").count() as u64, SIZE_MAX - 1);
    }

    #[test]
    fn text_from_members_is_escaped() {
        let page = shown(Some(1), &["<script>alert(1)</script>=\"'&"]);
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
        assert!(page.contains("&quot;&#39;&amp;") && !page.contains("<script"));
    }
}

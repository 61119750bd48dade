//! `/debug/top`: the key prefixes of this member's requests and watchers. Requests are counted only while a caller waits. A
//! separate thread then counts the watchers.

use std::time::{Duration, Instant};

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    http::{StatusCode, header::CONTENT_TYPE},
};
use witan_api::top::{KeySpace, SECONDS, SECONDS_DEFAULT, TopCounts, TopPage};
use witan_dialect::{Context, client_connection::Disconnect, reply, sampling::Tally};
use witan_gocompat::query::Query;
use witan_node::Node;

const TAKEN: &str = "this member is already counting requests for another caller, which takes up to 30 seconds; try again later";
const STOPPING: &str = "this member is stopping";

/// Answers an authorized GET with the page after the requested number of seconds, and an invalid number with 400. Serves one
/// caller at a time; other callers get 429. Answers 503 if the member stops or the client disconnects first, or if the watchers
/// cannot be counted.
pub(super) async fn handle(ctx: &Context, request: &HttpRequest) -> HttpResponse {
    let Some(seconds) = seconds(request.query_string()) else {
        let (least, most) = (SECONDS.start(), SECONDS.end());
        let message = format!("seconds must be an integer from {least} to {most}");
        return refuse(StatusCode::BAD_REQUEST, &message);
    };
    let Some(sample) = ctx.sampler.begin() else {
        return refuse(StatusCode::TOO_MANY_REQUESTS, TAKEN);
    };
    let client = Disconnect::of(request);
    let began = Instant::now();
    let ended = tokio::select! {
        () = tokio::time::sleep(Duration::from_secs(seconds)) => true,
        () = client.disconnected() => false,
        () = ctx.node.stopping() => false,
    };
    let seconds = began.elapsed().as_secs_f64();
    let requests = sample.stop();
    if !ended {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, STOPPING);
    }
    let node = ctx.node.clone();
    let written = async {
        let job = ctx.scan().await?;
        job.run(move |_| page(&node, requests, seconds)).await
    };
    match written.await {
        Ok((page, _)) => HttpResponse::Ok()
            .insert_header((CONTENT_TYPE, reply::JSON))
            .body(reply::framed(request, page)),
        Err(fault) => refuse(StatusCode::SERVICE_UNAVAILABLE, &fault.to_string()),
    }
}

/// Returns a refusal with a JSON object that contains `message`.
fn refuse(status: StatusCode, message: &str) -> HttpResponse {
    reply::error_message(HttpResponseBuilder::new(status), message.to_owned())
}

/// Returns the seconds in a query, or the default if the query has none. Returns `None` if the seconds are invalid or out of
/// range.
fn seconds(query: &str) -> Option<u64> {
    let query = Query::of(query);
    let Some(asked) = query.all("seconds").next() else {
        return Some(SECONDS_DEFAULT);
    };
    let asked = asked.parse().ok();
    asked.filter(|asked| SECONDS.contains(asked))
}

/// Counts the member's watchers and returns the page as JSON. Millions of watchers take about a second.
fn page(node: &Node, mut all: Tally, seconds: f64) -> Vec<u8> {
    let watchers = |watchers| TopCounts { watchers, ..TopCounts::default() };
    node.visit_watchers(|key, count| all.add(KeySpace::V3, key, watchers(u64::from(count))));
    node.visit_tree_watchers(|path| all.add(KeySpace::V2, path, watchers(1)));
    let (rows, others) = all.into_rows();
    let page = TopPage { seconds, rows, others };
    serde_json::to_vec(&page).expect("the keys are strings")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_bounded() {
        let table = [
            ("", Some(5)),
            ("seconds=1", Some(1)),
            ("seconds=30&seconds=x", Some(30)),
            ("seconds=0", None),
            ("seconds=31", None),
            ("seconds=", None),
            ("seconds=1.5", None),
        ];
        for (query, expect) in table {
            assert_eq!(seconds(query), expect, "{query}");
        }
    }
}

//! The v2 dialect: requests for keys, and bodies of membership changes.

use bytes::Bytes;
use witan_gocompat::{
    json,
    path::{Plus, clean, unescape},
};
use witan_machine::command::{Command, Entry, Stamp};
use witan_replica::wire;
use witan_tree::{TreeOperation, WriteMethod};
use witan_v2::{
    error::V2Error,
    members::{body::decode, peer_url::peer_url},
    parse::{mutation, params},
};

use crate::input::split_at;

/// The clock of the member in Unix nanoseconds.
const NOW_NS: i64 = 1_800_000_000_000_000_000;
/// Maximum size of a refusal's cause in bytes: fixed text and at most one invalid escape.
const CAUSE_BYTES_MAX: usize = 64;

/// The input is `METHOD TARGET`, a line feed and the form.
pub(super) fn keys(request: &[u8]) {
    let (line, form) = split_at(request, b'\n');
    let (method, target) = split_at(line, b' ');
    let (path, query) = split_at(target, b'?');
    if let Err(error) = params(true, query, None) {
        refused(&error);
    }
    let Ok(plain) = unescape(path, Plus::IsPlus) else {
        return;
    };
    let path = Bytes::from(clean(&plain));
    let form = (!form.is_empty()).then_some(form);
    let method = match method {
        b"POST" => WriteMethod::Post,
        b"DELETE" => WriteMethod::Delete,
        _ => WriteMethod::Put,
    };
    match params(false, query, form) {
        Ok(params) => written(mutation(method, path.clone(), params, NOW_NS), &path),
        Err(error) => refused(&error),
    }
}

fn refused(error: &V2Error) {
    let (code, cause) = (error.code.code(), error.cause.concat());
    assert!(
        matches!(code, 201 | 202 | 203 | 209 | 210 | 211 | 212),
        "{code}"
    );
    assert!(cause.len() <= CAUSE_BYTES_MAX, "{}", cause.escape_ascii());
}

/// Checks that a write names the path, does not expire in the past, and fits in the log unchanged.
fn written(verb: TreeOperation, path: &Bytes) {
    let (named, expires_ns) = match &verb {
        TreeOperation::Set(set) => (&set.path, set.expires_ns),
        TreeOperation::Create(create) => (&create.path, create.expires_ns),
        TreeOperation::Update(update) => (&update.path, update.expires_ns),
        TreeOperation::CompareAndSwap(swap) => {
            assert!(swap.prev_value.is_some() || swap.prev_index.is_some());
            (&swap.path, swap.expires_ns)
        }
        TreeOperation::CompareAndDelete(delete) => {
            assert!(delete.prev_value.is_some() || delete.prev_index.is_some());
            (&delete.path, None)
        }
        TreeOperation::Delete(delete) => (&delete.path, None),
        TreeOperation::Expire(_) => panic!("no client asks for expirations"),
    };
    assert_eq!(named, path);
    assert!(
        expires_ns.is_none_or(|at| at >= NOW_NS),
        "never in the past"
    );
    let entry = Entry {
        stamp: Some(Stamp { now_ns: NOW_NS, ..Stamp::default() }),
        command: Some(Command::Tree(witan_tree::TreeCommand {
            operation: Some(verb),
        })),
        caller: None,
    };
    let read = wire::decode_entry(&wire::encode_entry(&entry).into());
    assert_eq!(read, Ok(entry), "decode(encode(x))");
}

/// The input is the body of a membership change. Each URL in it and the entire body are tested as URLs.
pub(super) fn members(body: &[u8]) {
    let judged = json::check(body);
    if serde_json::from_slice::<serde_json::Value>(body).is_ok() {
        assert_eq!(judged, Ok(()), "Go accepts all valid JSON");
    }
    let read = decode(body);
    if judged.is_err() {
        assert_eq!(read.as_ref().err(), judged.as_ref().err());
    }
    let mut texts = read.unwrap_or_default();
    texts.push(String::from_utf8_lossy(body).into_owned());
    for text in texts {
        if let Ok(url) = peer_url(&text) {
            assert_eq!(peer_url(&url), Ok(url), "an accepted URL is accepted again");
        }
    }
}

//! Gives `tests/fuzz` access to the dialect's parsers. Built only with the feature `fuzz`.

use bytes::Bytes;
use witan_dialect::form::FormFields;
use witan_tree::WriteMethod;

use crate::{
    members::{body, peer_url},
    parse,
};

/// Parses a form or query. Returns names and values in the order of `NAMES`, and the error text.
pub fn fields(text: &[u8]) -> (Vec<(&'static str, Bytes)>, Option<String>) {
    let mut fields = FormFields::new(parse::NAMES);
    let fault = parse::read(&mut fields, text).err();
    let names = parse::NAMES.iter();
    let given = names.filter_map(|name| Some((*name, fields.get(name)?.clone())));
    (given.collect(), fault)
}

/// Parses a v2 write into its operation. Returns the code and the cause of an error.
pub fn v2_write(
    method: &[u8],
    path: Bytes,
    query: &[u8],
    form: Option<&[u8]>,
    now_ns: i64,
) -> Result<witan_tree::TreeOperation, (u16, Bytes)> {
    let write = match method {
        b"POST" => WriteMethod::Post,
        b"DELETE" => WriteMethod::Delete,
        _ => WriteMethod::Put,
    };
    let params = parse::params(false, query, form)
        .map_err(|error| (error.code.code(), error.cause.concat().into()))?;
    Ok(parse::mutation(write, path, params, now_ns))
}

/// Parses a v2 read's parameters and returns their debug text. Returns the code and the cause of an error.
pub fn v2_read(query: &[u8]) -> Result<String, (u16, Bytes)> {
    parse::params(true, query, None)
        .map(|params| format!("{params:?}"))
        .map_err(|error| (error.code.code(), error.cause.concat().into()))
}

/// Parses the body of a membership change into its peer URLs, without validating them.
pub fn members_body(body: &[u8]) -> Result<Vec<String>, String> {
    body::decode(body)
}

/// Validates and trims a peer URL as etcd does.
pub fn peer_url(text: &str) -> Result<String, String> {
    peer_url::peer_url(text)
}

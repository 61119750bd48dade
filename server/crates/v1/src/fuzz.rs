//! Gives `tests/fuzz` access to the dialect's parser. Built only with the feature `fuzz`.

use bytes::Bytes;

use crate::request::{self, V1Request, V1RequestError};

/// Parses a v1 request. Returns its key, or `/` if it has none, and the request's debug text. An error contains the response
/// body if the request violates a rule of v1.
pub fn v1_request(
    method: &str,
    path: &[u8],
    query: &[u8],
    form: Option<&[u8]>,
) -> Result<(Bytes, String), Option<Vec<u8>>> {
    let request = request::parse(method, path, query, form).map_err(|refusal| match refusal {
        V1RequestError::Path | V1RequestError::Method => None,
        V1RequestError::Rule(error) => {
            let mut body = Vec::new();
            error.write(&mut body);
            Some(body)
        }
    })?;
    let text = format!("{request:?}");
    let key = match request {
        V1Request::Get { key } | V1Request::Delete { key } | V1Request::Watch { key, .. } => key,
        V1Request::Put(put) => put.key,
        V1Request::MachineRecords { .. }
        | V1Request::Leader
        | V1Request::Machines
        | V1Request::Stats(_) => Bytes::from_static(b"/"),
    };
    Ok((key, text))
}

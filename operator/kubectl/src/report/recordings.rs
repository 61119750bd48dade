//! Reads the recordings of the members' flight recorders. The recordings contain keys and names, but no values.

use std::time::Duration;

use http::StatusCode;
use witan_crd::EtcdCluster;
use witan_members::{
    Address,
    page::{self, PageError},
};

use super::super::{
    reach::Reach,
    table::{MESSAGE_CHARS, clipped},
};

/// The flag that enables recording.
const FLAG: &str = "flight-recorder-megabytes";
const PAGE: &str = "/debug/flight-recorder";
const PATIENCE: Duration = Duration::from_secs(120);

/// Returns whether the spec enables the flight recorder of the members.
pub(super) fn records(cluster: &EtcdCluster) -> bool {
    let options = cluster.spec.options.as_ref();
    options.is_some_and(|options| options.extra_args.contains_key(FLAG))
}

/// Reads the recording of a member, of any size, within [`PATIENCE`]. Fails with a message for the user.
pub(super) async fn read(reach: &Reach, address: &Address) -> Result<Vec<u8>, String> {
    let got = page::get(&address.url(PAGE), Some(address), PATIENCE, usize::MAX).await;
    got.map_err(|error| {
        let forward = reach.forward_failure(&address.member);
        forward.unwrap_or_else(|| match error {
            PageError::Status(StatusCode::UNAUTHORIZED, _) => {
                "a user with the role root is required; see --user and --password-file".to_owned()
            }
            PageError::Status(status, text) => {
                format!("{status}: {}", clipped(&text, MESSAGE_CHARS))
            }
            PageError::Failed(why) => why,
        })
    })
}

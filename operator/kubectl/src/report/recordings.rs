//! Reads the recordings of the members' flight recorders. They contain keys and names, but no values.

use std::time::Duration;

use witan_crd::EtcdCluster;
use witan_members::{Address, page};

use super::super::{page::explain, reach::Reach};

/// The flag that enables recording.
const FLAG: &str = "flight-recorder-megabytes";
const PAGE: &str = "/debug/flight-recorder";
const PATIENCE: Duration = Duration::from_secs(120);

/// Returns whether the flight recorder of a cluster's members is enabled.
pub(super) fn records(cluster: &EtcdCluster) -> bool {
    let options = cluster.spec.options.as_ref();
    options.is_some_and(|options| options.extra_args.contains_key(FLAG))
}

pub(super) async fn read(reach: &Reach, address: &Address) -> Result<Vec<u8>, String> {
    let got = page::get(&address.url(PAGE), Some(address), PATIENCE, usize::MAX).await;
    got.map_err(|error| {
        let forward = reach.forward_failure(&address.member);
        forward.unwrap_or_else(|| explain(error))
    })
}

//! `--from`: the etcd cluster that a new cluster follows.

use std::time::Duration;

use super::{ConfigError, client_settings::ClientSettings, values::FlagValues};

const DIAL_TIMEOUT: Duration = Duration::from_secs(2);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Idle time after which a connection to an etcd member is pinged.
const KEEPALIVE_TIME: Duration = Duration::from_secs(5);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(2);

/// `--from` and related flags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowSource {
    /// `--from`: client URLs of the members.
    pub endpoints: Vec<String>,
    /// Settings of connections to the members.
    pub client: ClientSettings,
}

impl FlagValues {
    /// Returns the source and the settings of connections to it, or `None` if `--from` is not set.
    pub(super) fn follow(&self) -> Result<Option<FollowSource>, ConfigError> {
        if self.given("from").is_none() {
            return Ok(None);
        }
        let client = ClientSettings {
            dial_timeout: DIAL_TIMEOUT,
            request_timeout: REQUEST_TIMEOUT,
            keepalive_time: KEEPALIVE_TIME,
            keepalive_timeout: KEEPALIVE_TIMEOUT,
            ca: self.path("from-cacert"),
            key_pair: self.files(["from-cert", "from-key"])?,
            skip_verify: self.boolean("from-insecure-skip-tls-verify")?,
            user: self.user(["from-user", "from-password"]),
        };
        let endpoints = self.endpoints("from", client.names_tls_files())?;
        Ok(Some(FollowSource { endpoints, client }))
    }
}

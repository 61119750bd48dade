//! Connects to members by URL and obtains the user's token. `snapshots` defines the snapshot calls.

use std::time::Duration;

use tonic::{
    Code, Status,
    metadata::AsciiMetadataValue,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};
use witan_api::v3::etcdserverpb::RangeRequest;
use witan_members::{
    Login,
    session::{LoggedIn, log_in},
};

use crate::{
    command::{ClientFlags, read},
    http::system_authorities,
    reason::{BackupError, Reason},
    store_error::innermost,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Keepalive of a connection with open calls: the ping interval and the response timeout. etcd rejects intervals below 5 s.
const PROBE: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(20));
/// The flow-control window of a stream in bytes. A snapshot piece is 32 KiB.
pub(crate) const WINDOW_BYTES: u32 = 1 << 20;
/// The flow-control window of a connection in bytes: the largest that HTTP/2 allows, so that an unread watch does not block
/// other responses. Each of the few streams is still limited to [`WINDOW_BYTES`].
const CONNECTION_WINDOW_BYTES: u32 = (1 << 31) - 1;

/// The smallest key. A range whose key and range end are this key selects all keys.
pub(crate) const FIRST_KEY: &[u8] = b"\0";

#[derive(Debug)]
pub(crate) struct Members {
    pub(crate) members: Vec<(String, Channel)>,
    login: Option<Login>,
    flags: ClientFlags,
}

impl Members {
    /// Creates a channel to each endpoint and reads the files that the flags name. A channel connects at its first call. Fails
    /// if a URL is invalid or a file cannot be read.
    pub(crate) fn new(endpoints: &[String], flags: &ClientFlags) -> Result<Self, BackupError> {
        let tls = tls(flags)?;
        let members = endpoints.iter().map(|url| {
            let channel = channel(url, &tls).map_err(|error| {
                BackupError::internal(format!("--endpoints {url}: {}", innermost(&error)))
            })?;
            Ok((url.clone(), channel))
        });
        let members = members.collect::<Result<_, BackupError>>()?;
        let login = match (&flags.user, &flags.password_file) {
            (Some(name), Some(file)) => {
                let password =
                    String::from_utf8_lossy(&read("--password-file", file)?).into_owned();
                Some(Login { user: name.clone(), password })
            }
            _ => None,
        };
        Ok(Self { members, login, flags: flags.clone() })
    }

    /// Returns the same members with new connections. If an address belongs to a Service, only a new connection can reach
    /// another member. Rereads the files, because certificates and the password can change while the process runs.
    pub(crate) fn reconnected(&self) -> Result<Self, BackupError> {
        let endpoints: Vec<_> = self.members.iter().map(|(url, _)| url.clone()).collect();
        Self::new(&endpoints, &self.flags)
    }

    /// Returns the channel to an endpoint and the user's token for its member. The token is `None` if there is no user or
    /// authentication is disabled. It is also `None` if the member refuses the password of a client with a certificate.
    pub(crate) async fn session(
        &self,
        endpoint: &str,
    ) -> Result<(Channel, Option<AsciiMetadataValue>), BackupError> {
        let known = self.members.iter().find(|(url, _)| url == endpoint);
        let unknown = || BackupError::internal(format!("{endpoint} is not in --endpoints"));
        let channel = known.ok_or_else(unknown)?.1.clone();
        let Some(login) = self.login.clone() else {
            return Ok((channel, None));
        };
        let has_certificate = self.flags.cert.is_some();
        let session = log_in(&channel, login, has_certificate, CALL_TIMEOUT).await;
        let token = match session.map_err(|status| failed(endpoint, "authenticate at", &status))? {
            LoggedIn::User(token) => token,
            LoggedIn::Nobody => None,
            LoggedIn::Certificate(refusal) => {
                tracing::warn!(
                    endpoint,
                    error = refusal.message(),
                    "failed to authenticate with the password; continuing with only the client certificate"
                );
                None
            }
        };
        Ok((channel, token))
    }
}

/// Reads the TLS settings from the flags. Without `--cacert`, trusts the CA certificates of the system.
fn tls(flags: &ClientFlags) -> Result<ClientTlsConfig, BackupError> {
    let mut tls = match &flags.cacert {
        Some(file) => {
            let authorities = Certificate::from_pem(read("--cacert", file)?);
            ClientTlsConfig::new().ca_certificate(authorities)
        }
        None => ClientTlsConfig::new().trust_anchors(system_authorities().roots),
    };
    if let (Some(certificate), Some(key)) = (&flags.cert, &flags.key) {
        let pair = Identity::from_pem(read("--cert", certificate)?, read("--key", key)?);
        tls = tls.identity(pair);
    }
    Ok(tls)
}

/// Returns a channel that connects at its first call: with TLS for an `https` URL, otherwise in plaintext. A URL without a
/// scheme is `http`.
fn channel(url: &str, tls: &ClientTlsConfig) -> Result<Channel, tonic::transport::Error> {
    let url = if url.contains("://") {
        url.to_owned()
    } else {
        format!("http://{url}")
    };
    let endpoint = Endpoint::from_shared(url)?
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(PROBE.0)
        .keep_alive_timeout(PROBE.1)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
    let is_tls = endpoint.uri().scheme_str() == Some("https");
    let endpoint = if is_tls {
        endpoint.tls_config(tls.clone())?
    } else {
        endpoint
    };
    Ok(endpoint.connect_lazy())
}

/// Returns a linearizable read of the first key, which need not exist. A member without a quorum cannot answer it.
pub(crate) fn first_key() -> RangeRequest {
    let key = FIRST_KEY.into();
    RangeRequest { key, keys_only: true, ..RangeRequest::default() }
}

/// Converts a failed call to an error that says whether the member refused it or did not answer. `verb` begins the message,
/// such as `read a key of`.
pub(crate) fn failed(endpoint: &str, verb: &str, status: &Status) -> BackupError {
    let is_refusal = matches!(
        status.code(),
        Code::Unauthenticated
            | Code::PermissionDenied
            | Code::InvalidArgument
            | Code::ResourceExhausted
            | Code::FailedPrecondition
            | Code::Unimplemented
    );
    let reason = match is_refusal {
        true => Reason::SourceRefused,
        false => Reason::SourceUnreachable,
    };
    BackupError::new(
        reason,
        format!("{verb} {endpoint}: {}", reason_text(status)),
    )
}

/// Returns the cause of a transport failure, or the message of a member's refusal.
pub(crate) fn reason_text(status: &Status) -> String {
    if std::error::Error::source(status).is_some() {
        innermost(status)
    } else {
        status.message().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::testing::TestFolder;

    #[tokio::test]
    async fn new_connections_use_the_password_that_the_file_has_now() {
        let folder = TestFolder::new("password");
        let file = folder.path().join("password");
        let flags = ClientFlags {
            user: Some("root".to_owned()),
            password_file: Some(file.clone()),
            ..ClientFlags::default()
        };
        let password = |members: &Members| {
            let login = members.login.as_ref();
            login.map(|login| login.entered().to_owned())
        };
        fs::write(&file, "first\n").unwrap();
        let first = Members::new(&["http://127.0.0.1:1".to_owned()], &flags).unwrap();
        fs::write(&file, "second\n").unwrap();
        let second = first.reconnected().unwrap();
        assert_eq!(password(&first).as_deref(), Some("first"));
        assert_eq!(password(&second).as_deref(), Some("second"));
        assert_eq!(second.members[0].0, "http://127.0.0.1:1");
    }
}

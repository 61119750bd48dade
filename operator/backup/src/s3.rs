//! Creates the client of an S3-compatible store from flags and the environment.

use std::{env, net::IpAddr, time::Duration};

use http::Uri;
use object_store::{
    BackoffConfig, ClientOptions, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey},
};

use crate::{
    command::{S3Flags, read},
    http::HyperConnector,
    reason::{BackupError, Reason},
};

/// Random pauses between retries. Each pause is at most three times as long as the pause before it.
const PAUSES: BackoffConfig = BackoffConfig {
    init_backoff: Duration::from_millis(500),
    max_backoff: Duration::from_secs(10),
    base: 3.0,
};

/// The AWS variables that are read. Any other variable could change the meaning of a request. An empty variable is ignored.
const VARIABLES: [&str; 11] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ENDPOINT_URL_STS",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_METADATA_ENDPOINT",
];

/// Creates a client without connecting, like [`open_with`]. Reads the credentials from environment variables; an empty variable
/// is ignored.
pub(crate) fn open(bucket: &str, flags: &S3Flags) -> Result<AmazonS3, BackupError> {
    open_with(bucket, flags, &|name| {
        env::var(name).ok().filter(|value| !value.is_empty())
    })
}

/// Creates a client without connecting. `variable` reads an environment variable. Fails if a setting is invalid, or if there is
/// an endpoint but no credentials.
pub(crate) fn open_with(
    bucket: &str,
    flags: &S3Flags,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<AmazonS3, BackupError> {
    let mut builder = AmazonS3Builder::new().with_bucket_name(bucket);
    let credentials = VARIABLES
        .iter()
        .filter_map(|name| Some((*name, variable(name)?)));
    let credentials: Vec<_> = credentials.collect();
    let has_credentials = !credentials.is_empty();
    for (name, value) in credentials.into_iter().chain(encryption(flags)) {
        let key = name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>();
        let key = key.map_err(|error| BackupError::internal(format!("{name}: {error}")))?;
        builder = builder.with_config(key, value);
    }
    let endpoint = flags
        .s3_endpoint
        .clone()
        .or_else(|| variable("AWS_ENDPOINT_URL_S3"));
    let endpoint = endpoint.or_else(|| variable("AWS_ENDPOINT_URL"));
    if endpoint.is_some() && !has_credentials {
        let message = "there are no credentials for the store; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY";
        return Err(BackupError::new(Reason::WrongCredentials, message));
    }
    let region = flags.s3_region.clone().or_else(|| variable("AWS_REGION"));
    let region = region.or_else(|| variable("AWS_DEFAULT_REGION"));
    let region = region.unwrap_or_else(|| "us-east-1".to_owned());
    let address = Address::of(bucket, endpoint.as_deref(), flags.s3_path_style)
        .map_err(BackupError::internal)?;
    let authorities = match &flags.s3_cacert {
        Some(file) => read("--s3-cacert", file)?,
        None => Vec::new(),
    };
    let connector = HyperConnector::new(&authorities).map_err(BackupError::internal)?;
    if let Some(url) = &address.url {
        builder = builder.with_endpoint(url);
    }
    let retry = RetryConfig {
        backoff: PAUSES,
        // `--s3-retry-timeout` limits the retries.
        max_retries: usize::MAX,
        retry_timeout: flags.s3_retry_timeout,
    };
    builder
        .with_region(region)
        .with_virtual_hosted_style_request(!address.path_style)
        .with_allow_http(address.is_http)
        .with_client_options(ClientOptions::new().with_allow_http(address.is_http))
        // Not all stores support the bulk delete request.
        .with_disable_bulk_delete(true)
        .with_retry(retry)
        .with_http_connector(connector)
        .build()
        .map_err(|error| BackupError::internal(format!("cannot use the store {bucket}: {error}")))
}

/// Returns the AWS variables that select the server-side encryption.
fn encryption(flags: &S3Flags) -> Vec<(&'static str, String)> {
    let Some(how) = flags.s3_server_side_encryption.clone() else {
        return Vec::new();
    };
    let key = flags.s3_kms_key_id.clone();
    let mut variables = vec![("AWS_SERVER_SIDE_ENCRYPTION", how)];
    variables.extend(key.map(|key| ("AWS_SSE_KMS_KEY_ID", key)));
    variables
}

#[derive(Debug, PartialEq, Eq)]
struct Address {
    /// The endpoint URL; `None` for AWS. Its host name contains the bucket unless `path_style` is set.
    url: Option<String>,
    path_style: bool,
    is_http: bool,
}

impl Address {
    /// Returns the address of a bucket; `endpoint` is `None` for AWS. Uses the path style if it is requested or the host is an
    /// IP address. Also uses it if the bucket name contains a dot and the connection uses TLS. Fails if the endpoint is not a
    /// plain HTTP or HTTPS URL.
    fn of(bucket: &str, endpoint: Option<&str>, path_style: bool) -> Result<Self, String> {
        let Some(endpoint) = endpoint else {
            // AWS certificates do not cover bucket names with a dot.
            return Ok(Self {
                url: None,
                path_style: path_style || bucket.contains('.'),
                is_http: false,
            });
        };
        let wrong =
            || format!("--s3-endpoint {endpoint:?}: use a URL such as https://s3.example.com");
        let uri: Uri = endpoint.parse().map_err(|_| wrong())?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(wrong());
        };
        let path = uri.path().trim_end_matches('/');
        if !["http", "https"].contains(&scheme)
            || uri.query().is_some()
            || authority.as_str().contains('@')
        {
            return Err(wrong());
        }
        let host = authority.host().trim_matches(['[', ']']);
        let is_address = host.parse::<IpAddr>().is_ok();
        let path_style = path_style || is_address || (scheme == "https" && bucket.contains('.'));
        let url = if path_style {
            format!("{scheme}://{authority}{path}")
        } else {
            format!("{scheme}://{bucket}.{authority}{path}")
        };
        Ok(Self { url: Some(url), path_style, is_http: scheme == "http" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_in_the_path_or_in_the_host_name() {
        let of = |bucket, endpoint, path_style| {
            let address = Address::of(bucket, endpoint, path_style).unwrap();
            (
                address.url.unwrap_or_default(),
                address.path_style,
                address.is_http,
            )
        };
        let table = [
            (("b", None, false), ("", false, false)),
            (("b.c", None, false), ("", true, false)),
            (
                ("b", Some("https://s3.x:9000/"), true),
                ("https://s3.x:9000", true, false),
            ),
            (
                ("b", Some("https://s3.x:9000"), false),
                ("https://b.s3.x:9000", false, false),
            ),
            (
                ("b", Some("http://127.0.0.1:7000"), false),
                ("http://127.0.0.1:7000", true, true),
            ),
            (
                ("b", Some("http://[::1]:7000"), false),
                ("http://[::1]:7000", true, true),
            ),
            (
                ("b.c", Some("https://s3.x"), false),
                ("https://s3.x", true, false),
            ),
        ];
        for ((bucket, endpoint, path_style), (url, path, http)) in table {
            assert_eq!(
                of(bucket, endpoint, path_style),
                (url.to_owned(), path, http)
            );
        }
        for wrong in [
            "s3.x",
            "ftp://s3.x",
            "https://",
            "https://u:p@s3.x",
            "http://s3.x/?a",
        ] {
            assert!(Address::of("b", Some(wrong), false).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_store_that_is_not_aws_needs_credentials() {
        let flags = S3Flags {
            s3_endpoint: Some("http://127.0.0.1:9".to_owned()),
            ..S3Flags::default()
        };
        let opened = open_with("b", &flags, &|_| None);
        assert_eq!(
            opened.map(drop).unwrap_err().reason,
            Reason::WrongCredentials
        );
        let opened = open_with("b", &flags, &|name| Some(name.to_owned()));
        assert!(opened.is_ok());
    }
}

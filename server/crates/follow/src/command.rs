//! `witan follow status`, `cut-over` and `source-gone`: the command line of the `/follow` endpoints.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use clap::{Args, Parser, Subcommand};
use http::{Method, Request, Uri, header};
use serde_json::Value;
use witan_client::{ClientTlsError, Route, TlsClient};
use witan_config::ClientSettings;
use witan_transport::exchange;

/// The first argument of the program for the commands in this file.
pub const FOLLOW: &str = "follow";

/// The arguments of [`FOLLOW`] that call a running member or print help. Without one of them, the flags start a member.
pub const VERBS: [&str; 5] = ["status", "cut-over", "source-gone", "help", "--help"];

const DIAL_TIMEOUT: Duration = Duration::from_secs(5);

/// Follows and replaces an etcd cluster. "witan follow --from URLS" with the flags of a member starts a new cluster that copies
/// the etcd cluster. Add the other members before the cut-over (etcdctl member add).
#[derive(Debug, Parser)]
#[command(name = "witan follow", bin_name = "witan follow")]
struct FollowArguments {
    #[command(subcommand)]
    verb: FollowVerb,
}

#[derive(Debug, Subcommand)]
enum FollowVerb {
    /// Shows the status of the member that follows.
    Status(MemberArguments),
    /// Cuts over to the new cluster: fences the source, so that it refuses writes, copies the last writes, and lets the new
    /// cluster accept writes.
    CutOver(MemberArguments),
    /// Declares after the cut-over that the source no longer exists, so that it is no longer checked for writes.
    SourceGone(MemberArguments),
}

/// How to reach the member that follows.
#[derive(Debug, Args)]
struct MemberArguments {
    /// Client URL of the member that follows.
    #[arg(long, default_value = "http://127.0.0.1:2379")]
    endpoint: String,
    /// CA certificate file for verifying the member; by default the CA certificates of the system.
    #[arg(long)]
    cacert: Option<PathBuf>,
    /// Client certificate file.
    #[arg(long, requires = "key")]
    cert: Option<PathBuf>,
    /// Key file of --cert.
    #[arg(long, requires = "cert")]
    key: Option<PathBuf>,
    /// NAME:PASSWORD of a user with the role root.
    #[arg(long, env = "ETCDCTL_USER", hide_env_values = true)]
    user: Option<String>,
    /// Output format (simple, json).
    #[arg(short, long, default_value = "simple", value_parser = ["simple", "json"])]
    write_out: String,
}

/// The reason why a command failed.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the Display texts describe the variants")]
pub enum FollowCommandError {
    /// Invalid arguments or a request for help, which clap prints.
    #[error(transparent)]
    Usage(#[from] clap::Error),
    #[error(transparent)]
    Tls(#[from] ClientTlsError),
    #[error("{endpoint}: {reason}")]
    Unreached { endpoint: String, reason: String },
    #[error("{0}")]
    Refused(String),
}

/// Runs one of [`VERBS`], which is the first of `arguments`, and returns the output to print.
pub fn run(arguments: impl Iterator<Item = OsString>) -> Result<String, FollowCommandError> {
    let program = std::iter::once(OsString::from(FOLLOW));
    let line = FollowArguments::try_parse_from(program.chain(arguments))?;
    actix_rt::System::new().block_on(ask(&line.verb))
}

/// Sends the request of a subcommand and formats the response.
async fn ask(verb: &FollowVerb) -> Result<String, FollowCommandError> {
    let (member, method, path) = match verb {
        FollowVerb::Status(member) => (member, Method::GET, "/follow"),
        FollowVerb::CutOver(member) => (member, Method::POST, "/follow/cut-over"),
        FollowVerb::SourceGone(member) => (member, Method::POST, "/follow/source-gone"),
    };
    let answer = member.request(method, path).await?;
    if member.write_out == "json" {
        return Ok(format!("{answer}\n"));
    }
    Ok(match verb {
        FollowVerb::Status(_) => status_lines(&answer),
        FollowVerb::CutOver(_) => format!(
            "cut over at revision {}: for {} ms neither cluster accepted writes\n",
            answer["revision"], answer["pauseMs"]
        ),
        FollowVerb::SourceGone(_) => "the source is no longer checked\n".to_owned(),
    })
}

/// Formats the fields of the status as lines of title and value. The value of a missing field is `-`.
fn status_lines(status: &Value) -> String {
    let text = |name: &str| match &status[name] {
        Value::String(text) => text.clone(),
        Value::Array(texts) => {
            let texts = texts.iter().filter_map(Value::as_str);
            texts.collect::<Vec<_>>().join(",")
        }
        Value::Null => "-".to_owned(),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => status[name].to_string(),
    };
    const ROWS: [(&str, &str); 13] = [
        ("following", "following"),
        ("source", "source"),
        ("connected to", "endpoint"),
        ("revision", "revision"),
        ("source's revision", "sourceRevision"),
        ("lag (revisions)", "lag"),
        ("source is fenced", "fenced"),
        ("checks the fence", "guarding"),
        ("fence raised again", "raisedAgain"),
        ("equal comparisons", "equal"),
        ("different comparisons", "different"),
        ("last equal revision", "lastEqualRevision"),
        ("error", "error"),
    ];
    let rows = ROWS
        .iter()
        .map(|(title, name)| format!("{title:<22}{}\n", text(name)));
    rows.collect()
}

impl MemberArguments {
    /// Sends a request without a body and returns the JSON in the response, or `null` if the body is not JSON. If the member
    /// refuses the request, fails with the message in the response or, without a message, with the status. The request has no
    /// time limit, because the member limits the time of a cut-over.
    async fn request(&self, method: Method, path: &str) -> Result<Value, FollowCommandError> {
        let unreached = |reason: String| FollowCommandError::Unreached {
            endpoint: self.endpoint.clone(),
            reason,
        };
        let uri: Uri = self
            .endpoint
            .parse()
            .map_err(|_| unreached("not a URL".into()))?;
        let tls = TlsClient::for_http1(&ClientSettings {
            ca: self.cacert.clone(),
            key_pair: self.cert.clone().zip(self.key.clone()),
            ..ClientSettings::default()
        })?;
        let route = Route { uri: &uri, proxy: None, tls: &tls, patience: DIAL_TIMEOUT };
        let stream = route.open().await.map_err(unreached)?;
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, route.authority())
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(user) = &self.user {
            let encoded = format!("Basic {}", STANDARD.encode(user));
            request = request.header(header::AUTHORIZATION, encoded);
        }
        let request = request.body(String::new());
        let request = request.map_err(|error| unreached(error.to_string()))?;
        let answer = exchange(stream, request).await;
        let answer = answer.map_err(|error| unreached(error.to_string()))?;
        let (status, body) = (answer.status(), answer.into_body());
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        if status.is_success() {
            return Ok(body);
        }
        let message = body["message"].as_str();
        let message = message.map_or_else(|| format!("the response is {status}"), str::to_owned);
        Err(FollowCommandError::Refused(message))
    }
}

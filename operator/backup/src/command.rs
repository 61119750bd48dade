//! The flags of `witan-operator backup`.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{ArgAction, Args, Subcommand, ValueEnum};

use jiff::Timestamp;

use crate::{location::Location, reason::BackupError};

/// Commands that save, list, fetch and accept backups.
#[derive(Debug, Clone, Subcommand)]
pub enum BackupCommand {
    /// Streams a snapshot of a member to a store.
    Save(SaveFlags),
    /// Continuously stores the changes since the last snapshot.
    Changes(ChangesFlags),
    /// Lists the backups in a location, newest first.
    List(ListFlags),
    /// Downloads a backup to a file and verifies its digest.
    Fetch(FetchFlags),
    /// Marks a backup as verified and applies the retention policy.
    Accept(AcceptFlags),
}

impl BackupCommand {
    /// Returns the name of the command and the file of `--result`, if it is set.
    pub(crate) fn name_and_result(&self) -> (&'static str, Option<&Path>) {
        match self {
            Self::Save(flags) => ("save", flags.result.as_deref()),
            Self::Changes(flags) => ("changes", flags.result.as_deref()),
            Self::List(_) => ("list", None),
            Self::Fetch(flags) => ("fetch", flags.result.as_deref()),
            Self::Accept(flags) => ("accept", flags.result.as_deref()),
        }
    }
}

/// Flags of the commands that read from members.
#[derive(Debug, Clone, Args)]
pub(crate) struct MembersFlags {
    /// Comma-separated URLs of members. Followers are preferred to the leader.
    #[arg(long, value_delimiter = ',', required = true, value_name = "URLS")]
    pub(crate) endpoints: Vec<String>,
    #[command(flatten)]
    pub(crate) client: ClientFlags,
}

/// Flags of `backup save`.
#[derive(Debug, Clone, Args)]
pub struct SaveFlags {
    #[command(flatten)]
    pub(crate) members: MembersFlags,
    /// Store to which the backup is written: s3://BUCKET[/PREFIX] or file:///FOLDER.
    #[arg(long, value_name = "LOCATION")]
    pub(crate) to: Location,
    /// Name of the backup. It is stored as NAME.db and NAME.json. If the backup already exists, nothing is saved, and its
    /// record is the result.
    #[arg(long)]
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) retention: Retention,
    /// Records the member's hash of the key space, for `witan snapshot restore --compare`.
    #[arg(long)]
    pub(crate) hash_keys: bool,
    /// Marks the backup as not verified. Until `accept` marks it as verified, the retention policy does not count the backup,
    /// and it is fetched only by its name. Until then, --keep-last and --keep-within remove only other backups that are not
    /// verified.
    #[arg(long)]
    pub(crate) unverified: bool,
    /// File to write the result to, such as /dev/termination-log. The result is JSON of at most 4096 bytes.
    #[arg(long, value_name = "FILE")]
    pub(crate) result: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) s3: S3Flags,
}

/// The backups to keep; all of them if no limit is given. A backup is kept if either limit keeps it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Args)]
pub(crate) struct Retention {
    /// Number of newest backups to keep. After the command succeeds, backups in this location that neither --keep-last nor
    /// --keep-within keeps are removed. The newest backup is always kept. Backups of members that were cut off from a quorum
    /// or had the CORRUPT alarm, and backups that are not verified, are counted separately. Without both flags, all backups are
    /// kept.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) keep_last: Option<u32>,
    /// Time for which backups are kept, such as 30d, 12h or 1h30m.
    #[arg(long, value_name = "TIME", value_parser = time_span)]
    pub(crate) keep_within: Option<Duration>,
}

/// Flags of `backup changes`.
#[derive(Debug, Clone, Args)]
pub struct ChangesFlags {
    #[command(flatten)]
    pub(crate) members: MembersFlags,
    /// Location of the snapshots to which the changes belong: s3://BUCKET[/PREFIX] or file:///FOLDER. The changes are stored
    /// below this location.
    #[arg(long, value_name = "LOCATION")]
    pub(crate) to: Location,
    /// Maximum time for which changes can be lost with the cluster. Changes are stored at half this interval, and immediately
    /// when they reach 8 MiB.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time_at_least_a_second)]
    pub(crate) every: Duration,
    /// Address, such as 0.0.0.0:8080, at which the progress is served as JSON over HTTP.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<SocketAddr>,
    /// File to write the result to, such as /dev/termination-log. The result is JSON of at most 4096 bytes.
    #[arg(long, value_name = "FILE")]
    pub(crate) result: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) s3: S3Flags,
}

/// Flags of `backup list`.
#[derive(Debug, Clone, Args)]
pub struct ListFlags {
    /// Location of the backups: s3://BUCKET[/PREFIX] or file:///FOLDER.
    #[arg(long, value_name = "LOCATION")]
    pub(crate) from: Location,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t = ListFormat::Table)]
    pub(crate) output: ListFormat,
    #[command(flatten)]
    pub(crate) s3: S3Flags,
}

/// Output format of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListFormat {
    /// A table.
    Table,
    /// A JSON array.
    Json,
}

/// Flags of `backup fetch`.
#[derive(Debug, Clone, Args)]
pub struct FetchFlags {
    /// Location of the backup: s3://BUCKET[/PREFIX] or file:///FOLDER.
    #[arg(long, value_name = "LOCATION")]
    pub(crate) from: Location,
    /// Name of the backup, or of a snapshot file without a record, such as some.db. By default, the newest complete backup is
    /// fetched, except backups of `save --unverified` that are not accepted yet.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Path of the file to write. When the backup is complete, the file is renamed to this path and replaces an existing file.
    #[arg(long, value_name = "PATH")]
    pub(crate) file: PathBuf,
    /// Directory for the changes after the backup, for `witan snapshot restore --changes`. Without --to-revision and --to-time,
    /// all stored changes are fetched.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) changes: Option<PathBuf>,
    /// Last revision of the restored cluster. Without --name, the newest backup that is not later is used.
    #[arg(long, value_name = "REVISION", requires = "changes", conflicts_with = "to_time", value_parser = clap::value_parser!(i64).range(1..))]
    pub(crate) to_revision: Option<i64>,
    /// Point in time to restore to, such as 2026-01-31T12:00:00Z. Without --name, the newest backup that is not later is used.
    #[arg(long, value_name = "TIME", requires = "changes")]
    pub(crate) to_time: Option<Timestamp>,
    /// File for the record of the backup, for `witan snapshot restore --compare`.
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,
    /// Does nothing if this directory exists and is not empty.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) unless_exists: Option<PathBuf>,
    /// File to write the result to, such as /dev/termination-log. The result is JSON of at most 4096 bytes.
    #[arg(long, value_name = "FILE")]
    pub(crate) result: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) s3: S3Flags,
}

/// Flags of `backup accept`.
#[derive(Debug, Clone, Args)]
pub struct AcceptFlags {
    /// Location of the backup: s3://BUCKET[/PREFIX] or file:///FOLDER.
    #[arg(long, value_name = "LOCATION")]
    pub(crate) from: Location,
    /// Record of the verified backup, as written by `fetch --record`. The command fails if the location contains another
    /// backup of this name.
    #[arg(long, value_name = "FILE")]
    pub(crate) record: PathBuf,
    #[command(flatten)]
    pub(crate) retention: Retention,
    /// File to write the result to, such as /dev/termination-log. The result is JSON of at most 4096 bytes.
    #[arg(long, value_name = "FILE")]
    pub(crate) result: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) s3: S3Flags,
}

/// Reads `file`, which is the value of `flag`; an error names the file and the flag.
pub(crate) fn read(flag: &str, file: &Path) -> Result<Vec<u8>, BackupError> {
    let failed = |error| BackupError::internal(format!("{flag} {}: {error}", file.display()));
    fs::read(file).map_err(failed)
}

/// How to connect to members.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Access to the members")]
pub(crate) struct ClientFlags {
    /// CA certificates for verifying the members (PEM); by default the CA certificates of the system.
    #[arg(long, value_name = "FILE")]
    pub(crate) cacert: Option<PathBuf>,
    /// Client certificate (PEM).
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) cert: Option<PathBuf>,
    /// Key of the client certificate (PEM).
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) key: Option<PathBuf>,
    /// User, if authentication is enabled. A snapshot requires the role root.
    #[arg(long, value_name = "NAME", requires = "password_file")]
    pub(crate) user: Option<String>,
    /// File with the password of the user.
    #[arg(long, value_name = "FILE", requires = "user")]
    pub(crate) password_file: Option<PathBuf>,
}

/// How to connect to an object store.
#[derive(Debug, Clone, Default, Args)]
#[command(
    next_help_heading = "Access to the store (credentials are read from AWS environment variables: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, …)"
)]
pub(crate) struct S3Flags {
    /// URL of the object store; AWS S3 by default.
    #[arg(long, value_name = "URL")]
    pub(crate) s3_endpoint: Option<String>,
    /// AWS region of the bucket; AWS_REGION or us-east-1 by default.
    #[arg(long, value_name = "REGION")]
    pub(crate) s3_region: Option<String>,
    /// Whether the bucket is part of the URL path instead of the host name. Most stores other than AWS need this.
    #[arg(long, default_value_t = false, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    pub(crate) s3_path_style: bool,
    /// CA certificates for verifying the store, in addition to the CA certificates of the system (PEM).
    #[arg(long, value_name = "FILE")]
    pub(crate) s3_cacert: Option<PathBuf>,
    /// Server-side encryption of the objects: AES256 (keys managed by the store) or aws:kms (a key of the key management
    /// service); by default as configured for the bucket.
    #[arg(long, value_parser = ["AES256", "aws:kms"], value_name = "HOW")]
    pub(crate) s3_server_side_encryption: Option<String>,
    /// ID of the KMS key for aws:kms; by default the default key of the account.
    #[arg(long, value_name = "ID")]
    pub(crate) s3_kms_key_id: Option<String>,
    /// Time for which a request is retried. If the store is down for longer, the command fails.
    #[arg(long, value_name = "TIME", default_value = "3m", value_parser = time_span)]
    pub(crate) s3_retry_timeout: Duration,
}

/// Parses a duration like [`time_span`]. Fails if it is shorter than a second.
fn time_at_least_a_second(text: &str) -> Result<Duration, String> {
    let span = time_span(text)?;
    if span < Duration::from_secs(1) {
        return Err(format!("{text:?} is too short: the minimum is 1s"));
    }
    Ok(span)
}

/// Parses a duration in the syntax of `humantime`, such as `30d` or `1h30m`; zero is valid. Fails with a message for the user.
fn time_span(text: &str) -> Result<Duration, String> {
    let wrong = |error| format!("{text:?} is not a duration such as 30d, 12h or 1h30m: {error}");
    humantime::parse_duration(text).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use clap::{Command, FromArgMatches as _};

    use super::*;

    fn parse(arguments: &[&str]) -> Result<BackupCommand, clap::Error> {
        let command = BackupCommand::augment_subcommands(Command::new("backup"));
        let matches = command.try_get_matches_from([&["backup"], arguments].concat())?;
        BackupCommand::from_arg_matches(&matches)
    }

    #[test]
    fn flags_are_consistent() {
        BackupCommand::augment_subcommands(Command::new("backup")).debug_assert();
    }

    #[test]
    fn flags_that_belong_together_are_required() {
        let save = [
            "save",
            "--endpoints=http://a,http://b",
            "--to=s3://b/p",
            "--name=n",
        ];
        let with = |more: &[&str]| parse(&[&save[..], more].concat());
        let Ok(BackupCommand::Save(flags)) = with(&["--s3-path-style", "--keep-last=3"]) else {
            panic!("the flags are valid");
        };
        assert_eq!(flags.members.endpoints, ["http://a", "http://b"]);
        assert!(flags.s3.s3_path_style);
        for wrong in [
            "--cert=c",
            "--key=k",
            "--user=root",
            "--password-file=f",
            "--keep-last=0",
            "--s3-server-side-encryption=none",
            "--keep-within=soon",
        ] {
            assert!(with(&[wrong]).is_err(), "{wrong}");
        }
        assert!(with(&["--unverified", "--keep-last=3"]).is_ok());
        assert!(parse(&["fetch", "--from=/a", "--file=f"]).is_err());
    }
}

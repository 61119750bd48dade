//! Builds the typed [`Config`] from the flags' values and checks the values, both individually and against each other.

use std::{path::PathBuf, time::Duration};

use tracing::level_filters::LevelFilter;
use witan_gocompat::text;

use super::{
    AuthSettings, AutoCompaction, ClusterState, Config, ConnectionSettings, DEFAULT_NAME,
    FlightRecorder, LogConfig, LogFormat, LogOutput, PeerTlsConfig, PortTls, Rotation, Settings,
    SpaceConfig, Url,
    error::ConfigError,
    flags::{self, FlagKind},
    url::UrlError,
    values::{Environment, FlagValues},
};

const HOUR: Duration = Duration::from_secs(60 * 60);
/// Maximum value of `--election-timeout` in milliseconds, as in etcd; with a longer timeout, startup fails.
const ELECTION_MS_MAX: u64 = 50_000;
/// Default of `--quota-backend-bytes`.
const QUOTA_BYTES: u64 = 2 << 30;
const CLUSTER_STATES: [(&str, ClusterState); 2] = [
    ("new", ClusterState::New),
    ("existing", ClusterState::Existing),
];
/// Lifetime of a simple token if `--auth-token-ttl` is 0.
const TOKEN_TTL: Duration = Duration::from_secs(300);
/// Default of `--watch-progress-notify-interval`.
const WATCH_PROGRESS_INTERVAL: Duration = Duration::from_secs(10 * 60);
/// Minimum of `--watch-progress-notify-interval`. As in etcd, a shorter interval is raised to this minimum.
const WATCH_PROGRESS_INTERVAL_FLOOR: Duration = Duration::from_millis(100);
/// Minimum value of `--memory-budget-bytes`; with a smaller budget, startup fails.
const MEMORY_BUDGET_BYTES_MIN: u64 = 64 << 20;
/// Value of `--max-request-bytes` above which a warning is logged, as in etcd.
const REQUEST_BYTES_RECOMMENDED: usize = 10 << 20;
/// Value of `--quota-backend-bytes` above which a warning is logged, as in etcd.
const QUOTA_BYTES_RECOMMENDED: u64 = 8 << 30;

/// Warns about large limits, the default name and disabled fsync.
fn warn_of_unusual_values(config: &Config, warnings: &mut Vec<String>) {
    if config.settings.max_request_bytes > REQUEST_BYTES_RECOMMENDED {
        warnings.push("--max-request-bytes exceeds the recommended 10 MiB".to_owned());
    }
    let quota_bytes = config.settings.quota_bytes.unwrap_or(0);
    if quota_bytes > QUOTA_BYTES_RECOMMENDED {
        warnings.push("--quota-backend-bytes exceeds the recommended 8 GiB".to_owned());
    }
    if config.name == DEFAULT_NAME {
        warnings.push(
            "--name has its default value; each member of a cluster needs a unique name".to_owned(),
        );
    }
    if config.unsafe_no_fsync {
        warnings.push(
            "--unsafe-no-fsync is set: a power failure can lose acknowledged writes".to_owned(),
        );
    }
}

/// The reason why a string is not a list of initial members.
#[derive(Debug, thiserror::Error)]
pub enum MembersError {
    /// A part has no `=`.
    #[error("{0} is not NAME=URL")]
    NoEqualsSign(String),
    /// A part has an invalid URL.
    #[error(transparent)]
    Url(#[from] UrlError),
}

/// Parses a comma-separated list of `NAME=URL`. Returns each member once, with all its URLs, in the given order. Ignores empty
/// parts, and accepts empty names and repeated URLs. Fails if a part has no `=` or an invalid URL.
pub fn members(text: &str) -> Result<Vec<(String, Vec<Url>)>, MembersError> {
    let mut members: Vec<(String, Vec<Url>)> = Vec::new();
    for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        let (name, url) = part
            .split_once('=')
            .ok_or_else(|| MembersError::NoEqualsSign(part.to_owned()))?;
        let url: Url = url.parse()?;
        match members.iter_mut().find(|(known, _)| known == name) {
            Some((_, urls)) => urls.push(url),
            None => members.push((name.to_owned(), vec![url])),
        }
    }
    Ok(members)
}

impl FlagValues {
    /// Builds and checks the configuration from the given values and the defaults. From `environment`, reads only
    /// `NOTIFY_SOCKET`; the given values already include the variables of the flags.
    pub(super) fn config(self, environment: &Environment) -> Result<Config, ConfigError> {
        let (heartbeat_interval, election_timeout) = self.elections()?;
        let name = self.text("name").to_owned();
        let data_dir = self.path("data-dir");
        let data_dir = data_dir.unwrap_or_else(|| format!("{name}.etcd").into());
        let settings = self.settings()?;
        if self.given("listen-client-urls").is_some()
            && self.given("advertise-client-urls").is_none()
        {
            return Err(ConfigError::Advertise);
        }
        let initial_advertise_peer_urls =
            self.urls("initial-advertise-peer-urls", Url::advertisable)?;
        let initial_cluster = self.initial_cluster(&name, &initial_advertise_peer_urls)?;
        self.check_value_types()?;
        let mut warnings = Vec::new();
        let gates = self.feature_gates(&mut warnings)?;
        let peers = self.peer_settings((&gates, &initial_advertise_peer_urls), &mut warnings)?;
        let mut config = Config {
            discovery: self.discovery(&mut warnings)?,
            data_dir,
            listen_client_urls: self.urls("listen-client-urls", Url::bindable)?,
            listen_client_http_urls: self.urls("listen-client-http-urls", Url::bindable)?,
            listen_metrics_urls: self.urls("listen-metrics-urls", Url::bindable)?,
            listen_peer_urls: self.urls("listen-peer-urls", Url::bindable)?,
            advertise_client_urls: self.urls("advertise-client-urls", Url::advertisable)?,
            initial_advertise_peer_urls,
            initial_cluster,
            initial_cluster_token: self.text("initial-cluster-token").to_owned(),
            initial_cluster_state: self.choice("initial-cluster-state", &CLUSTER_STATES)?,
            adopt_etcd: self.boolean("adopt-etcd")?,
            wal_dir: self.path("wal-dir"),
            follow: self.follow()?,
            force_new_cluster: self.boolean("force-new-cluster")?,
            corruption: self.corruption_checks(&gates)?,
            heartbeat_interval,
            election_timeout,
            pre_vote: self.boolean("pre-vote")?,
            peers,
            unsafe_no_fsync: self.boolean("unsafe-no-fsync")?,
            disk: SpaceConfig {
                reserve_bytes: self.disk_bytes("disk-reserve-bytes")?,
                ballast_bytes: self.disk_bytes("disk-ballast-bytes")?,
            },
            memory_budget_bytes: self.memory_budget_bytes()?,
            warning_apply_duration: self.duration("warning-apply-duration")?,
            auto_compaction: self.auto_compaction()?,
            connections: self.connections(settings.max_message_bytes())?,
            extensive_metrics: self.choice("metrics", &[("basic", false), ("extensive", true)])?,
            tls: PortTls::default(),
            peer_tls: PeerTlsConfig::default(),
            log: self.log()?,
            settings,
            notify_socket: environment
                .get("NOTIFY_SOCKET")
                .filter(|path| !path.is_empty())
                .cloned(),
            warnings: Vec::new(),
            name,
        };
        config.tls = self.tls(&config, &mut warnings)?;
        config.peer_tls = self.peer_tls(&config, &mut warnings)?;
        warnings.splice(0..0, self.warnings);
        warn_of_unusual_values(&config, &mut warnings);
        Ok(Config { warnings, ..config })
    }

    /// Returns the given text of a flag. If the text is missing or empty, returns the default.
    pub(super) fn text(&self, name: &'static str) -> &str {
        let row = || flags::find(name).expect("names in this crate are rows of the table");
        self.given(name).unwrap_or_else(|| row().default)
    }

    /// Returns the error for a flag whose text, or its default, is invalid.
    pub(super) fn bad(&self, flag: &'static str, reason: &str) -> ConfigError {
        let value = self.text(flag).to_owned();
        ConfigError::Value { value, flag, reason: reason.to_owned() }
    }

    /// Parses a flag's text, or its default, as a boolean in one of Go's spellings.
    pub(super) fn boolean(&self, flag: &'static str) -> Result<bool, ConfigError> {
        text::parse_bool(self.text(flag)).ok_or_else(|| self.bad(flag, "must be true or false"))
    }

    /// Parses a flag's text, or its default, as an unsigned duration in Go's format.
    pub(super) fn duration(&self, flag: &'static str) -> Result<Duration, ConfigError> {
        text::parse_duration(self.text(flag))
            .ok_or_else(|| self.bad(flag, "must be a duration such as 100ms or 1h30m"))
    }

    /// Parses a flag's text, or its default, as a number that `N` can hold.
    pub(super) fn number<N: std::str::FromStr>(
        &self,
        flag: &'static str,
    ) -> Result<N, ConfigError> {
        self.text(flag)
            .parse()
            .map_err(|_| self.bad(flag, "must be a number within the range of the flag"))
    }

    /// Returns the value that `choices` assigns to the flag's text, regardless of case. For any other text, the error lists the
    /// choices.
    pub(super) fn choice<V: Copy>(
        &self,
        flag: &'static str,
        choices: &[(&str, V)],
    ) -> Result<V, ConfigError> {
        let text = self.text(flag);
        let mut known = choices.iter();
        match known.find(|(name, _)| name.eq_ignore_ascii_case(text)) {
            Some((_, value)) => Ok(*value),
            None => {
                let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
                Err(self.bad(flag, &format!("must be one of {}", names.join(", "))))
            }
        }
    }

    /// Checks that the text of each given flag parses as the flag's type, even if the flag has no effect.
    fn check_value_types(&self) -> Result<(), ConfigError> {
        for flag in flags::all().filter(|flag| self.given(flag.name).is_some()) {
            match flag.kind {
                FlagKind::Text => {}
                FlagKind::Bool => drop(self.boolean(flag.name)?),
                FlagKind::Duration => drop(self.duration(flag.name)?),
                FlagKind::Integer => drop(self.number::<i64>(flag.name)?),
            }
        }
        Ok(())
    }

    /// Splits a flag's text, or its default, at commas and trims the parts. Drops empty parts.
    pub(super) fn list(&self, flag: &'static str) -> Vec<String> {
        self.text(flag)
            .split(',')
            .map(str::trim)
            .filter(|s| !s.is_empty())
            .map(String::from)
            .collect()
    }

    /// Returns the list of names in a flag. An empty list becomes `["*"]`, which means all names.
    fn names(&self, flag: &'static str) -> Vec<String> {
        let mut names = self.list(flag);
        if names.is_empty() {
            names.push("*".to_owned());
        }
        names
    }

    /// Parses a list of URLs and checks each of them. Returns an empty list for an empty text.
    fn urls(
        &self,
        flag: &'static str,
        check: impl Fn(&Url) -> Result<(), UrlError>,
    ) -> Result<Vec<Url>, ConfigError> {
        let text = self.text(flag);
        if text.is_empty() {
            return Ok(Vec::new());
        }
        let urls = Url::list(text).and_then(|urls| {
            urls.iter().try_for_each(check)?;
            Ok(urls)
        });
        urls.map_err(|source| ConfigError::Url { flag, source })
    }

    /// Returns the heartbeat interval and the election timeout. As in etcd, both must be positive, and the timeout must be at
    /// least five intervals and at most [`ELECTION_MS_MAX`].
    fn elections(&self) -> Result<(Duration, Duration), ConfigError> {
        let (heartbeat, election) = (
            self.number::<u64>("heartbeat-interval")?,
            self.number::<u64>("election-timeout")?,
        );
        for (flag, ms) in [
            ("heartbeat-interval", heartbeat),
            ("election-timeout", election),
        ] {
            if ms == 0 {
                return Err(ConfigError::NotPositive { flag, ms });
            }
        }
        if heartbeat.saturating_mul(5) > election {
            return Err(ConfigError::Election { election, heartbeat });
        }
        if election > ELECTION_MS_MAX {
            return Err(ConfigError::ElectionTooLong { election, max: ELECTION_MS_MAX });
        }
        Ok((
            Duration::from_millis(heartbeat),
            Duration::from_millis(election),
        ))
    }

    /// Returns the name and the sorted peer URLs of each initial member, sorted by name. By default, the only member is this
    /// one with its `advertised` URLs.
    fn initial_cluster(
        &self,
        name: &str,
        advertised: &[Url],
    ) -> Result<Vec<(String, Vec<Url>)>, ConfigError> {
        let flag = "initial-cluster";
        let mut members = members(self.text(flag)).map_err(|fault| match fault {
            MembersError::NoEqualsSign(part) => self.bad(flag, &format!("{part} is not NAME=URL")),
            MembersError::Url(source) => ConfigError::Url { flag, source },
        })?;
        if members.is_empty() {
            members.push((name.to_owned(), advertised.to_vec()));
        }
        members.iter_mut().for_each(|(_, urls)| urls.sort());
        members.sort();
        Ok(members)
    }

    /// Returns a size in bytes. Returns `None` for 0, which derives the size from the file system. Returns `Some(0)` for a
    /// negative number, which disables the feature.
    fn disk_bytes(&self, flag: &'static str) -> Result<Option<u64>, ConfigError> {
        Ok(match self.number::<i64>(flag)? {
            0 => None,
            bytes => Some(u64::try_from(bytes).unwrap_or(0)),
        })
    }

    /// Returns the memory budget in bytes, or `None` for 0, which derives the budget from the memory limit.
    fn memory_budget_bytes(&self) -> Result<Option<u64>, ConfigError> {
        let flag = "memory-budget-bytes";
        match self.number::<u64>(flag)? {
            0 => Ok(None),
            bytes @ MEMORY_BUDGET_BYTES_MIN.. => Ok(Some(bytes)),
            _ => Err(self.bad(flag, "must be 0 or at least 67108864 (64 MiB)")),
        }
    }

    /// Parses the settings that request handlers read. A quota or a progress interval of 0 means the default. Raises a shorter
    /// progress interval to [`WATCH_PROGRESS_INTERVAL_FLOOR`], and disables v1 if v2 is disabled.
    fn settings(&self) -> Result<Settings, ConfigError> {
        Ok(Settings {
            max_request_bytes: self.number("max-request-bytes")?,
            max_txn_ops: self.number("max-txn-ops")?,
            strict_reconfig_check: self.boolean("strict-reconfig-check")?,
            max_learners: self.number("max-learners")?,
            discovery_service_url: self.discovery_service_url()?,
            cors: self.names("cors"),
            host_whitelist: self.names("host-whitelist"),
            enable_grpc_gateway: self.boolean("enable-grpc-gateway")?,
            enable_console: self.boolean("enable-console")?,
            flight_recorder: FlightRecorder {
                bytes: self
                    .number::<u64>("flight-recorder-megabytes")?
                    .saturating_mul(1 << 20),
                values: self.boolean("flight-recorder-values")?,
            },
            enable_v2: self.boolean("enable-v2")?,
            enable_v1: self.boolean("enable-v1")? && self.boolean("enable-v2")?,
            watch_progress_interval: match self.duration("watch-progress-notify-interval")? {
                Duration::ZERO => WATCH_PROGRESS_INTERVAL,
                interval => interval.max(WATCH_PROGRESS_INTERVAL_FLOOR),
            },
            client_cert_auth: self.boolean("client-cert-auth")?,
            quota_bytes: match self.number::<i64>("quota-backend-bytes")? {
                0 => Some(QUOTA_BYTES),
                // As in etcd, a negative number disables the quota.
                bytes => u64::try_from(bytes).ok(),
            },
            lease_ttl_min_s: self.lease_ttl_min_s()?,
            auth: self.auth()?,
        })
    }

    /// Returns the URL of the discovery service without trailing slashes, or `None` if the URL is empty. The URL may have a
    /// path. Fails if the URL has a query or a scheme other than http and https.
    fn discovery_service_url(&self) -> Result<Option<String>, ConfigError> {
        let flag = "discovery-service-url";
        let text = self.text(flag).trim_end_matches('/');
        if text.is_empty() {
            return Ok(None);
        }
        let url = text.parse::<http::Uri>().ok().filter(|url| {
            matches!(url.scheme_str(), Some("http" | "https")) && url.query().is_none()
        });
        match url {
            Some(_) => Ok(Some(text.to_owned())),
            None => Err(self.bad(flag, "must be an http or https URL without a query")),
        }
    }

    /// Returns the settings of authentication. A token TTL of 0 means [`TOKEN_TTL`]. Does not check the type and options of
    /// tokens.
    fn auth(&self) -> Result<AuthSettings, ConfigError> {
        Ok(AuthSettings {
            token: self.text("auth-token").to_owned(),
            token_ttl: match self.number("auth-token-ttl")? {
                0 => TOKEN_TTL,
                seconds => Duration::from_secs(seconds),
            },
            bcrypt_cost: self.number("bcrypt-cost")?,
        })
    }

    /// Returns the minimum lease TTL as etcd does: one and a half election timeouts in whole heartbeats, rounded up to seconds.
    fn lease_ttl_min_s(&self) -> Result<i64, ConfigError> {
        let (heartbeat, election) = self.elections()?;
        let ticks = election.as_millis() / heartbeat.as_millis();
        let shortest_ms = ticks * 3 / 2 * heartbeat.as_millis();
        Ok(i64::try_from(shortest_ms.div_ceil(1000)).unwrap_or(i64::MAX))
    }

    /// Returns the settings of client connections. A keepalive interval or timeout of 0 disables keepalive pings.
    fn connections(&self, max_message_bytes: usize) -> Result<ConnectionSettings, ConfigError> {
        let interval = self.duration("grpc-keepalive-interval")?;
        let timeout = self.duration("grpc-keepalive-timeout")?;
        let pings = !interval.is_zero() && !timeout.is_zero();
        Ok(ConnectionSettings {
            keepalive_min_time: self.duration("grpc-keepalive-min-time")?,
            keepalive_interval: pings.then_some(interval),
            keepalive_timeout: timeout,
            max_concurrent_streams: self.number("max-concurrent-streams")?,
            reuse_port: self.boolean("socket-reuse-port")?,
            max_message_bytes,
            unary_expected: self.duration("warning-unary-request-duration")?,
        })
    }

    /// Returns the mode and the retention of automatic compaction, or `None` for a retention of 0, which disables compaction. A
    /// number without a unit means hours or revisions. As in etcd, a duration in the mode `revision` means its number of
    /// nanoseconds.
    fn auto_compaction(&self) -> Result<Option<AutoCompaction>, ConfigError> {
        let flag = "auto-compaction-retention";
        let periodic = match self.text("auto-compaction-mode") {
            "periodic" => true,
            "revision" => false,
            other => return Err(ConfigError::CompactionMode(other.to_owned())),
        };
        let text = self.text(flag);
        let bad = || self.bad(flag, "must be a number, or a duration such as 5m or 1h30m");
        Ok(match (text.parse::<u32>(), periodic) {
            // etcd also treats an empty string as disabled.
            _ if text.is_empty() => None,
            (Ok(0), _) => None,
            (Ok(hours), true) => Some(AutoCompaction::Periodic(HOUR * hours)),
            (Ok(_) | Err(_), false) if text.bytes().all(|digit| digit.is_ascii_digit()) => {
                let keep = text.parse().map_err(|_| bad())?;
                Some(AutoCompaction::Revisions(keep))
            }
            (Ok(_) | Err(_), _) => {
                let duration = text::parse_duration(text).ok_or_else(bad)?;
                let keep = i64::try_from(duration.as_nanos()).map_err(|_| bad())?;
                match (duration, periodic) {
                    (Duration::ZERO, _) => None,
                    (_, true) => Some(AutoCompaction::Periodic(duration)),
                    (_, false) => Some(AutoCompaction::Revisions(keep)),
                }
            }
        })
    }

    /// Returns the settings of the log. Without `--log-format`, the format is JSON if `--logger` is given. Fails if the output
    /// `default` is combined with other outputs.
    fn log(&self) -> Result<LogConfig, ConfigError> {
        let level = self.choice(
            "log-level",
            &[
                ("debug", LevelFilter::DEBUG),
                ("info", LevelFilter::INFO),
                ("warn", LevelFilter::WARN),
                ("warning", LevelFilter::WARN),
                ("error", LevelFilter::ERROR),
                // `error` is the highest level in use.
                ("dpanic", LevelFilter::ERROR),
                ("panic", LevelFilter::ERROR),
                ("fatal", LevelFilter::ERROR),
            ],
        )?;
        let format = match self.text("log-format") {
            // Users who set etcd's `--logger` parse log lines with programs.
            "" => self.given("logger").map(|_| LogFormat::Json),
            _ => Some(self.choice(
                "log-format",
                &[("json", LogFormat::Json), ("console", LogFormat::Console)],
            )?),
        };
        let outputs = self.list("log-outputs");
        if outputs.len() > 1 && outputs.iter().any(|output| output == "default") {
            return Err(ConfigError::DefaultOutput);
        }
        let mut outputs: Vec<LogOutput> = outputs
            .into_iter()
            .map(|output| match output.as_str() {
                // systemd writes stderr to the journal.
                "default" | "stderr" | "systemd/journal" => LogOutput::Stderr,
                "stdout" => LogOutput::Stdout,
                path => LogOutput::File(PathBuf::from(path)),
            })
            .collect();
        outputs.dedup();
        Ok(LogConfig { level, format, rotation: self.rotation(&outputs)?, outputs })
    }

    /// Returns the settings of log rotation, or `None` if rotation is disabled. If it is enabled, fails unless exactly one
    /// output is a file. Also fails if the settings are invalid or request compression.
    fn rotation(&self, outputs: &[LogOutput]) -> Result<Option<Rotation>, ConfigError> {
        if !self.boolean("enable-log-rotation")? {
            return Ok(None);
        }
        if outputs
            .iter()
            .filter(|output| matches!(output, LogOutput::File(_)))
            .count()
            != 1
        {
            return Err(ConfigError::Rotation);
        }
        let flag = "log-rotation-config-json";
        let mut rotation: Rotation = serde_json::from_str(self.text(flag))
            .map_err(|error| self.bad(flag, &error.to_string()))?;
        if rotation.compress {
            return Err(self.bad(flag, "compression of log files is not supported"));
        }
        if rotation.max_size_mib == 0 {
            // As in etcd, 0 means the default.
            rotation.max_size_mib = Rotation::default().max_size_mib;
        }
        Ok(Some(rotation))
    }
}

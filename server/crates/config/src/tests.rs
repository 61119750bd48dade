//! Tests combinations of command line, environment and file.

use std::{ffi::OsString, time::Duration};

use super::*;

fn environment(pairs: &[(&str, &str)]) -> Environment {
    pairs
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect()
}

/// Loads the configuration from a command line, split at spaces, and an environment. Panics if the line requests help.
fn load(line: &str, env: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let arguments = line.split_whitespace().map(OsString::from);
    match Config::load(arguments, &environment(env))? {
        Invocation::Start(config) => Ok(*config),
        other @ (Invocation::Help(_) | Invocation::Version) => panic!("not a startup: {other:?}"),
    }
}

fn refusal(line: &str) -> String {
    load(line, &[]).expect_err(line).to_string()
}

#[test]
fn without_flags_the_defaults_apply() {
    let (config, default) = (load("", &[]).unwrap(), Config::default());
    let [warning] = &config.warnings[..] else {
        panic!("{:?}", config.warnings)
    };
    assert!(
        warning.starts_with("--name has its default value"),
        "{warning}"
    );
    let without = Config { warnings: Vec::new(), ..config };
    assert_eq!(format!("{without:?}"), format!("{default:?}"));
    assert_eq!(
        without.bootstrap().unwrap(),
        default.initial_advertise_peer_urls
    );
    let (settings, connections) = (default.settings, default.connections);
    assert_eq!(
        (settings.quota_bytes, settings.lease_ttl_min_s),
        (Some(2 << 30), 2)
    );
    assert_eq!(connections.max_message_bytes, 2 << 20);
}

#[test]
fn a_flag_can_be_written_in_several_ways() {
    for line in [
        "--name m --pre-vote=false --unsafe-no-fsync",
        "-name m -pre-vote=false -unsafe-no-fsync",
        "--name=m --pre-vote=F --unsafe-no-fsync=1",
        "--name=x --name=m --pre-vote=f --unsafe-no-fsync=T",
    ] {
        let config = load(line, &[]).unwrap();
        assert_eq!(
            (
                config.name.as_str(),
                config.pre_vote,
                config.unsafe_no_fsync
            ),
            ("m", false, true)
        );
        assert_eq!(config.data_dir, PathBuf::from("m.etcd"));
    }
    let config = load("--quota-backend-bytes -1 --name -m", &[]).unwrap();
    assert_eq!(
        (config.settings.quota_bytes, config.name.as_str()),
        (None, "-m")
    );
}

#[test]
fn a_memory_budget_has_a_minimum() {
    let budget = |line| load(line, &[]).unwrap().memory_budget_bytes;
    assert_eq!(budget(""), None);
    assert_eq!(budget("--memory-budget-bytes=0"), None);
    assert_eq!(budget("--memory-budget-bytes=67108864"), Some(64 << 20));
    for bytes in ["67108863", "-1", "1GiB"] {
        let refusal = refusal(&format!("--memory-budget-bytes={bytes}"));
        assert!(
            refusal.starts_with(&format!(
                "invalid value \"{bytes}\" for --memory-budget-bytes"
            )),
            "{refusal}"
        );
    }
}

#[test]
fn the_environment_fills_in_missing_flags() {
    let env = [
        ("ETCD_NAME", "m"),
        ("ETCD_HEARTBEAT_INTERVAL", ""),
        ("ETCD_NAEM", "x"),
        ("PATH", "/"),
    ];
    let config = load("--data-dir /d", &env).unwrap();
    assert_eq!(
        (config.name.as_str(), config.data_dir),
        ("m", PathBuf::from("/d"))
    );
    assert_eq!(
        config.warnings,
        ["unrecognized environment variable ETCD_NAEM"]
    );
    let error = load("--name x", &env).unwrap_err().to_string();
    assert!(
        error.starts_with("conflicting environment variable ETCD_NAME is shadowed"),
        "{error}"
    );
}

#[test]
fn a_config_file_replaces_flags_and_environment() {
    let path = std::env::temp_dir().join(format!("witan-config-{}.yaml", std::process::id()));
    std::fs::write(
        &path,
        "name: m\nelection-timeout: 2000\nwarning-apply-duration: 5000000\n",
    )
    .unwrap();
    let line = format!("--config-file {} --name x", path.display());
    let by_flag = load(&line, &[("ETCD_DATA_DIR", "/d")]).unwrap();
    let by_env = load("", &[("ETCD_CONFIG_FILE", path.to_str().unwrap())]).unwrap();
    std::fs::remove_file(&path).unwrap();
    for config in [by_flag, by_env] {
        assert_eq!(
            (config.name.as_str(), config.data_dir),
            ("m", PathBuf::from("m.etcd"))
        );
        assert_eq!(config.election_timeout, Duration::from_secs(2));
        assert_eq!(config.warning_apply_duration, Duration::from_millis(5));
        assert!(
            config.warnings[0].starts_with("configuration read from"),
            "{:?}",
            config.warnings
        );
    }
    assert!(refusal("--config-file /nowhere.yaml").starts_with("cannot read /nowhere.yaml: "));
}

#[test]
fn a_typo_gets_a_suggestion() {
    let error = refusal("--data-dri /d");
    assert!(error.contains("--data-dir"), "{error}");
    assert_eq!(refusal("foo"), "\"foo\" is not a valid flag");
}

#[test]
fn invalid_settings_have_etcds_errors() {
    for (line, text) in [
        (
            "--listen-client-urls http://127.0.0.1:1",
            "--advertise-client-urls is required when --listen-client-urls is set explicitly",
        ),
        (
            "--election-timeout 200",
            "--election-timeout[200ms] should be at least as 5 times as --heartbeat-interval[100ms]",
        ),
        (
            "--election-timeout 50001",
            "--election-timeout[50001ms] is too long, and should be set less than 50000ms",
        ),
        (
            "--heartbeat-interval 0",
            "--heartbeat-interval must be >0 (set to 0ms)",
        ),
        (
            "--auto-compaction-mode foo",
            "unknown auto-compaction-mode \"foo\"",
        ),
        (
            "--warning-unary-request-duration 1s --experimental-warning-unary-request-duration 1s",
            "both --experimental-warning-unary-request-duration and --warning-unary-request-duration \
             flags are set. Use only --warning-unary-request-duration",
        ),
        (
            "--log-outputs default,stderr",
            "multi logoutput for \"default\" is not supported yet",
        ),
        (
            "--discovery http://x:1/t --initial-cluster a=http://x:1",
            "multiple discovery or bootstrap flags are set. Choose one of \"initial-cluster\", \
             \"discovery\", \"discovery-endpoints\" or \"discovery-srv\"",
        ),
        (
            "--listen-metrics-urls http://example.org:1",
            "--listen-metrics-urls: expected IP in URL for binding (http://example.org:1)",
        ),
        (
            "--initial-advertise-peer-urls http://:2380",
            "--initial-advertise-peer-urls: unexpected empty host (http://:2380)",
        ),
        (
            "--advertise-client-urls http://:2379",
            "--advertise-client-urls: unexpected empty host (http://:2379)",
        ),
    ] {
        assert_eq!(refusal(line), text);
    }
}

#[test]
fn contradictory_tls_settings_between_members_are_refused() {
    let secure = "--initial-advertise-peer-urls https://127.0.0.1:1";
    let pair = "--peer-cert-file c --peer-key-file k";
    for (line, part) in [
        (
            secure.to_owned(),
            "(--peer-cert-file, --peer-key-file) must be provided for peer url https://127.0.0.1:1",
        ),
        (
            "--peer-cert-file c".to_owned(),
            "--peer-cert-file and --peer-key-file must be set together",
        ),
        (
            "--peer-client-key-file k".to_owned(),
            "--peer-client-cert-file and --peer-client-key-file must be set together",
        ),
        (
            format!("{pair} --peer-client-cert-auth"),
            "--peer-client-cert-auth needs --peer-trusted-ca-file",
        ),
        (
            "--peer-cert-allowed-cn a --peer-cert-allowed-hostname b".to_owned(),
            "mutually exclusive (cns=[a], hostnames=[b])",
        ),
        (
            "--peer-auto-tls --self-signed-cert-validity 0".to_owned(),
            "selfSignedCertValidity is invalid",
        ),
    ] {
        let error = refusal(&line);
        assert!(error.contains(part), "{line}: {error}");
    }
    let line = format!("{secure} {pair} --initial-cluster default=https://127.0.0.1:1");
    for (ca, warned) in [("", true), (" --peer-trusted-ca-file ca", false)] {
        let config = load(&format!("{line}{ca}"), &[]).unwrap();
        assert!(config.peer_tls.port.certificate.is_some());
        let mut warnings = config.warnings.iter();
        let of_system =
            warnings.any(|warning| warning.contains("the CA certificates of the system"));
        assert_eq!(of_system, warned, "{ca}");
    }
}

#[test]
fn the_configured_logger_writes_json() {
    for (line, format) in [
        ("", None),
        ("--logger=zap", Some(LogFormat::Json)),
        ("--log-format=json", Some(LogFormat::Json)),
        (
            "--logger=zap --log-format=console",
            Some(LogFormat::Console),
        ),
    ] {
        assert_eq!(load(line, &[]).unwrap().log.format, format, "{line}");
    }
    let of_environment = load("", &[("ETCD_LOGGER", "zap")]).unwrap();
    assert_eq!(of_environment.log.format, Some(LogFormat::Json));
}

#[test]
fn log_levels_are_parsed_as_in_etcd() {
    for (level, expect) in [
        ("debug", LevelFilter::DEBUG),
        ("INFO", LevelFilter::INFO),
        ("Warn", LevelFilter::WARN),
        ("warning", LevelFilter::WARN),
    ] {
        let config = load("", &[("ETCD_LOG_LEVEL", level)]).unwrap();
        assert_eq!(config.log.level, expect, "{level}");
    }
    assert!(refusal("--log-level loud").contains("must be one of debug, info, warn"));
}

#[test]
fn feature_gates_are_known_by_name() {
    for (gates, part) in [
        ("NoSuch=true", "unrecognized feature gate: NoSuch"),
        (
            "InitialCorruptCheck",
            "missing bool value for InitialCorruptCheck",
        ),
        (
            "CompactHashCheck=maybe",
            "invalid value of CompactHashCheck=maybe",
        ),
    ] {
        let error = refusal(&format!("--feature-gates={gates}"));
        assert!(error.contains(part), "{gates}: {error}");
    }
    for (gates, initial, compactions) in [
        ("", false, false),
        (
            "InitialCorruptCheck=true,CompactHashCheck=false",
            true,
            false,
        ),
        ("AllAlpha=true,InitialCorruptCheck=false", false, true),
        (
            "LeaseCheckpoint=true,TxnModeWriteWithSharedBuffer=true",
            false,
            false,
        ),
    ] {
        let config = load(&format!("--feature-gates={gates}"), &[]).unwrap();
        let CorruptionChecks { initial: at_start, compactions: every, .. } = config.corruption;
        assert_eq!(
            (at_start, every.is_some()),
            (initial, compactions),
            "{gates}"
        );
        let warned = config
            .warnings
            .iter()
            .any(|warning| warning.contains("feature-gates"));
        assert!(!warned, "{gates}: {:?}", config.warnings);
    }
    let config = load("--feature-gates=StopGRPCServiceOnDefrag=true", &[]).unwrap();
    let warned = "--feature-gates StopGRPCServiceOnDefrag=true has no effect";
    assert!(
        config
            .warnings
            .iter()
            .any(|warning| warning.starts_with(warned))
    );
}

#[test]
fn a_member_dials_from_an_advertised_address_if_configured() {
    let urls = "--initial-advertise-peer-urls=http://a:1,http://[::1]:1,http://0.0.0.0:1";
    let (gate, first) = (
        "--feature-gates=SetMemberLocalAddr=true",
        "http://[2001:db8::1]:1",
    );
    for (line, address, warned) in [
        (format!("{urls},{first}"), None, false),
        (
            format!("{gate} {urls},{first},http://192.0.2.1:1"),
            Some("2001:db8::1"),
            false,
        ),
        (
            format!("{gate} {urls},http://192.0.2.1:1"),
            Some("192.0.2.1"),
            false,
        ),
        (format!("{gate} {urls}"), None, true),
    ] {
        let config = load(&line, &[]).unwrap();
        let expect = address.map(|it| it.parse().unwrap());
        assert_eq!(config.peers.local_address, expect, "{line}");
        let mut warnings = config.warnings.iter();
        let found = warnings.any(|it| it.contains("unable to set a member local address"));
        assert_eq!(found, warned, "{line}");
    }
}

#[test]
fn unsupported_flags_are_refused_with_a_reason() {
    for (line, part) in [
        ("--experimental-memory-mlock", "--memory-mlock is refused"),
        ("--enable-log-rotation", "needs exactly one file"),
        ("--pre-vote=maybe", "invalid value \"maybe\" for --pre-vote"),
        (
            "--max-snapshots many",
            "invalid value \"many\" for --max-snapshots",
        ),
        (
            "--initial-cluster-state old",
            "must be one of new, existing",
        ),
        ("--log-level loud", "must be one of debug, info"),
    ] {
        let error = refusal(line);
        assert!(error.contains(part), "{line}: {error}");
    }
    for line in [
        "--cert-file= --peer-auto-tls=false --discovery-fallback=proxy --logger=capnslog",
        "--proxy=off",
    ] {
        assert!(load(line, &[]).is_ok(), "{line}");
    }
}

#[test]
fn log_files_without_a_maximum_size_have_the_default_one() {
    for json in ["{}", r#"{"maxsize":0}"#] {
        let flags = "--log-outputs=a.log --enable-log-rotation";
        let line = format!("{flags} --log-rotation-config-json={json}");
        let rotation = load(&line, &[]).unwrap().log.rotation;
        assert_eq!(rotation, Some(Rotation::default()), "{json}");
    }
}

/// Flags of a member that listens with TLS.
const HTTPS: &str = "--name m --listen-client-urls https://127.0.0.1:1,http://127.0.0.1:2 \
                     --advertise-client-urls https://127.0.0.1:1";

#[test]
fn contradictory_tls_settings_have_etcds_errors() {
    for (flags, text) in [
        (
            "",
            "TLS key/cert (--cert-file, --key-file) must be provided for client url \
             https://127.0.0.1:1 with HTTPS scheme",
        ),
        (
            "--cert-file c.pem",
            "--cert-file and --key-file must be set together: KeyFile and CertFile must both be \
             present[key: , cert: c.pem]",
        ),
        (
            "--cert-file c --key-file k --client-cert-auth",
            "--client-cert-auth needs --trusted-ca-file, the CA certificate file for verifying clients",
        ),
        (
            "--auto-tls --self-signed-cert-validity 0",
            "selfSignedCertValidity is invalid,it should be greater than 0",
        ),
        (
            "--auto-tls --cipher-suites TLS_RSA_WITH_AES_128_GCM_SHA256,TLS_FOO",
            "unexpected TLS cipher suite \"TLS_FOO\"",
        ),
        (
            "--auto-tls --tls-min-version TLS1.1",
            "unexpected TLS version \"TLS1.1\" (must be one of: TLS1.2, TLS1.3)",
        ),
        (
            "--auto-tls --tls-min-version TLS1.3 --tls-max-version TLS1.2",
            "min version (TLS1.3) is greater than max version (TLS1.2)",
        ),
        (
            "--auto-tls --tls-min-version TLS1.3 --cipher-suites TLS_AES_128_GCM_SHA256",
            "cipher suites cannot be configured when only TLS1.3 is enabled",
        ),
    ] {
        assert_eq!(refusal(&format!("{HTTPS} {flags}")), text);
    }
    assert_eq!(
        refusal("--listen-metrics-urls https://127.0.0.1:1"),
        "client TLS key/cert (--cert-file, --key-file) must be provided for metrics secure url"
    );
}

#[test]
fn tls_flags_are_applied() {
    let line = format!(
        "{HTTPS} --cert-file c --key-file k --trusted-ca-file a --client-cert-auth \
         --client-crl-file r --auto-tls --tls-max-version TLS1.2"
    );
    let config = load(&line, &[]).unwrap();
    let expected = PortTls {
        certificate: Some(ServerCertificate::Files { cert: "c".into(), key: "k".into() }),
        client_ca: Some("a".into()),
        crl: Some("r".into()),
        client_cert_auth: true,
        ..PortTls::default()
    };
    assert_eq!(config.tls, expected);
    assert!(config.settings.client_cert_auth);
    let warnings = config.warnings.join("\n");
    for part in [
        "ignoring client auto TLS since certs given",
        "ignoring key and cert files for http://127.0.0.1:2",
        "ignoring client cert auth for http://127.0.0.1:2",
    ] {
        assert!(warnings.contains(part), "{part} in {warnings}");
    }
    // No URL uses TLS, so the files are not read.
    let plain = load("--cert-file c --key-file k", &[]).unwrap();
    assert_eq!(plain.tls.certificate, None);
}

#[test]
fn flags_without_effect_cause_a_warning_unless_default() {
    let config = load(
        "--name m --snapshot-count=10000 --max-wals=7 --experimental-warning-apply-duration=1s \
         --log-output=stdout",
        &[],
    )
    .unwrap();
    assert_eq!(config.warning_apply_duration, Duration::from_secs(1));
    assert_eq!(config.log.outputs, [LogOutput::Stdout]);
    let text = config.warnings.join("\n");
    assert!(text.contains("--max-wals has no effect"), "{text}");
    assert!(
        text.contains("--experimental-warning-apply-duration is an old name"),
        "{text}"
    );
    assert!(!text.contains("snapshot-count"), "{text}");
}

#[test]
fn the_initial_cluster_must_contain_the_advertised_urls_of_a_new_member() {
    let config = load("--initial-cluster a=http://localhost:2380", &[]).unwrap();
    assert_eq!(
        config.bootstrap().unwrap_err().to_string(),
        "couldn't find local name \"default\" in the initial cluster configuration"
    );
    let config = load("--name a --initial-cluster a=http://127.0.0.1:1", &[]).unwrap();
    assert_eq!(
        config.bootstrap().unwrap_err().to_string(),
        "--initial-cluster has a=http://127.0.0.1:1 but missing from \
         --initial-advertise-peer-urls=http://localhost:2380"
    );
    let line = "--name a --initial-cluster a=http://127.0.0.1:1,b=http://127.0.0.1:2";
    let joining = load(&format!("{line} --initial-cluster-state existing"), &[]).unwrap();
    assert_eq!(
        joining.bootstrap().unwrap()[0].to_string(),
        "http://127.0.0.1:1"
    );
    let line = "--name a --initial-advertise-peer-urls http://127.0.0.1:7,http://127.0.0.1:1";
    let config = load(line, &[]).unwrap();
    let urls: Vec<String> = config
        .bootstrap()
        .unwrap()
        .iter()
        .map(Url::to_string)
        .collect();
    assert_eq!(urls, ["http://127.0.0.1:1", "http://127.0.0.1:7"]);
    let own = "http://localhost:2380";
    for other in [own, "http://a:1,c=http://a:1"] {
        let line = format!("--name a --initial-cluster a={own},b={other}");
        let refusal = load(&line, &[]).unwrap().bootstrap().unwrap_err();
        let text = refusal.to_string();
        assert!(
            text.starts_with("initial cluster has duplicate url"),
            "{text}"
        );
    }
}

#[test]
fn clients_are_pinged_unless_a_setting_is_zero() {
    for (line, interval) in [
        ("", Some(Duration::from_secs(2 * 3600))),
        ("--grpc-keepalive-interval 9s", Some(Duration::from_secs(9))),
        ("--grpc-keepalive-interval 0", None),
        ("--grpc-keepalive-timeout 0", None),
    ] {
        let connections = load(line, &[]).unwrap().connections;
        assert_eq!(connections.keepalive_interval, interval, "{line}");
    }
}

#[test]
fn a_level_is_held_for_a_time_or_until_a_command() {
    for (line, hold) in [
        ("", Some(Duration::from_secs(24 * 3600))),
        ("--level-hold 90m", Some(Duration::from_secs(90 * 60))),
        ("--level-hold 0s", Some(Duration::ZERO)),
        ("--level-hold never", None),
    ] {
        let config = load(line, &[]).unwrap();
        assert_eq!(config.peers.level_hold, hold, "{line}");
    }
    let refused = refusal("--level-hold soon");
    assert!(
        refused.contains("must be never, or a duration"),
        "{refused}"
    );
}

#[test]
fn retention_is_a_time_or_a_number() {
    let hours = |hours: u64| Some(AutoCompaction::Periodic(Duration::from_secs(3600 * hours)));
    for (line, expect) in [
        ("", None),
        ("--auto-compaction-retention 0", None),
        ("--auto-compaction-retention 10", hours(10)),
        ("--auto-compaction-retention 1h0m", hours(1)),
        ("--auto-compaction-retention 0s", None),
        (
            "--auto-compaction-mode revision --auto-compaction-retention 1000",
            Some(AutoCompaction::Revisions(1000)),
        ),
        (
            "--auto-compaction-mode revision --auto-compaction-retention 1us",
            Some(AutoCompaction::Revisions(1000)),
        ),
    ] {
        assert_eq!(load(line, &[]).unwrap().auto_compaction, expect, "{line}");
    }
    for bad in ["x", "-1", "-5m", "5d", "99999999999999999999"] {
        let refused = refusal(&format!("--auto-compaction-retention {bad}"));
        assert!(
            refused.contains("must be a number, or a duration"),
            "{refused}"
        );
    }
}

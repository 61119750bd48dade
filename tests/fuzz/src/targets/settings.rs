//! Configuration: a file, or a command line with its environment.

use std::ffi::OsString;

use witan_config::{Config, Environment, Invocation, Url, fuzz};
use witan_gocompat::text::parse_duration;

/// Upper bound of a duration in seconds. It is above the range of an `i64` in nanoseconds.
const DURATION_SECONDS_MAX: u64 = 1 << 34;

/// The input is the text of a `--config-file`.
pub(super) fn file(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(config) = fuzz::file(text) {
        sound(&config);
    }
    for word in text.split([' ', '\n', ':', ',']) {
        if let Some(read) = parse_duration(word) {
            assert!(read.as_secs() < DURATION_SECONDS_MAX, "{word}");
        }
    }
    for line in text.lines() {
        if let Ok(url) = line.parse::<Url>() {
            assert_eq!(url.to_string().parse::<Url>().as_ref(), Ok(&url));
            // An error is a valid answer.
            let _ = url.bindable();
        }
    }
}

/// Each line is an argument. Lines that begin with `ETCD_` are environment variables.
pub(super) fn arguments(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    // Skip `--config-file`, so that no file of this machine is read.
    if text
        .to_ascii_lowercase()
        .replace('_', "-")
        .contains("config-file")
    {
        return;
    }
    let mut arguments: Vec<OsString> = Vec::new();
    let mut environment = Environment::new();
    for line in text.lines() {
        match line.split_once('=').filter(|_| line.starts_with("ETCD_")) {
            Some((name, value)) => {
                environment.insert(name.into(), value.into());
            }
            None => arguments.push(line.into()),
        }
    }
    match Config::load(arguments.into_iter(), &environment) {
        Ok(Invocation::Start(config)) => sound(&config),
        Ok(Invocation::Help(_) | Invocation::Version) => {}
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn sound(config: &Config) {
    assert!(config.heartbeat_interval <= config.election_timeout);
    assert!(!config.listen_client_urls.is_empty());
    if let Ok(urls) = config.bootstrap() {
        assert!(!urls.is_empty());
    }
}

//! `--config-file`: YAML with the flags' names as keys, some of them in sections. Only this file uses the YAML library.

use std::{fs, path::Path};

use serde_yaml::Value;

use super::{
    error::ConfigError,
    flags::{self, Flag, FlagKind},
    values::FlagValues,
};

/// The YAML key of [`FlagValues::client_common_names`].
pub(super) const CLIENT_COMMON_NAMES: &str = "client-transport-security.allowed-cn";

/// Reads a configuration file and adds its values to `values`.
pub(super) fn read(path: &Path, values: &mut FlagValues) -> Result<(), ConfigError> {
    let text = fs::read_to_string(path)
        .map_err(|source| ConfigError::File { path: path.to_owned(), source })?;
    parse(&text, values).map_err(|reason| ConfigError::Yaml { path: path.to_owned(), reason })
}

/// Adds the values of a YAML document to `values`. The error says why the document is invalid; an empty document is valid.
/// After an error, `values` may contain some of the document's values.
pub(super) fn parse(text: &str, values: &mut FlagValues) -> Result<(), String> {
    let document: Value = serde_yaml::from_str(text).map_err(|error| error.to_string())?;
    if document == Value::Null {
        return Ok(());
    }
    let Value::Mapping(mapping) = document else {
        return Err("the file is not a mapping of flags to values".to_owned());
    };
    mapping.into_iter().try_for_each(|(key, value)| {
        entry(&scalar(&key).ok_or("a key is not a string")?, value, values)
    })
}

/// Adds the value for a key, or the values in a section. `key` begins with the names of its sections, separated by dots. Warns
/// about an unknown key. Fails for a value that its flag cannot have.
fn entry(key: &str, value: Value, values: &mut FlagValues) -> Result<(), String> {
    if key == CLIENT_COMMON_NAMES {
        let names =
            texts_of(&value).ok_or_else(|| format!("{key}: the value is not a list of names"))?;
        let names = names.into_iter().filter(|name| !name.is_empty());
        values.client_common_names = names.collect();
        return Ok(());
    }
    // Release 0.1.0 read all settings of v3 discovery directly from the section `discovery-config`.
    let earlier = key.replacen("discovery-config.", "discovery-", 1);
    // A key that names no flag may name a section.
    let found = flags::all()
        .find(|flag| flag.yaml == key)
        .or_else(|| flags::find(&earlier));
    match (found, value) {
        // As in etcd, a key without a value keeps the default.
        (Some(_), Value::Null) => Ok(()),
        (None, Value::Null)
            if flags::all().any(|flag| flag.yaml.starts_with(&format!("{key}."))) =>
        {
            Ok(())
        }
        (Some(flag), value) => {
            let text = text_of(flag, &value).ok_or_else(|| {
                format!("{key}: the value is not valid for the flag --{}", flag.name)
            })?;
            values.given.insert(flag.name, text);
            Ok(())
        }
        (None, Value::Mapping(section)) => section.into_iter().try_for_each(|(inner, value)| {
            let inner = scalar(&inner).ok_or_else(|| format!("{key}: a key is not a string"))?;
            entry(&format!("{key}.{inner}"), value, values)
        }),
        (None, _) => {
            values
                .warnings
                .push(format!("unknown key {key} in the configuration file"));
            Ok(())
        }
    }
}

/// Returns a scalar's text, which is empty for `null`, or `None` for a list or a mapping.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some(String::new()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(value) => Some(value.to_string()),
        Value::String(value) => Some(value.clone()),
        Value::Sequence(_) | Value::Mapping(_) | Value::Tagged(_) => None,
    }
}

/// Converts a YAML value to the flag's text on the command line. The items of a list are joined with commas, and a number for a
/// duration flag is read as nanoseconds. Returns `None` for a mapping or a nested list.
fn text_of(flag: &Flag, value: &Value) -> Option<String> {
    match (value, flag.kind) {
        // Go encodes durations as nanoseconds in YAML.
        (Value::Number(ns), FlagKind::Duration) => Some(format!("{ns}ns")),
        // Helm writes a large integer as a floating-point number, such as 8.589934592e+09.
        (Value::Number(number), FlagKind::Integer) if number.is_f64() => {
            Some(number.as_f64()?.to_string())
        }
        (Value::String(word), FlagKind::Bool) => Some(truth_value(word).to_owned()),
        _ => Some(texts_of(value)?.join(",")),
    }
}

/// Converts the words of YAML 1.1 for a boolean, which etcd reads, to `true` or `false`. Returns any other word unchanged.
fn truth_value(word: &str) -> &str {
    match word {
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => "true",
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => "false",
        other => other,
    }
}

/// Returns the texts of a list of scalars, or the text of one scalar. Returns `None` for a mapping or a nested list.
fn texts_of(value: &Value) -> Option<Vec<String>> {
    if let Value::Sequence(list) = value {
        return list.iter().map(scalar).collect();
    }
    scalar(value).map(|text| vec![text])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> FlagValues {
        let mut values = FlagValues::default();
        parse(text, &mut values).unwrap();
        values
    }

    #[test]
    fn names_lists_sections_and_durations_are_read() {
        let values = parsed(
            "name: m1\nheartbeat-interval: 50\nlog-outputs: [stderr, /tmp/x.log]\n\
             warning-apply-duration: 250000000\ngrpc-keepalive-timeout: 7s\n\
             client-transport-security:\n  auto-tls: true\n  allowed-hostname: [a, b]\n\
             quota-backend-bytes: -1\nnonsense: 1\n",
        );
        for (flag, text) in [
            ("name", "m1"),
            ("heartbeat-interval", "50"),
            ("log-outputs", "stderr,/tmp/x.log"),
            ("warning-apply-duration", "250000000ns"),
            ("grpc-keepalive-timeout", "7s"),
            ("auto-tls", "true"),
            ("client-cert-allowed-hostname", "a,b"),
            ("quota-backend-bytes", "-1"),
        ] {
            assert_eq!(values.given(flag), Some(text), "{flag}");
        }
        assert_eq!(
            values.warnings,
            ["unknown key nonsense in the configuration file"]
        );
    }

    #[test]
    fn words_of_yaml_1_1_and_integers_of_helm_are_read() {
        let values = parsed(
            "client-cert-auth: yes\npre-vote: Off\nenable-v2: 'true'\nname: yes\n\
             quota-backend-bytes: 8.589934592e+09\nmax-txn-ops: 1.5\n",
        );
        for (flag, text) in [
            ("client-cert-auth", "true"),
            ("pre-vote", "false"),
            ("enable-v2", "true"),
            ("name", "yes"),
            ("quota-backend-bytes", "8589934592"),
            ("max-txn-ops", "1.5"),
        ] {
            assert_eq!(values.given(flag), Some(text), "{flag}");
        }
    }

    #[test]
    fn a_key_without_a_value_keeps_the_default() {
        let values = parsed("name:\npre-vote: null\nclient-transport-security:\n  auto-tls:\n");
        assert!(values.given.is_empty(), "{:?}", values.given);
        assert!(parsed("peer-transport-security:\n").warnings.is_empty());
        assert_eq!(parsed("peer-transport:\n").warnings.len(), 1);
    }

    #[test]
    fn an_empty_value_is_the_default_even_of_a_flag_without_an_effect() {
        let mut values = parsed("memory-mlock: ''\nbackend-batch-interval: ''\nlogger: ''\n");
        assert!(values.check_flags().is_ok());
        assert!(values.warnings.is_empty(), "{:?}", values.warnings);
    }

    #[test]
    fn common_names_of_clients_are_limited() {
        for (names, expected) in [
            ("[admin, 'Doe, Jane']", "admin|Doe, Jane"),
            ("admin", "admin"),
            ("", ""),
        ] {
            let section = format!("client-transport-security:\n  allowed-cn: {names}\n");
            let values = parsed(&section);
            assert!(values.warnings.is_empty(), "{:?}", values.warnings);
            let tls = values.tls(&crate::Config::default(), &mut Vec::new());
            let allowed = tls.expect("no flags contradict").allowed_common_names;
            assert_eq!(allowed.join("|"), expected, "{names}");
        }
    }

    #[test]
    fn common_names_and_host_names_of_clients_exclude_each_other() {
        let url = "https://127.0.0.1:1".parse().unwrap();
        let config = crate::Config { listen_client_urls: vec![url], ..crate::Config::default() };
        let values = parsed(
            "client-transport-security:\n  cert-file: c\n  key-file: k\n  allowed-cn: [a]\n  \
             allowed-hostname: [b]\n",
        );
        let refused = values.tls(&config, &mut Vec::new()).unwrap_err();
        let error = refused.to_string();
        assert!(error.contains("(cns=[a], hostnames=[b])"), "{error}");
    }

    /// Asserts that these flags have these values and that the file caused no warning.
    fn assert_given(values: &FlagValues, expected: &[(&str, &str)]) {
        for (flag, text) in expected {
            assert_eq!(values.given(flag), Some(*text), "{flag}");
        }
        assert!(values.warnings.is_empty(), "{:?}", values.warnings);
    }

    #[test]
    fn v3_discovery_has_the_sections_of_etcd() {
        let values = parsed(
            "discovery-config:\n  token: t\n  client:\n    endpoints: [http://a:1, http://b:1]\n    \
             dial-timeout: 1000000000\n    secure:\n      insecure-transport: false\n      \
             cacert: ca.pem\n    auth:\n      username: u\n      password: p\n",
        );
        let expected = [
            ("discovery-token", "t"),
            ("discovery-endpoints", "http://a:1,http://b:1"),
            ("discovery-dial-timeout", "1000000000ns"),
            ("discovery-insecure-transport", "false"),
            ("discovery-cacert", "ca.pem"),
            ("discovery-user", "u"),
            ("discovery-password", "p"),
        ];
        assert_given(&values, &expected);
    }

    #[test]
    fn v3_discovery_is_also_read_from_the_section_of_release_0_1_0() {
        let values = parsed(
            "discovery-config:\n  token: t\n  endpoints: [http://a:1]\n  \
             insecure-transport: false\n  cacert: ca.pem\n",
        );
        let expected = [
            ("discovery-token", "t"),
            ("discovery-endpoints", "http://a:1"),
            ("discovery-insecure-transport", "false"),
            ("discovery-cacert", "ca.pem"),
        ];
        assert_given(&values, &expected);
    }

    #[test]
    fn files_without_a_mapping_are_refused() {
        let mut values = FlagValues::default();
        for bad in ["[1]", "just text", "name: {a: b}", ": :"] {
            assert!(parse(bad, &mut values).is_err(), "{bad}");
        }
        assert!(parse("", &mut values).is_ok());
    }
}

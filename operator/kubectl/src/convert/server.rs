//! Flags of etcd, as other operators and charts pass them on: `spec.options` has those with a type, `extraArgs` the rest.

mod flags;

use serde_json::Value;
use witan_crd::OPERATOR_FLAGS;

pub(super) use self::flags::{Flag, of_arguments, of_fields, of_object, of_variables};
use super::{fields::Fields, made::Made, values::is_amount};

/// Flags that have no effect here, because there is no bbolt, and because Witan decides by itself how much of the log it keeps.
const WITHOUT_EFFECT: [&str; 7] = [
    "snapshot-count",
    "max-snapshots",
    "max-wals",
    "backend-bbolt-freelist-type",
    "backend-batch-interval",
    "backend-batch-limit",
    "logger",
];

/// How many heartbeats an election timeout has at least, as etcd itself demands.
const HEARTBEATS: i64 = 5;

/// Milliseconds of heartbeat and election timeout if nothing sets them, here and in etcd.
const HEARTBEAT_DEFAULT: i64 = 100;
const ELECTION_DEFAULT: i64 = 1000;

/// Units of a quota.
const UNITS: [(u64, &str); 2] = [(1 << 30, "Gi"), (1 << 20, "Mi")];

/// Converts flags of etcd to `options`, and notes those that have no counterpart.
pub(super) fn options(fields: &mut Fields, made: &mut Made, flags: Vec<Flag>) {
    for flag in flags {
        if let Err(reason) = option(made, &flag) {
            fields.notes.not_converted(&flag.path, reason);
        }
    }
    retention(fields, made);
    timeouts(fields, made);
}

/// Sets the option that corresponds to a flag; the error says why the flag has none.
pub(super) fn option(made: &mut Made, flag: &Flag) -> Result<(), String> {
    let value = flag.value.trim();
    let number = || {
        value
            .parse::<i64>()
            .map_err(|_| format!("{value} is no number"))
    };
    let switch = || {
        value
            .parse::<bool>()
            .map_err(|_| format!("{value} is neither true nor false"))
    };
    match flag.name.as_str() {
        "quota-backend-bytes" => quota(made, value),
        "auto-compaction-mode" => made.try_set("options.autoCompactionMode", value),
        "auto-compaction-retention" => made.try_set("options.autoCompactionRetention", value),
        "heartbeat-interval" => made.try_set("options.heartbeatIntervalMs", number()?),
        "election-timeout" => made.try_set("options.electionTimeoutMs", number()?),
        "max-request-bytes" => made.try_set("options.maxRequestBytes", number()?),
        "max-txn-ops" => made.try_set("options.maxTxnOps", number()?),
        "log-level" => made.try_set("options.logLevel", value),
        "debug" if switch()? => made.try_set("options.logLevel", "debug"),
        "debug" => Ok(()),
        "metrics" => made.try_set("options.metrics", value),
        "enable-v2" => made.try_set("options.enableV2", switch()?),
        "enable-grpc-gateway" => made.try_set("options.enableGRPCGateway", switch()?),
        name => extra_arg(made, name, value),
    }
}

/// Sets `options.quotaBackendBytes`, in Gi or Mi where that is exact. 0 means the default, here and in etcd.
fn quota(made: &mut Made, value: &str) -> Result<(), String> {
    if value == "0" {
        return Ok(());
    }
    if !is_amount(value) {
        return Err(format!(
            "{value} is no amount of bytes; without one it is 2Gi"
        ));
    }
    // a number of bytes is easier to read with a unit
    let bytes = value.parse::<u64>().ok();
    let unit = UNITS
        .iter()
        .find(|(length, _)| bytes.is_some_and(|bytes| bytes.is_multiple_of(*length)));
    let short = unit
        .zip(bytes)
        .map(|((length, unit), bytes)| format!("{}{unit}", bytes / length));
    made.set(
        "options.quotaBackendBytes",
        short.unwrap_or_else(|| value.to_owned()),
    );
    Ok(())
}

/// Adds a flag that has no field of its own to `options.extraArgs`; the error says why it is left out.
fn extra_arg(made: &mut Made, name: &str, value: &str) -> Result<(), String> {
    if OPERATOR_FLAGS.contains(&name) {
        return Err("the operator sets it".to_owned());
    }
    if WITHOUT_EFFECT.contains(&name) {
        return Err("it has no effect here (docs/reference/flags.md)".to_owned());
    }
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || !name.chars().all(plain) {
        return Err(format!("{name:?} is no flag of etcd"));
    }
    let all = made.get("options.extraArgs").and_then(Value::as_object);
    let mut all = all.cloned().unwrap_or_default();
    all.insert(name.to_owned(), value.into());
    made.try_set("options.extraArgs", all)
}

/// Turns automatic compaction off unless a flag sets it, as etcd does by default: our default would drop the history that
/// clients of the old cluster may read. A retention with a unit, such as `1h`, makes the mode `periodic`, as in etcd.
fn retention(fields: &mut Fields, made: &mut Made) {
    let mode = made.get("options.autoCompactionMode").cloned();
    let given = made
        .get("options.autoCompactionRetention")
        .and_then(Value::as_str);
    if let Some(given) = given {
        let number = given.chars().all(|c| c.is_ascii_digit());
        if mode.is_some_and(|mode| mode == "revision") && !number {
            let text = format!(
                "spec.options.autoCompactionRetention: {given} is no number of revisions, so that the mode is periodic"
            );
            fields.notes.by_hand(text);
            made.set("options.autoCompactionMode", "periodic");
        }
        return;
    }
    made.set("options.autoCompactionRetention", "0");
    fields.notes.note(
        "spec.options.autoCompactionRetention: the old cluster keeps all revisions until a client compacts them; leave it out to keep those of the last hour",
    );
}

/// Removes timeouts that etcd would refuse, too.
fn timeouts(fields: &mut Fields, made: &mut Made) {
    let read = |path: &str, default| made.get(path).and_then(Value::as_i64).unwrap_or(default);
    let heartbeat = read("options.heartbeatIntervalMs", HEARTBEAT_DEFAULT);
    let election = read("options.electionTimeoutMs", ELECTION_DEFAULT);
    if election >= heartbeat.saturating_mul(HEARTBEATS) {
        return;
    }
    let path = "heartbeat-interval, election-timeout";
    let reason = format!(
        "{heartbeat} and {election}: an election timeout has {HEARTBEATS} heartbeats at least"
    );
    fields.notes.not_converted(path, reason);
    made.remove("options.heartbeatIntervalMs");
    made.remove("options.electionTimeoutMs");
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::made::Kind, *};

    fn made(flags: &[&str]) -> (String, String) {
        let mut made = Made::named(Kind::Cluster, "orders").unwrap();
        let mut fields = Fields::new(json!({"args": flags}));
        let flags = of_arguments(&mut fields, "args");
        options(&mut fields, &mut made, flags);
        (
            made.get("options").unwrap().to_string(),
            fields.finish().text(),
        )
    }

    #[test]
    fn arguments_are_written_in_three_ways() {
        let (options, notes) = made(&[
            "--heartbeat-interval=200",
            "-election-timeout",
            "2000",
            "--auto-compaction-retention 1h30m",
            "stray",
            "--pre-vote",
        ]);
        assert_eq!(
            options,
            r#"{"heartbeatIntervalMs":200,"electionTimeoutMs":2000,"autoCompactionRetention":"1h30m","extraArgs":{"pre-vote":"true"}}"#
        );
        assert_eq!(notes, "# not converted: args[4]: stray is no flag\n");
    }

    #[test]
    fn values_that_the_definition_refuses_are_named() {
        let (options, notes) = made(&[
            "--heartbeat-interval=900",
            "--quota-backend-bytes=-1",
            "--auto-compaction-mode=revision",
            "--auto-compaction-retention=5m",
            "--log-level=panic",
            "--data-dir=/x",
            "--max-wals=3",
        ]);
        let expected = r#"{"autoCompactionMode":"periodic","autoCompactionRetention":"5m"}"#;
        assert_eq!(options, expected);
        for path in [
            "heartbeat-interval, election-timeout",
            "args[1]",
            "args[4]",
            "args[5]",
            "args[6]",
        ] {
            assert!(
                notes.contains(&format!("# not converted: {path}: ")),
                "{path}: {notes}"
            );
        }
        assert!(notes.contains("by hand: spec.options.autoCompactionRetention"));
    }
}

//! Encodes a recording as a file.

use bytes::Bytes;
use prost::Message as _;
use witan_machine::levels;
use witan_replica::{
    host::Recovered,
    replica::{AutoCompaction, Config, Tuning},
    wire,
};

use crate::{
    format::{
        Compaction, FRAME_BYTES_MAX, Head, Input, InputKind, LogEntry, MAGIC, Part, Settings,
        Start, Turn,
    },
    frame,
    redact::Redaction,
    state,
};

impl Head {
    /// Appends the beginning of a file: [`MAGIC`] and the head.
    pub fn begin(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(MAGIC);
        frame::put(into, Part::Head(self.clone()));
    }

    /// Appends the settings and the state with which a replica starts. If they are too large for a frame, appends nothing and
    /// logs a warning.
    pub fn start(&self, config: &Config, recovered: &Recovered, into: &mut Vec<u8>) {
        let log_bytes: usize = recovered.records.iter().map(|it| it.payload.len()).sum();
        let fits = log_bytes <= FRAME_BYTES_MAX && self.put_start(config, recovered, into);
        if !fits {
            tracing::warn!(
                log_bytes,
                "the state and the log are too large for the flight recorder; this recording can be shown but not replayed"
            );
        }
    }

    /// Appends the settings and the state. Appends nothing and returns `false` if they do not fit in a frame.
    fn put_start(&self, config: &Config, recovered: &Recovered, into: &mut Vec<u8>) -> bool {
        let redaction = Redaction { values_in_clear: self.values_in_clear };
        let log = recovered.records.iter().map(|record| LogEntry {
            index: record.index,
            term: record.term,
            payload: redact_payload(&record.payload, redaction),
        });
        let start = Start {
            settings: Some(store_settings(config)),
            state: recovered.checkpoint.as_ref().map(state::store),
            hard_state: recovered.hard_state.clone(),
            log: log.collect(),
        };
        frame::put(into, Part::Start(start))
    }
}

impl Turn {
    /// Appends the turn. If the turn is too large for a frame, appends only its number, time and size.
    pub fn append(self, into: &mut Vec<u8>) {
        let Self { number, at_ns, .. } = self;
        let bytes = self.encoded_len() as u64;
        if !frame::put(into, Part::Turn(self)) {
            frame::put(into, Part::Turn(Self::omitted(number, at_ns, bytes)));
        }
    }

    /// Returns the replacement of a turn that is too large for a frame, with only the turn's number, time and size in bytes.
    pub(crate) fn omitted(number: u64, at_ns: i64, bytes: u64) -> Self {
        let kind = Some(InputKind::Omitted(bytes));
        Self {
            number,
            at_ns,
            inputs: vec![Input { kind }],
            effects: Vec::new(),
        }
    }
}

/// Redacts the command in the payload of a log record.
pub(crate) fn redact_payload(payload: &Bytes, redaction: Redaction) -> Bytes {
    wire::map_record(payload, &mut |data| redaction.redact_encoded(&data))
}

/// Converts settings to their recorded form. A recorded level of 0 is the first feature level; 0 bytes are unlimited memory.
pub(crate) fn store_settings(config: &Config) -> Settings {
    Settings {
        id: config.id,
        election_ticks: config.election_ticks as u64,
        heartbeat_ticks: config.heartbeat_ticks as u64,
        election_ns: config.election_ns,
        seed: config.seed,
        pre_vote: config.pre_vote,
        compaction: config.compaction.map(|rule| match rule {
            AutoCompaction::Periodic { period, hour } => {
                Compaction { period, hour, ..Compaction::default() }
            }
            AutoCompaction::Revisions { keep, check_interval_ticks } => {
                Compaction { keep, check_interval_ticks, ..Compaction::default() }
            }
        }),
        request_ticks: config.request_ticks,
        copied: config.copied,
        level: match config.level {
            levels::FIRST => 0,
            later => later,
        },
        long_command_keys: config.tuning.long_command_keys,
        catch_up_entries: config.tuning.catch_up_entries,
        lease_checkpoint_s: config.tuning.lease_checkpoint_s,
        memory_bytes: match config.tuning.memory_bytes {
            u64::MAX => 0,
            limited => limited,
        },
    }
}

/// Converts the result of [`store_settings`] back to settings.
pub(crate) fn restore_settings(settings: &Settings) -> Config {
    Config {
        id: settings.id,
        election_ticks: settings.election_ticks as usize,
        heartbeat_ticks: settings.heartbeat_ticks as usize,
        election_ns: settings.election_ns,
        seed: settings.seed,
        pre_vote: settings.pre_vote,
        compaction: settings.compaction.map(|rule| match rule.period {
            0 => AutoCompaction::Revisions {
                keep: rule.keep,
                check_interval_ticks: rule.check_interval_ticks,
            },
            period => AutoCompaction::Periodic { period, hour: rule.hour },
        }),
        request_ticks: settings.request_ticks,
        copied: settings.copied,
        level: settings.level.max(levels::FIRST),
        tuning: Tuning {
            long_command_keys: settings.long_command_keys,
            catch_up_entries: settings.catch_up_entries,
            lease_checkpoint_s: settings.lease_checkpoint_s,
            memory_bytes: match settings.memory_bytes {
                0 => u64::MAX,
                limited => limited,
            },
        },
    }
}

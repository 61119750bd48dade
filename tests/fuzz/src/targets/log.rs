//! The log: its files on disk, and its entries.

use bytes::Bytes;
use witan_machine::{
    levels,
    member::{Member, MemberId},
    view::View,
};
use witan_replica::{
    host::{Answer, Applied, Envelope, Host, LogBatch, LogRecord, Recovered, Ticket},
    replica::{Config, MessageFault, Replica, Tuning, genesis},
    wire,
};
use witan_storage::fuzz::{entry_frame, entry_unframe, log_kept, log_whole_until};

use crate::input::Input;

/// The beginning of every log file: magic, version 2, alignment 0.
const HEADER: &[u8] =
    b"RAFT-LOG-FILE-HEADER-9986AB3E47F320B394C8E84916EB0ED5\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\0";

/// The first byte selects the test, and the second one is the sequence number. The rest is a file, or chunks for a file.
pub(super) fn file(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let (kind, seq) = (input.byte(), u64::from(input.byte()));
    let last = kind & 1 == 0;
    if kind & 2 == 0 {
        judged(input.rest(), seq, last);
    } else {
        damaged(&mut input, seq, last);
    }
}

/// Checks the result of reading a file. Only the `last` file of a log may be incomplete.
fn judged(file: &[u8], seq: u64, last: bool) {
    let whole = log_whole_until(file, seq);
    assert!(whole.is_none_or(|end| end <= file.len()));
    match log_kept(file, seq, last) {
        Ok(kept) => {
            assert_eq!(kept, whole.unwrap_or(0), "complete records are kept");
            assert!(last || kept == file.len(), "a closed file is complete");
            // The kept part must be a complete file.
            assert!(kept == 0 || log_kept(&file[..kept], seq, false) == Ok(kept));
        }
        Err(_) => assert_ne!(whole, Some(file.len()), "a complete file is not refused"),
    }
}

/// Creates a file of complete records and flips one byte. The reader must not accept the damaged record or a later one.
fn damaged(input: &mut Input<'_>, seq: u64, last: bool) {
    let (place, change) = (usize::from(input.short()), input.byte());
    let mut file = HEADER.to_vec();
    let mut ends = vec![file.len()];
    while let Some(chunk) = input.chunk() {
        push_record(&mut file, seq, chunk);
        ends.push(file.len());
    }
    assert_eq!(log_whole_until(&file, seq), Some(file.len()));
    assert_eq!(log_kept(&file, seq, last), Ok(file.len()));
    let at = place % file.len();
    file[at] ^= change;
    if change == 0 {
        return;
    }
    let before = ends.iter().rev().find(|end| **end <= at).copied();
    assert_eq!(
        log_whole_until(&file, seq),
        before,
        "damage at {at} of {ends:?}"
    );
    let in_the_last = ends.len() < 2 || at >= ends[ends.len() - 2];
    let kept = log_kept(&file, seq, last);
    assert!(kept.is_err() || (last && in_the_last && kept.ok() == Some(before.unwrap_or(0))));
}

/// Appends a record. The first half of `content` is its entries, the second half its footer.
fn push_record(file: &mut Vec<u8>, seq: u64, content: &[u8]) {
    let (entries, footer) = content.split_at(content.len() / 2);
    let sign = u32::try_from(seq & u64::from(u32::MAX)).expect("masked");
    let mut block = Vec::new();
    if !entries.is_empty() {
        block.extend_from_slice(entries);
        block.extend_from_slice(&crc32fast::hash(entries).to_le_bytes());
    }
    let footer_at = 16 + block.len() as u64;
    let footer = if footer.is_empty() { &[0] } else { footer };
    block.extend_from_slice(footer);
    block.extend_from_slice(&(crc32fast::hash(footer) ^ sign).to_le_bytes());
    file.extend_from_slice(&((16 + block.len() as u64) << 8).to_be_bytes());
    file.extend_from_slice(&footer_at.to_be_bytes());
    file.extend_from_slice(&block);
}

/// Id of the member that owns the disk.
const ID: u64 = 7;
/// Maximum distance of indexes between successive records.
const STEP: u64 = 4;

/// The input is a hard state and records from a disk. The member refuses them or runs with them.
pub(super) fn entry(bytes: &[u8]) {
    if let Some(record) = entry_unframe(bytes.to_vec()) {
        assert_eq!(entry_frame(&record), bytes);
    }
    let mut input = Input::new(bytes);
    let hard_state = input.chunk().map(Bytes::copy_from_slice);
    let mut records = Vec::new();
    let (mut index, mut term) = (1, 1);
    while let Some(payload) = input.chunk() {
        let step = u64::from(input.byte());
        index += 1 + u64::from(step & 0x80 != 0) * (step % STEP);
        term += u64::from(step & 0x40 != 0);
        let record = LogRecord { index, term, payload: Bytes::copy_from_slice(payload) };
        assert_eq!(entry_unframe(entry_frame(&record)), Some(record.clone()));
        if let Ok(entry) = wire::decode_entry(&record.payload.slice(record.payload.len().min(1)..))
        {
            let again = wire::decode_entry(&wire::encode_entry(&entry).into());
            assert_eq!(again, Ok(entry), "decode(encode(x))");
        }
        records.push(record);
    }
    Replica::describe(&Bytes::copy_from_slice(bytes));
    run(hard_state, records);
}

/// Returns a single-member cluster's configuration and state at its first start.
fn sole_member() -> (Config, Recovered) {
    let member = Member { id: ID, ..Member::default() };
    let config = Config {
        id: ID,
        election_ticks: 10,
        heartbeat_ticks: 1,
        election_ns: 1_000_000_000,
        seed: 1,
        pre_vote: true,
        compaction: None,
        request_ticks: 70,
        copied: false,
        level: levels::OWN,
        tuning: Tuning::default(),
    };
    let recovered = Recovered {
        checkpoint: Some(genesis(1, vec![member])),
        ..Recovered::default()
    };
    (config, recovered)
}

/// Runs a member on the records. A refused disk or an unknown command ends the test without a failure.
fn run(hard_state: Option<Bytes>, records: Vec<LogRecord>) {
    let last = records.last().map_or(1, |record| record.index);
    let (config, mut recovered) = sole_member();
    (recovered.hard_state, recovered.records) = (hard_state, records);
    let Ok(mut replica) = Replica::new(config, recovered) else {
        return;
    };
    // An unknown command stops the member.
    if replica.turn(&mut Disk).is_err() {
        return;
    }
    let status = replica.status();
    assert!(
        status.applied >= last,
        "the entire log is applied: {status:?}"
    );
}

/// A host in which every call succeeds.
struct Disk;

impl Host for Disk {
    fn install(&mut self, _: &View) {}
    fn persist(&mut self, _: &LogBatch) {}
    fn send(&mut self, _: Vec<Envelope>) {}
    fn applied(&mut self, _: Vec<Applied>, _: &View) {}
    fn readable(&mut self, _: &[Ticket], _: &View) {}
    fn answered(&mut self, _: Vec<(Ticket, Answer)>) {}
    fn cut_log(&mut self, _: u64) {}
    fn message_dropped(&mut self, _: MemberId, _: MessageFault) {}
}

//! The constants that `apply` uses at each feature level. They affect an entry's result or layout but are not in the entry, so
//! members that apply the entry with different constants diverge. `apply` uses the [`Pacing`] of the cluster's level.
//!
//! `apply` also uses numbers and rules that are not here:
//!
//! | Number or rule | Bound to |
//! |---|---|
//! | `TTL_MAX_S`, `TREE_HISTORY_EVENTS` | the data format: a record beyond the limit is refused when it is loaded |
//! | `TREE_DEPTH_MAX` | the data format; a deeper tree overflows the stack of a release that loads it |
//! | encoding of a version, slot directory | the data format: the sizes in records must match the loaded blocks |
//! | when a block is full, apart from its size; v2 index steps of a command | the code; a change needs a new number here |
//! | `LEASE_BYTES`, `EMPTY_BYTES`, `PAGE_BYTES`, sizes in `quota` | nothing: only the proposer decides by these sizes |
//! | `READ_TXN_KEYS_MAX`, `RANGE_ANSWER_BYTES_MAX` | nothing: only the member that answers uses these numbers |
//! | `AUTH_NAME_BYTES_MAX`, `LONG_TEXT_BYTES_MAX` | nothing: the proposer checks them |
//! | `LEAF_BYTES`, `PLACEHOLDER_BYTES`, `STATES_BEFORE_COMPACTION_MAX`, `TREE_REMOVED_*` | nothing: memory of one member |

use super::levels::{FIRST, Level, OWN};

/// Number of blocks that a compaction and each requested sweep process: 3.5 MiB in about 1 ms.
const SWEEP_BLOCKS_FIRST: usize = 128;

/// Number of blocks that each later command sweeps until the sweep is finished. A command rarely fills more than one block.
const SWEEP_BLOCKS_NEXT: usize = 8;

/// Size in bytes up to which a block accepts further versions. A larger version gets a separate block. The size is a size class
/// of the allocator, below the maximum size of a checkpoint record.
const BLOCK_BYTES: usize = 28 << 10;

/// Size in bytes of the memory that a pair takes in addition to its key and value. A pair's encoding in a message adds less.
const PAIR_BYTES: u64 = 96;

/// Number of keys, live or deleted, that can be counted in the time that reading one key takes. An entire page takes 16 ns to
/// count.
const COUNTED_PER_READ: u64 = 2048;

/// Number of deleted keys that can be skipped in the time that reading one key takes. Skipping a key takes 20 ns, unless a
/// whole page is deleted.
const PASSED_PER_READ: u64 = 16;

/// Maximum number of keys that a command may read or compare while it is applied; a command that exceeds the limit is refused.
/// Other commands wait some tenths of a second for a command at the limit. A deleted key that is skipped, and a key that is
/// only counted, cost a fraction of a key. Keys to delete cost nothing.
const TXN_READ_KEYS_MAX: u64 = 1 << 18;

/// Maximum size in bytes of the pairs that one command returns; a command that exceeds the limit is refused.
const TXN_READ_BYTES_MAX: u64 = 256 << 20;

/// Maximum number of alarms that clients raise for unknown members or with unknown types; further alarms are ignored. A
/// member's own alarm is always raised.
const ALARMS_MAX: usize = 1024;

/// The constants of one feature level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pacing {
    /// Number of blocks that a compaction and each requested sweep process.
    pub sweep_blocks_first: usize,
    /// Number of blocks that each later command sweeps until the sweep is finished.
    pub sweep_blocks_next: usize,
    /// Size in bytes up to which a block accepts further versions. Blocks of other sizes stay valid.
    pub block_bytes: usize,
    /// The charge in bytes for a pair in memory, in addition to its key and value.
    pub pair_bytes: u64,
    /// The charge for reading a key. The unit is the charge for counting a key.
    pub read_work: u64,
    /// The charge for skipping a deleted key, in the same unit.
    pub passed_work: u64,
    /// Maximum number of keys that a command may read or compare.
    pub txn_read_keys_max: u64,
    /// Maximum size in bytes of the pairs that a command returns.
    pub txn_read_bytes_max: u64,
    /// Maximum number of alarms for unknown members or with unknown types.
    pub alarms_max: usize,
}

/// The constants of the first level.
const FIRST_LEVEL: Pacing = Pacing {
    sweep_blocks_first: SWEEP_BLOCKS_FIRST,
    sweep_blocks_next: SWEEP_BLOCKS_NEXT,
    block_bytes: BLOCK_BYTES,
    pair_bytes: PAIR_BYTES,
    read_work: COUNTED_PER_READ,
    passed_work: COUNTED_PER_READ / PASSED_PER_READ,
    txn_read_keys_max: TXN_READ_KEYS_MAX,
    txn_read_bytes_max: TXN_READ_BYTES_MAX,
    alarms_max: ALARMS_MAX,
};

/// The constants of each level, up to the level of this release. A level without changes repeats the row before it.
const LEVELS: [Pacing; OWN as usize] = [
    FIRST_LEVEL,
    // The layout differs, so a test fails if a member uses the constants of its release instead of the cluster's.
    #[cfg(feature = "next-level")]
    Pacing { sweep_blocks_first: 64, sweep_blocks_next: 4, ..FIRST_LEVEL },
];

impl Pacing {
    /// Returns the constants of a level: of the first level for level 0, and of this release for an unknown level.
    pub const fn of(level: Level) -> Self {
        let row = level.saturating_sub(FIRST) as usize;
        if row < LEVELS.len() {
            LEVELS[row]
        } else {
            LEVELS[LEVELS.len() - 1]
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use witan_tree::limits::{TREE_DEPTH_MAX, TREE_HISTORY_EVENTS};

    use super::*;
    use crate::{
        StateMachine,
        command::{Command, Entry},
        fingerprint,
        kv::{
            Compact, DeleteRange, Kv, KvCommand, KvError, KvOperation, KvReply, Put, Range,
            SortTarget, Txn, TxnOp, TxnOpKind,
        },
        lease::TTL_MAX_S,
        record::RecordChange,
        values::test_support::drop_kv_values,
    };

    /// Members of the first release apply entries with these constants. A changed constant needs a new level.
    #[test]
    fn the_first_level_keeps_the_constants_of_the_first_release() {
        let first = Pacing {
            sweep_blocks_first: 128,
            sweep_blocks_next: 8,
            block_bytes: 28_672,
            pair_bytes: 96,
            read_work: 2048,
            passed_work: 128,
            txn_read_keys_max: 262_144,
            txn_read_bytes_max: 268_435_456,
            alarms_max: 1024,
        };
        assert_eq!(Pacing::of(FIRST), first);
        let of_format = (TTL_MAX_S, TREE_HISTORY_EVENTS, TREE_DEPTH_MAX);
        assert_eq!(of_format, (9_000_000_000, 1000, 256));
    }

    #[test]
    fn an_unknown_level_has_the_constants_of_this_release() {
        assert_eq!(Pacing::of(0), Pacing::of(FIRST));
        assert_eq!(Pacing::of(OWN + 1), Pacing::of(OWN));
        assert_eq!(Pacing::of(Level::MAX), Pacing::of(OWN));
    }

    /// The offsets in a block have 16 bits, and the highest offset marks a compacted slot.
    #[test]
    fn the_offsets_of_a_block_fit_into_its_directory() {
        let sizes = LEVELS.map(|pacing| pacing.block_bytes);
        assert!(sizes.iter().all(|bytes| *bytes < usize::from(u16::MAX)));
    }

    fn entry(command: impl Into<Command>) -> Box<Entry> {
        Entry::unstamped(command.into(), None)
    }

    fn run(kv: &mut Kv, operation: KvOperation) -> Result<KvReply, KvError> {
        kv.apply(&KvCommand { operation: Some(operation) })
    }

    fn put(key: &str, size: usize) -> KvOperation {
        KvOperation::Put(Put {
            key: key.to_owned().into(),
            value: vec![b'v'; size].into(),
            ..Put::default()
        })
    }

    /// Returns a state with ten blocks. The last block has the newest version of the only key, and the other blocks have
    /// superseded versions.
    fn ten_blocks() -> StateMachine {
        let mut machine = StateMachine::default();
        for _ in 0..10 {
            machine.apply(&entry(put("key", BLOCK_BYTES)));
        }
        machine
    }

    /// Returns a compaction of all superseded versions.
    fn compaction(kv: &Kv) -> KvOperation {
        KvOperation::Compact(Compact { revision: kv.revision().0 })
    }

    const SLOW: Pacing = Pacing { sweep_blocks_first: 1, ..Pacing::of(FIRST) };

    #[test]
    fn a_state_applies_an_entry_with_the_constants_of_its_level() {
        let mut machine = ten_blocks();
        machine.kv.set_pacing(SLOW);
        let mut kv = machine.kv.clone();
        let compact = compaction(&kv);
        run(&mut kv, compact.clone()).expect("the revision exists");
        assert!(kv.is_sweeping(), "the sweep is unfinished after one block");
        machine.apply(&entry(compact));
        assert!(!machine.kv.is_sweeping(), "all blocks are swept");
    }

    #[test]
    fn a_loaded_state_has_the_constants_of_its_level() {
        let mut loaded = StateMachine::default();
        ten_blocks().changes(None, &mut |change| match change {
            RecordChange::Put { key, value } => {
                loaded.load(&key, &value).expect("the record is sound");
            }
            RecordChange::Delete { key } => panic!("{key:?} was never written"),
        });
        loaded.kv.set_pacing(SLOW);
        loaded.finish_load().expect("the records are consistent");
        let compact = compaction(&loaded.kv);
        run(&mut loaded.kv, compact).expect("the revision exists");
        assert!(!loaded.kv.is_sweeping(), "all blocks are swept");
    }

    #[test]
    fn a_command_is_charged_by_the_constants_of_its_level() {
        let mut filled = Kv::default();
        for key in ["a", "b", "c"] {
            run(&mut filled, put(key, 1)).expect("a put of a new key");
        }
        let is_refused = |pacing: Pacing| {
            let all = Bytes::from_static(b"\0");
            let delete = DeleteRange {
                key: all.clone(),
                range_end: all,
                prev_kv: true,
                bounded: true,
            };
            let mut kv = filled.clone();
            kv.set_pacing(pacing);
            run(&mut kv, KvOperation::Delete(delete)) == Err(KvError::ResponseTooLarge)
        };
        let first = Pacing::of(FIRST);
        // The range is charged like a fourth key.
        assert!(!is_refused(Pacing { txn_read_keys_max: 4, ..first }));
        assert!(is_refused(Pacing { txn_read_keys_max: 3, ..first }));
        assert!(is_refused(Pacing {
            txn_read_bytes_max: 3 * PAIR_BYTES,
            ..first
        }));
        assert!(is_refused(Pacing {
            pair_bytes: TXN_READ_BYTES_MAX,
            ..first
        }));
    }

    #[test]
    fn a_transaction_reads_no_more_pairs_than_it_may_return() {
        let mut filled = Kv::default();
        filled.set_pacing(Pacing { txn_read_bytes_max: 64 << 10, ..Pacing::of(FIRST) });
        // The pairs fill about 30 blocks.
        for at in 0..200 {
            run(&mut filled, put(&format!("key-{at:03}"), 4096)).expect("a put of a new key");
        }
        for (limit, sort_target) in [
            (0, SortTarget::Key),
            (0, SortTarget::Mod),
            (150, SortTarget::Key),
        ] {
            let mut kv = filled.clone();
            let cache = drop_kv_values(&kv);
            let all = Bytes::from_static(b"\0");
            let range = Range {
                key: all.clone(),
                range_end: all,
                limit,
                sort_target: sort_target as i32,
                ..Range::default()
            };
            let kinds = [TxnOpKind::Range(range), TxnOpKind::Put(Put::default())];
            let txn = Txn {
                success: kinds.map(|kind| TxnOp { kind: Some(kind) }).into(),
                bounded: true,
                ..Txn::default()
            };
            let refused = run(&mut kv, KvOperation::Txn(txn));
            assert_eq!(refused, Err(KvError::ResponseTooLarge));
            assert!((1..5).contains(&cache.reads()), "{} blocks", cache.reads());
        }
    }

    #[test]
    fn the_size_of_blocks_decides_only_the_layout() {
        let (mut wide, mut narrow) = (Kv::default(), Kv::default());
        narrow.set_pacing(Pacing { block_bytes: 1 << 10, ..Pacing::of(FIRST) });
        for at in 0..40 {
            for kv in [&mut wide, &mut narrow] {
                run(kv, put(&format!("key-{at:02}"), 100)).expect("a put of a new key");
            }
        }
        let records = |kv: &Kv| {
            let mut records = Vec::new();
            kv.changes(None, &mut |change| records.push(change));
            records
        };
        assert_eq!(fingerprint::of(&wide), fingerprint::of(&narrow));
        assert!(records(&narrow).len() > records(&wide).len());
    }
}

//! The key space as checkpoint records: one record for the counters, and one for each block.
//!
//! A block's record is written if the block is new, has grown, or was rewritten by a compaction. Every record ends with a
//! CRC-32 of its content. The index is not written, because loading the blocks in order rebuilds it.

use std::sync::Arc;

use imbl::ordmap::DiffItem;

use super::{
    Kv,
    block::Block,
    block_record::{self, verify_checksum, with_checksum},
    history::ClosedBlock,
    index::Index,
    index_builder::CHUNK_BYTES,
    leaf::BLOCK_BITS,
};
use crate::{
    record::{self, COUNT_MAX, CorruptRecord, Emit, RecordChange},
    revision::Revision,
    values::Place,
};

/// Key of the counters' record, which sorts before the blocks.
const META: u8 = b'a';
/// First byte of a block's key; the block's number follows as a big-endian u64.
const BLOCK: u8 = b'b';

/// The counters and the totals that must match the loaded blocks.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct KvMeta {
    #[prost(int64, tag = "1")]
    revision: i64,
    #[prost(int64, tag = "2")]
    compacted: i64,
    /// The number of the open block.
    #[prost(uint64, tag = "3")]
    tail: u64,
    /// The block at which the next sweep starts.
    #[prost(uint64, tag = "4")]
    compact_from: u64,
    /// Number of live keys.
    #[prost(uint64, tag = "5")]
    live: u64,
    /// Size in bytes of the newest versions of all live keys.
    #[prost(uint64, tag = "6")]
    live_bytes: u64,
    /// Size of all versions in bytes.
    #[prost(uint64, tag = "7")]
    bytes: u64,
    /// Number of closed blocks.
    #[prost(uint64, tag = "8")]
    blocks: u64,
    /// Whether the sweep of the last compaction is unfinished.
    #[prost(bool, tag = "9")]
    sweeping: bool,
}

impl KvMeta {
    /// Returns whether the counters are consistent and within their limits.
    fn is_sound(&self) -> bool {
        let last = COUNT_MAX.cast_signed();
        (1..last).contains(&self.revision)
            && (-1..=self.revision).contains(&self.compacted)
            // Half of the block numbers are left for later blocks.
            && self.tail < 1 << (BLOCK_BITS - 1)
            && self.compact_from <= self.tail
    }
}

/// A block of the key space as a record, which is encoded only on demand.
#[derive(Clone, Copy, Debug)]
pub struct BlockRecord<'a>(&'a Block);

impl BlockRecord<'_> {
    /// Returns the block's number; see [`record::block_key`].
    pub fn number(&self) -> u64 {
        self.0.number()
    }

    /// Returns the size of the record in bytes.
    pub fn size_bytes(&self) -> usize {
        block_record::len(self.0)
    }

    /// Returns the place of the durable record, or `None` if the record is not durable.
    pub fn place(&self) -> Option<Place> {
        self.0.place()
    }

    /// Encodes the record. If the values are only on disk, waits until they have been read.
    pub fn encode(&self) -> Vec<u8> {
        block_record::encode(self.0)
    }

    /// Returns the change that writes this record.
    fn put(&self) -> RecordChange {
        RecordChange::Put { key: block_key(self.number()), value: self.encode() }
    }
}

impl Kv {
    /// Returns this state's counters and totals in the form of their checkpoint record.
    fn meta(&self) -> KvMeta {
        KvMeta {
            revision: self.revision.0,
            compacted: self.compacted.0,
            tail: self.history.tail.number(),
            compact_from: self.next_sweep_block,
            live: self.index.live() as u64,
            live_bytes: self.live_bytes,
            bytes: self.history.bytes,
            blocks: self.history.blocks.len() as u64,
            sweeping: self.sweeping,
        }
    }

    /// Returns a copy to pass to a later [`Kv::changes`]. The copy lacks the index, the keys attached to leases and the states
    /// saved for watchers, which no record contains.
    pub fn diff_base(&self) -> Kv {
        Kv {
            index: Index::default(),
            leases: self.leases.diff_base(),
            states_before_compaction: Vec::new(),
            ..self.clone()
        }
    }

    /// Emits the records that changed since `since`, or all records for `None`. Does not emit leases. Waits until values that
    /// are only on disk have been read.
    pub fn changes(&self, since: Option<&Kv>, emit: &mut Emit<'_>) {
        let Some(since) = since else {
            self.emit_meta(emit);
            self.blocks().for_each(|block| emit(block.put()));
            return;
        };
        if since.meta() != self.meta() {
            self.emit_meta(emit);
        }
        let (blocks, tail) = (&self.history.blocks, &self.history.tail);
        let mut put = |block: &Block| emit(BlockRecord(block).put());
        let mut removed = Vec::new();
        for item in since.history.blocks.diff(blocks) {
            match item {
                DiffItem::Add(_, block) | DiffItem::Update { new: (_, block), .. } => put(&block.0),
                DiffItem::Remove(number, _) => removed.push(*number),
            }
        }
        let before = &since.history.tail;
        if !Arc::ptr_eq(before, tail) {
            if !tail.has_no_slots() {
                put(tail);
            }
            if !before.has_no_slots() {
                removed.push(before.number());
            }
        }
        // A block that is open in one state may be closed in the other.
        removed.retain(|number| !blocks.contains_key(number) && *number != tail.number());
        removed
            .into_iter()
            .for_each(|number| emit(RecordChange::Delete { key: block_key(number) }));
    }

    /// Emits the record of the counters.
    pub(crate) fn emit_meta(&self, emit: &mut Emit<'_>) {
        let value = with_checksum(prost::Message::encode_to_vec(&self.meta()));
        emit(RecordChange::Put { key: vec![META], value });
    }

    /// Iterates over the records of all blocks, in the order of their numbers.
    pub fn blocks(&self) -> impl Iterator<Item = BlockRecord<'_>> {
        let blocks = self.history.blocks_from(0);
        let with_record = blocks.filter(|block| !block.has_no_slots());
        with_record.map(BlockRecord)
    }

    /// Loads the next record in ascending key order. The first record, which contains the counters, replaces the state; call
    /// [`Self::finish_load`] after the last record. Fails if the record is invalid, out of order or from a later release.
    pub fn load(&mut self, key: &[u8], value: &[u8]) -> Result<(), CorruptRecord> {
        let what = || format!("key space record {}", key.escape_ascii());
        let content = verify_checksum(value)
            .ok_or_else(|| CorruptRecord::new(format!("{}: bad CRC", what())))?;
        match key.split_first() {
            Some((&META, [])) => {
                let meta: KvMeta = record::decode(what(), content)?;
                if !meta.is_sound() {
                    return Err(CorruptRecord::new(format!("{}: {meta:?}", what())));
                }
                *self = Kv::default();
                self.history.tail = Arc::new(Block::new(meta.tail));
                self.loading = Some(Box::new(meta));
                Ok(())
            }
            Some((&BLOCK, number)) => {
                let number = number.try_into().map(u64::from_be_bytes);
                let number =
                    number.map_err(|_| CorruptRecord::new(format!("{}: bad key", what())))?;
                let Some(meta) = &self.loading else {
                    return Err(CorruptRecord::new(format!(
                        "block {number} precedes the counters"
                    )));
                };
                let tail = meta.tail;
                let block = block_record::decode(number, value, number == tail)
                    .ok_or_else(|| CorruptRecord::new(format!("block {number}: invalid")))?;
                self.append_loaded(block, tail)
            }
            Some(_) => Err(CorruptRecord::later(format!("{} is unknown", what()))),
            None => Err(CorruptRecord::new(format!("{}: no key", what()))),
        }
    }

    /// Loads a closed block, like [`Self::load`], from the head of its record, which is durable at `place`. The values stay on
    /// disk. Fails if the head is invalid or out of order, or belongs to the open block.
    pub(crate) fn load_head(
        &mut self,
        key: &[u8],
        head: &[u8],
        place: Place,
    ) -> Result<(), CorruptRecord> {
        let tail = self.loading.as_ref().map(|meta| meta.tail);
        let (Some(number), Some(tail)) = (block_number(key), tail) else {
            let what = format!("unexpected head of {}", key.escape_ascii());
            return Err(CorruptRecord::new(what));
        };
        let block = block_record::decode_head(number, head, place.len);
        let block = block.filter(|_| number != tail);
        let block = block
            .ok_or_else(|| CorruptRecord::new(format!("block {number}: the head is invalid")))?;
        self.append_loaded(block, tail)?;
        self.settle(key, place);
        Ok(())
    }

    /// Returns whether `key` is the record key of the open block, which cannot be loaded from its head. Returns `false` unless
    /// a load is in progress.
    pub(crate) fn is_open_block(&self, key: &[u8]) -> bool {
        let tail = self.loading.as_ref().map(|meta| meta.tail);
        tail.is_some() && tail == block_number(key)
    }

    /// Appends a loaded block. The block with number `tail` becomes the open block. Raises the revision to the revision of the
    /// block's last version. Fails if the block's number or revisions are out of order, or a counter is above `COUNT_MAX`.
    fn append_loaded(&mut self, block: Block, tail: u64) -> Result<(), CorruptRecord> {
        let number = block.number();
        if number > tail
            || self
                .history
                .blocks
                .get_max()
                .is_some_and(|last| last.0 >= number)
        {
            return Err(CorruptRecord::new(format!("block {number}: out of order")));
        }
        for (_, version) in block.versions() {
            if version.main < self.revision {
                return Err(CorruptRecord::new(format!(
                    "block {number}: revisions are not in ascending order"
                )));
            }
            let counts = [version.version as u64, version.links.depth, version.sub];
            if counts.iter().any(|count| *count > COUNT_MAX) {
                return Err(CorruptRecord::new(format!(
                    "block {number}: a counter is too large"
                )));
            }
            self.revision = version.main;
        }
        self.history.bytes += block.len() as u64;
        if number == tail {
            self.history.tail = Arc::new(block);
        } else {
            self.history
                .blocks
                .insert(number, ClosedBlock(Arc::new(block)));
        }
        Ok(())
    }

    /// Sets the place of the durable record of a closed block. Ignores other records.
    pub(crate) fn settle(&self, key: &[u8], place: Place) {
        let closed = block_number(key).and_then(|number| self.history.blocks.get(&number));
        if let Some(closed) = closed {
            closed.0.settle(place);
        }
    }

    /// Loads a lease's record. Fails if the record is invalid or from a later release.
    pub(crate) fn load_lease(&mut self, key: &[u8], value: &[u8]) -> Result<(), CorruptRecord> {
        self.leases.load(key, value)
    }

    /// Builds the index and attaches keys to leases, after the last record has been loaded. Fails if the state is inconsistent.
    pub fn finish_load(&mut self) -> Result<(), CorruptRecord> {
        let Some(meta) = self.loading.take() else {
            return Err(CorruptRecord::new(
                "the checkpoint has no counters of the key space",
            ));
        };
        if self.revision.0 > meta.revision {
            return Err(CorruptRecord::new(format!(
                "a block has a revision above {}",
                meta.revision
            )));
        }
        let leased;
        (self.index, self.live_bytes, leased) = self.history.index(CHUNK_BYTES);
        if leased && !self.attach_leased_keys() {
            return Err(CorruptRecord::new("a key has a lease that does not exist"));
        }
        self.revision = Revision(meta.revision);
        self.compacted = Revision(meta.compacted);
        self.next_sweep_block = meta.compact_from;
        self.sweeping = meta.sweeping;
        if self.meta() != *meta {
            let found = self.meta();
            return Err(CorruptRecord::new(format!(
                "the counters are {meta:?}, but the blocks have {found:?}"
            )));
        }
        Ok(())
    }
}

/// Returns the key of a block's record, without the section byte that [`record::block_key`] adds.
pub(crate) fn block_key(number: u64) -> Vec<u8> {
    let mut key = vec![BLOCK];
    key.extend_from_slice(&number.to_be_bytes());
    key
}

/// Parses a block's number from its record key without the section byte. Returns `None` for other records.
pub(crate) fn block_number(key: &[u8]) -> Option<u64> {
    match key.split_first() {
        Some((&BLOCK, number)) => number.try_into().map(u64::from_be_bytes).ok(),
        Some(_) | None => None,
    }
}

/// Returns the head of a block's record, or `None` if `key` is not the key of a block or the record is damaged.
pub(crate) fn block_head(key: &[u8], record: &[u8]) -> Option<Vec<u8>> {
    block_record::head(block_number(key)?, record)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use bytes::Bytes;

    use super::*;
    use crate::{
        kv::{
            Compact, DeleteRange, KvCommand, KvOperation, Put, Sweep,
            test_helpers::{apply, put},
        },
        values::test_support::drop_kv_values,
    };

    /// The records are a file format that every later release must read.
    #[test]
    fn records_match_the_golden_bytes() {
        let mut kv = Kv::default();
        let key = Bytes::from_static(b"key");
        let put = |value: &'static [u8]| {
            KvOperation::Put(Put { key: key.clone(), value: value.into(), ..Put::default() })
        };
        let delete =
            KvOperation::Delete(DeleteRange { key: key.clone(), ..DeleteRange::default() });
        let compact = KvOperation::Compact(Compact { revision: 3 });
        for verb in [put(b"one"), put(b"two"), delete, put(b"three"), compact] {
            kv.apply(&KvCommand { operation: Some(verb) }).unwrap();
        }
        let mut lines = Vec::new();
        kv.changes(None, &mut |change| match change {
            RecordChange::Put { key, value } => {
                let hex: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
                lines.push(format!("{} {hex}", key.escape_ascii()));
            }
            RecordChange::Delete { key } => panic!("{key:?} was never written"),
        });
        let expected = [
            "a 08051003280130113829e1fde499",
            "b\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00 020000000000000000\
             04000000ffff00000f001800\
             1001000001010203036b657974776f\
             1102000102036b6579\
             3203000203000003056b6579746872656515e7ac3f",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_block_has_a_place_until_a_compaction_shortens_its_record() {
        let mut kv = Kv::default();
        for number in 0..100 {
            put(&mut kv, &format!("key-{number}"), 2000);
        }
        let placed = |kv: &Kv| -> BTreeSet<u64> {
            let placed = kv.blocks().filter(|block| block.place().is_some());
            placed.map(|block| block.number()).collect()
        };
        assert!(placed(&kv).is_empty());
        drop_kv_values(&kv);
        let before = placed(&kv);
        // The open block has no place.
        assert!(before.len() > 5 && before.len() + 1 == kv.blocks().count());
        assert!(!before.contains(&kv.history.tail.number()));
        put(&mut kv, "key-20", 10);
        let revision = kv.revision().0;
        apply(&mut kv, KvOperation::Compact(Compact { revision }));
        while kv.is_sweeping() {
            apply(&mut kv, KvOperation::Sweep(Sweep {}));
        }
        assert_eq!(before.difference(&placed(&kv)).count(), 1);
        for block in kv.blocks() {
            assert_eq!(block.encode().len(), block.size_bytes());
        }
    }

    #[test]
    fn changes_need_no_index() {
        let put = |number: i64| {
            let put = Put {
                key: Bytes::from(format!("key-{}", number % 50)),
                value: Bytes::from(vec![b'v'; 1000]),
                ..Put::default()
            };
            let verb = match number % 200 {
                199 => KvOperation::Compact(Compact { revision: number / 2 }),
                _ => KvOperation::Put(put),
            };
            KvCommand { operation: Some(verb) }
        };
        let mut kv = Kv::default();
        let mut since = kv.clone();
        for number in 0..1000 {
            kv.apply(&put(number)).unwrap();
            if number % 70 == 0 {
                let collect = |since: &Kv| {
                    let mut changes = Vec::new();
                    kv.changes(Some(since), &mut |change| changes.push(change));
                    changes
                };
                assert_eq!(collect(&since.diff_base()), collect(&since), "{number}");
                since = kv.clone();
            }
        }
    }
}

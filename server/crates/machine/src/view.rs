//! A frozen state with its position in the log.

use super::{
    StateMachine, fingerprint,
    record::{self, CorruptRecord, Emit, RecordChange},
    values::Place,
};

/// A state's position in the log, and the Raft configuration at this position.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Position {
    /// Index of the last applied entry.
    #[prost(uint64, tag = "1")]
    pub index: u64,
    /// Term of the last applied entry.
    #[prost(uint64, tag = "2")]
    pub term: u64,
    /// Ids of voting members.
    #[prost(fixed64, repeated, tag = "3")]
    pub voters: Vec<u64>,
    /// Ids of members that receive the log without voting.
    #[prost(fixed64, repeated, tag = "4")]
    pub learners: Vec<u64>,
    /// Ids of outgoing voters in a joint configuration.
    #[prost(fixed64, repeated, tag = "5")]
    pub voters_outgoing: Vec<u64>,
    /// Ids of members that become learners when the joint configuration ends.
    #[prost(fixed64, repeated, tag = "6")]
    pub learners_next: Vec<u64>,
    /// Whether Raft leaves the joint configuration automatically.
    #[prost(bool, tag = "7")]
    pub auto_leave: bool,
    /// The lineage of the state: the hash of a state adopted from etcd, the hash of a restored state with [`RESTORED`], or 0.
    /// Members with the same lineage have the same records after the same entry.
    #[prost(fixed64, tag = "8")]
    pub lineage: u64,
}

/// The bit of a lineage that marks a restored state. No leader of another lineage replaces such a state.
pub const RESTORED: u64 = 1 << 63;

impl Position {
    /// Returns the number of members that receive the log. A voter in both halves of a joint configuration is counted twice.
    pub fn members(&self) -> usize {
        self.voters.len() + self.learners.len() + self.voters_outgoing.len()
    }

    /// Returns the same position with the ids in ascending order. Raft's order differs between members.
    fn sorted(&self) -> Self {
        let mut position = self.clone();
        for ids in [
            &mut position.voters,
            &mut position.learners,
            &mut position.voters_outgoing,
            &mut position.learners_next,
        ] {
            ids.sort_unstable();
        }
        position
    }
}

/// A frozen clone of the state with its position in the log. Creating a view takes O(1).
#[derive(Clone, Debug, Default)]
pub struct View {
    /// The frozen state.
    pub machine: StateMachine,
    /// The state's position in the log.
    pub position: Position,
}

impl View {
    /// Emits the records that turn a checkpoint of `since` into a checkpoint of `self`, and finally the position, even if the
    /// position has not changed. The caller must write the records atomically (I4).
    pub fn changes(&self, since: Option<&View>, emit: &mut Emit<'_>) {
        self.machine.changes(since.map(|v| &v.machine), emit);
        self.emit_position(emit);
    }

    /// Emits all records except the records of [`Kv::blocks`](super::kv::Kv::blocks), the position last.
    pub fn records_except_blocks(&self, emit: &mut Emit<'_>) {
        self.machine.records_except_blocks(emit);
        self.emit_position(emit);
    }

    fn emit_position(&self, emit: &mut Emit<'_>) {
        let value = prost::Message::encode_to_vec(&self.position);
        emit(RecordChange::Put { key: vec![record::VIEW], value });
    }

    /// Sets the place of the durable record of a closed block, so that the block's values can be evicted from memory. Ignores
    /// other records.
    pub fn settle(&self, key: &[u8], place: Place) {
        self.machine.settle(key, place);
    }

    /// Passes the view's canonical encoding to `take`, in parts: the lengths and bytes of all records' keys and values, without
    /// Raft's order of ids. Members of the same lineage have the same encoding after the same entry. The lineages on disk are
    /// hashes of this encoding, so the encoding of a state never changes.
    pub fn full_encoding(&self, take: &mut dyn FnMut(&[u8])) {
        let ordered = View {
            machine: self.machine.clone(),
            position: self.position.sorted(),
        };
        ordered.changes(None, &mut |change| match change {
            RecordChange::Put { key, value } => {
                for part in [key, value] {
                    take(&(part.len() as u64).to_be_bytes());
                    take(&part);
                }
            }
            RecordChange::Delete { key } => unreachable!("{key:?} is in no earlier state"),
        });
    }

    /// Returns the fingerprint of [`Self::full_encoding`]. Unlike [`fingerprint::of`], the result depends on the layout of the
    /// records.
    pub fn full_fingerprint(&self) -> u64 {
        fingerprint::of_parts(|take| self.full_encoding(take))
    }

    /// Returns a smaller copy to pass to a later [`View::changes`], without the data that
    /// [`Kv::diff_base`](super::kv::Kv::diff_base) leaves out.
    pub fn diff_base(&self) -> View {
        let mut view = self.clone();
        view.machine.kv = view.machine.kv.diff_base();
        view
    }

    /// Rebuilds a view from all records of a checkpoint in ascending key order. Fails if a record or the resulting state is
    /// invalid, or if a later release wrote a record.
    pub fn restore<E: From<CorruptRecord>>(
        records: impl Iterator<Item = Result<(Vec<u8>, Vec<u8>), E>>,
    ) -> Result<View, E> {
        let mut builder = ViewBuilder::default();
        for record in records {
            let (key, value) = record?;
            builder.load(&key, &value)?;
        }
        Ok(builder.finish()?)
    }
}

/// Builds a view from records in ascending key order, or in the order of [`View::changes`].
#[derive(Debug, Default)]
pub struct ViewBuilder {
    view: View,
    /// Whether the position record was loaded.
    positioned: bool,
}

impl ViewBuilder {
    /// Loads the next record. Fails if the record is invalid or from a later release.
    pub fn load(&mut self, key: &[u8], value: &[u8]) -> Result<(), CorruptRecord> {
        if key != [record::VIEW] {
            return self.view.machine.load(key, value);
        }
        self.view.position = record::decode("position", value)?;
        self.positioned = true;
        Ok(())
    }

    /// Loads the next record, a closed block, from its [head](record::block_head). The values stay at `place`, and a later read
    /// of the values checks the record. Fails if the head is invalid.
    pub fn load_head(
        &mut self,
        key: &[u8],
        head: &[u8],
        place: Place,
    ) -> Result<(), CorruptRecord> {
        let Some(key) = key.strip_prefix(&[record::KV]) else {
            return Err(CorruptRecord::new("the record of a head is not a block"));
        };
        self.view.machine.kv.load_head(key, head, place)
    }

    /// Returns whether `key` is the record key of the open block, which cannot be loaded from its head. The values of the open
    /// block must be in memory. The record of the counters, which sorts before all blocks, must already be loaded.
    pub fn is_open_block(&self, key: &[u8]) -> bool {
        let key = key.strip_prefix(&[record::KV]);
        key.is_some_and(|key| self.view.machine.kv.is_open_block(key))
    }

    /// Sets the place of the record of a closed block that [`Self::load`] has read, as [`View::settle`] does.
    pub fn settle(&self, key: &[u8], place: Place) {
        self.view.settle(key, place);
    }

    /// Builds derived state and returns the view. Fails if the position is missing or the state is inconsistent.
    pub fn finish(mut self) -> Result<View, CorruptRecord> {
        if !self.positioned {
            let what = "incomplete checkpoint: no position record";
            return Err(CorruptRecord::new(what));
        }
        self.view.machine.finish_load()?;
        Ok(self.view)
    }
}

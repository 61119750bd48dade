//! One version of a key as a record in etcd's bucket `key`.

use prost::Message as _;
use witan_api::v3::mvccpb;
use witan_machine::kv::{KeyChange, KeyValue};
use witan_machine::revision::Revision;

/// The byte after the revision in the key of a deletion.
const TOMBSTONE: u8 = b't';

const REVISION_BYTES: usize = 17;

/// Encodes a revision as a key: main and sub revision, big-endian, separated by an underscore.
pub(super) fn revision(main: Revision, sub: u64) -> [u8; REVISION_BYTES] {
    let mut key = [b'_'; REVISION_BYTES];
    key[..8].copy_from_slice(&main.0.to_be_bytes());
    key[9..].copy_from_slice(&sub.to_be_bytes());
    key
}

/// Decodes a key. Returns its main revision, its sub revision, and whether it marks a deletion. A mark other than `t` is
/// treated as no deletion. Returns `None` if the key is malformed or its main revision is negative.
pub(super) fn parse_revision(key: &[u8]) -> Option<(Revision, u64, bool)> {
    let (revision, mark) = key.split_at_checked(REVISION_BYTES)?;
    let deletes = match mark {
        [] => false,
        [mark] => *mark == TOMBSTONE,
        _ => return None,
    };
    let (main, rest) = revision.split_first_chunk::<8>()?;
    let (separator, sub) = rest.split_first()?;
    let sub: [u8; 8] = sub.try_into().ok()?;
    let main = Revision(i64::from_be_bytes(*main));
    (*separator == b'_' && main >= Revision::NONE).then(|| (main, u64::from_be_bytes(sub), deletes))
}

/// The part of the values that a pass over all versions reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Values {
    Contents,
    /// Only their lengths, so that values on disk are not read. Records contain zeros instead.
    Lengths,
}

/// A record's key and value, in reusable buffers.
#[derive(Debug, Default)]
pub(super) struct KeyRecord {
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
}

impl KeyRecord {
    /// Replaces the contents with the record of a version. A deletion contains only its key, and the value of a version without
    /// a key is empty.
    pub(super) fn fill(&mut self, written: &KeyChange<'_>, values: Values) {
        self.key.clear();
        self.key
            .extend_from_slice(&revision(written.revision(), written.sub()));
        self.value.clear();
        let pair = if written.deletes() {
            self.key.push(TOMBSTONE);
            KeyValue { key: written.pair().key, ..KeyValue::default() }
        } else {
            match values {
                Values::Contents => written.pair(),
                Values::Lengths => written.pair_of_equal_size(),
            }
        };
        // Only etcdutl's `--bump-revision` creates a version without a key, and its value is empty.
        if pair.key.is_empty() {
            return;
        }
        let message = mvccpb::KeyValue {
            key: pair.key,
            create_revision: pair.create_revision.0,
            mod_revision: pair.mod_revision.0,
            version: pair.version,
            value: pair.value,
            lease: pair.lease.0,
        };
        message
            .encode(&mut self.value)
            .expect("a vector can hold any message");
    }
}

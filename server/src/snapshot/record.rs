//! One version of a key as a record of etcd's bucket `key`.

use prost::Message as _;
use witan_api::v3::mvccpb;
use witan_replica::machine::kv::{KeyChange, KeyValue};

/// Behind the revision of a deletion.
const TOMBSTONE: u8 = b't';

/// Bytes of a revision.
const REVISION_BYTES: usize = 17;

/// A revision as key: main and sub, big-endian, with an underscore between.
pub(super) fn revision(main: i64, sub: u64) -> [u8; REVISION_BYTES] {
    let mut key = [b'_'; REVISION_BYTES];
    key[..8].copy_from_slice(&main.to_be_bytes());
    key[9..].copy_from_slice(&sub.to_be_bytes());
    key
}

/// Main and sub of a key, and whether it is a deletion's. `None` if it is no such key.
pub(super) fn parse_revision(key: &[u8]) -> Option<(i64, u64, bool)> {
    let (revision, mark) = key.split_at_checked(REVISION_BYTES)?;
    let deletes = match mark {
        [] => false,
        [mark] => *mark == TOMBSTONE,
        _ => return None,
    };
    let (main, rest) = revision.split_first_chunk::<8>()?;
    let (separator, sub) = rest.split_first()?;
    let sub: [u8; 8] = sub.try_into().ok()?;
    let main = i64::from_be_bytes(*main);
    (*separator == b'_' && main >= 0).then(|| (main, u64::from_be_bytes(sub), deletes))
}

/// A record that is filled again and again.
#[derive(Debug, Default)]
pub(super) struct KeyRecord {
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
}

impl KeyRecord {
    /// Makes it the record of this version.
    pub(super) fn fill(&mut self, written: &KeyChange<'_>) {
        self.key.clear();
        self.key
            .extend_from_slice(&revision(written.revision(), written.sub()));
        self.value.clear();
        let pair = if written.deletes() {
            self.key.push(TOMBSTONE);
            KeyValue {
                key: written.pair().key,
                ..KeyValue::default()
            }
        } else {
            written.pair()
        };
        // only etcdutl's --bump-revision writes such a version, and it writes nothing at all
        if pair.key.is_empty() {
            return;
        }
        let message = mvccpb::KeyValue {
            key: pair.key,
            create_revision: pair.create_revision,
            mod_revision: pair.mod_revision,
            version: pair.version,
            value: pair.value,
            lease: pair.lease,
        };
        message
            .encode(&mut self.value)
            .expect("a vector has room for any message");
    }
}

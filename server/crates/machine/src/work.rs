//! Estimates the number of keys that a command touches, without executing it. Long commands do not run on the replica's thread.
//! Operations on single keys are not counted. For a command that may read values from disk, the estimate exceeds the number
//! of keys.

use super::{
    StateMachine,
    auth::{AuthCommand, AuthOperation},
    command::{Command, Entry},
    kv::ValueSource,
};

impl StateMachine {
    /// Estimates how many keys, nodes and users an entry touches, at most `max`, at a fraction of the cost of executing it.
    /// `source` says where the entry may find values.
    pub fn work(&self, entry: &Entry, max: u64, source: ValueSource) -> u64 {
        let work = match &entry.command {
            Some(Command::Kv(command)) => self.kv.work(command, max, source),
            Some(Command::Lease(command)) => self.kv.lease_work(command, max),
            Some(Command::Tree(command)) => {
                let now_ns = entry.stamp.unwrap_or_default().now_ns;
                self.tree.work(command, now_ns, max)
            }
            Some(Command::Auth(command)) => self.auth_work(command),
            Some(Command::Follow(command)) => self.kv.follow_work(command),
            Some(
                Command::Publish(_)
                | Command::ClusterVersion(_)
                | Command::Alarm(_)
                | Command::PeerUrls(_)
                | Command::Members(_)
                | Command::Downgrade(_),
            )
            | None => 0,
        };
        work.min(max)
    }

    /// Returns the number of users, because all users may have the changed role. Returns 0 for an authentication.
    fn auth_work(&self, command: &AuthCommand) -> u64 {
        match &command.operation {
            Some(AuthOperation::Authenticate(_)) | None => 0,
            Some(_) => self.auth.len() as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{
        command::Stamp,
        kv::{self, KvOperation, TxnOp, TxnOpKind},
        lease::{LeaseGrant, LeaseOperation, LeaseRevoke},
    };

    const MAX: u64 = 1000;

    fn entry(command: impl Into<Command>) -> Entry {
        Entry {
            stamp: Some(Stamp { now_ns: 7, ..Stamp::default() }),
            command: Some(command.into()),
            caller: None,
        }
    }

    fn deletion(key: &'static [u8], range_end: &'static [u8]) -> kv::DeleteRange {
        kv::DeleteRange {
            key: Bytes::from_static(key),
            range_end: Bytes::from_static(range_end),
            ..kv::DeleteRange::default()
        }
    }

    fn txn(ops: Vec<TxnOpKind>) -> Entry {
        let success = ops.into_iter().map(|kind| TxnOp { kind: Some(kind) });
        entry(KvOperation::Txn(kv::Txn {
            success: success.collect(),
            ..kv::Txn::default()
        }))
    }

    /// Returns a state with 500 keys of one lease and 300 v2 nodes. Of the nodes, 100 have expired.
    fn filled() -> StateMachine {
        let mut machine = StateMachine::default();
        let grant = LeaseGrant { id: 7, ttl_s: 60 };
        machine.apply(&entry(LeaseOperation::Grant(grant)));
        for key in 0..500 {
            machine.apply(&entry(KvOperation::Put(kv::Put {
                key: format!("k{key:03}").into(),
                lease: 7,
                ..kv::Put::default()
            })));
        }
        for node in 0..300 {
            let expires_ns = (node < 100).then_some(5);
            let set = witan_tree::Set {
                path: format!("/dir/{node}").into(),
                expires_ns,
                ..witan_tree::Set::default()
            };
            machine.apply(&entry(witan_tree::TreeOperation::Set(set)));
        }
        machine
    }

    #[test]
    fn work_is_estimated_before_the_command_runs() {
        let machine = filled();
        let work = |entry: &Entry| machine.work(entry, MAX, ValueSource::Disk);
        let delete = |key, end| entry(KvOperation::Delete(deletion(key, end)));
        assert_eq!(work(&delete(b"k001", b"")), 0);
        assert_eq!(work(&delete(b"k100", b"k200")), 100);
        assert_eq!(work(&delete(b"k", b"l")), 500);
        assert_eq!(machine.work(&delete(b"k", b"l"), 50, ValueSource::Disk), 50);
        let of = |key, end| TxnOpKind::Delete(deletion(key, end));
        assert_eq!(work(&txn(vec![of(b"k001", b"")])), 0);
        assert_eq!(work(&txn(vec![of(b"k", b"l"), of(b"k1", b"k2")])), 600);
        assert_eq!(work(&txn(vec![of(b"k001", b""); 100])), 100);
        let by_value = TxnOpKind::Range(kv::Range {
            key: Bytes::from_static(b"k1"),
            range_end: Bytes::from_static(b"k2"),
            sort_target: kv::SortTarget::Value as i32,
            ..kv::Range::default()
        });
        assert_eq!(work(&txn(vec![by_value])), MAX, "values may be long");
        let revoke = LeaseOperation::Revoke(LeaseRevoke { id: 7 });
        assert_eq!(work(&entry(revoke)), 500);
        let rm = |recursive| {
            entry(witan_tree::TreeOperation::Delete(witan_tree::Delete {
                path: Bytes::from_static(b"/dir"),
                dir: true,
                recursive,
            }))
        };
        assert_eq!((work(&rm(false)), work(&rm(true))), (0, 301));
        let expire = witan_tree::TreeOperation::Expire(witan_tree::ExpireNodes {});
        assert_eq!(work(&entry(expire)), 100);
    }

    #[test]
    fn a_command_that_reads_values_is_more_work_than_one_that_reads_keys() {
        let machine = filled();
        let work = |ops| machine.work(&txn(ops), 5000, ValueSource::Disk);
        let range = |key, range_end| kv::Range {
            key: Bytes::from_static(key),
            range_end: Bytes::from_static(range_end),
            ..kv::Range::default()
        };
        let put = kv::Put { key: Bytes::from_static(b"k001"), ..kv::Put::default() };
        let keys = kv::Range { keys_only: true, ..range(b"k10", b"k15") };
        assert_eq!(work(vec![TxnOpKind::Range(keys)]), 50);
        let values = TxnOpKind::Range(range(b"k10", b"k15"));
        assert_eq!(work(vec![values.clone()]), 50 + 50 * 64);
        let in_memory = machine.work(&txn(vec![values]), 5000, ValueSource::Memory);
        assert_eq!(in_memory, 50);
        let delete = kv::DeleteRange { prev_kv: true, ..deletion(b"k10", b"k15") };
        assert_eq!(work(vec![TxnOpKind::Delete(delete)]), 50 + 50 * 64);
        let sorted = kv::Range {
            keys_only: true,
            sort_target: kv::SortTarget::Value as i32,
            ..range(b"k001", b"")
        };
        for single in [
            TxnOpKind::Range(range(b"k001", b"")),
            TxnOpKind::Range(sorted),
            TxnOpKind::Put(kv::Put { prev_kv: true, ..put.clone() }),
            TxnOpKind::Put(kv::Put { ignore_value: true, ..put.clone() }),
        ] {
            let ops = |times| vec![single.clone(); times];
            assert_eq!((work(ops(1)), work(ops(17))), (64, 17 * 64), "{single:?}");
        }
        assert_eq!(work(vec![TxnOpKind::Put(put.clone()); 64]), 0);
        let compare = kv::Compare {
            target: kv::CompareTarget::Value as i32,
            key: Bytes::from_static(b"k001"),
            ..kv::Compare::default()
        };
        let swaps = |times| {
            let compare = vec![compare.clone(); times];
            let txn = kv::Txn { compare, ..kv::Txn::default() };
            machine.work(&entry(KvOperation::Txn(txn)), 5000, ValueSource::Disk)
        };
        assert_eq!((swaps(0), swaps(1), swaps(17)), (0, 64, 17 * 64));
        for (put, expected) in [
            (put.clone(), 0),
            (kv::Put { prev_kv: true, ..put.clone() }, 64),
            (kv::Put { ignore_value: true, ..put }, 64),
        ] {
            let put = entry(KvOperation::Put(put));
            let work = |source| machine.work(&put, 5000, source);
            assert_eq!(
                (work(ValueSource::Memory), work(ValueSource::Disk)),
                (0, expected)
            );
        }
    }

    #[test]
    fn a_sweep_of_a_large_revision_counts_as_work_of_its_command() {
        let mut machine = filled();
        for key in 0..20_000 {
            machine.apply(&entry(KvOperation::Put(kv::Put {
                key: format!("m{key:05}").into(),
                ..kv::Put::default()
            })));
        }
        machine.apply(&entry(KvOperation::Delete(deletion(b"m", b"n"))));
        let revision = machine.kv.revision().0;
        let compact = entry(KvOperation::Compact(kv::Compact { revision }));
        assert_eq!(machine.work(&compact, MAX, ValueSource::Memory), MAX);
        let small = entry(KvOperation::Put(kv::Put::default()));
        assert_eq!(machine.work(&small, MAX, ValueSource::Memory), 0);
    }
}

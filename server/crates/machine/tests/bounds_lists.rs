//! Checking lists in requests and sorting the keys of a checkpoint take n log n steps and examine shared data once.
// The core reads no clock, but these tests measure time.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a bound on time needs a clock"
)]

use std::time::{Duration, Instant};

use witan_machine::{
    Reply, StateMachine,
    auth::{self, Caller},
    command::{ChangeMembers, Command, Entry, UpdatePeerUrls},
    kv, lease,
    member::Member,
    record::RecordChange,
};

const LEASE: i64 = 7;

fn apply(machine: &mut StateMachine, command: impl Into<Command>) -> Reply {
    let entry = Entry { command: Some(command.into()), ..Entry::default() };
    machine.apply(&entry).reply
}

fn auth(machine: &mut StateMachine, verb: auth::AuthOperation) {
    let command = auth::AuthCommand { operation: Some(verb), ..auth::AuthCommand::default() };
    let reply = apply(machine, Command::Auth(command));
    assert!(matches!(reply, Reply::Auth(Ok(_))), "{reply:?}");
}

fn put(key: String) -> kv::Put {
    kv::Put { key: key.into(), lease: LEASE, ..kv::Put::default() }
}

/// Returns a state with 20,000 keys of one lease, and a user who can write all of them.
fn leased() -> StateMachine {
    let mut machine = StateMachine::default();
    apply(&mut machine, lease::LeaseGrant { id: LEASE, ttl_s: 60 });
    for at in 0..20_000 {
        apply(&mut machine, put(format!("k{at}")));
    }
    let user = |name: &str| {
        auth::AuthOperation::UserAdd(auth::UserAdd {
            name: name.into(),
            no_password: true,
            ..auth::UserAdd::default()
        })
    };
    let role = |name: &str| auth::AuthOperation::RoleAdd(auth::RoleAdd { name: name.into() });
    let grant = |user: &str, role: &str| {
        auth::AuthOperation::UserGrant(auth::UserGrant { user: user.into(), role: role.into() })
    };
    for verb in [user("root"), role("root"), grant("root", "root")] {
        auth(&mut machine, verb);
    }
    for verb in [user("some"), role("writer"), grant("some", "writer")] {
        auth(&mut machine, verb);
    }
    let permission = auth::Permission {
        kind: auth::PermissionType::ReadWrite as i32,
        key: "k".into(),
        range_end: "l".into(),
    };
    let give = auth::RoleGrant { role: "writer".into(), permission: Some(permission) };
    auth(&mut machine, auth::AuthOperation::RoleGrant(give));
    auth(&mut machine, auth::AuthOperation::Enable(auth::Enable {}));
    machine
}

/// Measures the time to check the user's permissions for `puts` puts.
fn judged(machine: &StateMachine, puts: usize) -> Duration {
    let caller = Caller { user: "some".into(), revision: machine.auth.revision() };
    let success =
        (0..puts).map(|at| kv::TxnOp { kind: Some(kv::TxnOpKind::Put(put(format!("k{at}")))) });
    let txn = kv::Txn { success: success.collect(), ..kv::Txn::default() };
    let command = kv::KvCommand { operation: Some(kv::KvOperation::Txn(txn)) };
    let begun = Instant::now();
    assert_eq!(machine.check(Some(&caller)).command(&command), Ok(()));
    begun.elapsed()
}

#[test]
fn a_lease_is_checked_once_for_all_puts_of_a_transaction() {
    let machine = leased();
    // Take the fastest run, because other processes also use the CPU.
    let fastest = |puts| (0..10).map(|_| judged(&machine, puts)).min().expect("ten");
    let (one, many) = (fastest(1), fastest(1000));
    assert!(many < 100 * one, "{many:?} for 1000 puts, {one:?} for one");
}

#[test]
fn long_lists_of_urls_are_compared_quickly() {
    let urls = |port: u32| (0..20_000).map(move |at| format!("http://10.0.0.{at}:{port}"));
    let mut machine = StateMachine::default();
    let mut add = |id: u64, port: u32| {
        let member = Member {
            id,
            peer_urls: urls(port).collect(),
            learner: true,
            ..Member::default()
        };
        let change = ChangeMembers {
            add: Some(member),
            learners_max: 2,
            ..ChangeMembers::default()
        };
        apply(&mut machine, Command::Members(change))
    };
    let begun = Instant::now();
    assert_eq!(add(1, 1), Reply::MembershipChanged(Ok(())));
    assert_eq!(add(2, 2), Reply::MembershipChanged(Ok(())));
    let update = UpdatePeerUrls { id: 2, peer_urls: urls(3).collect() };
    let updated = apply(&mut machine, Command::PeerUrls(update));
    assert_eq!(updated, Reply::MembershipChanged(Ok(())));
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
}

/// Measures the time to build the index of a checkpoint whose keys were put in this order.
fn indexed(keys: impl Iterator<Item = Vec<u8>>) -> Duration {
    let mut kv = kv::Kv::default();
    for key in keys {
        let put = kv::Put { key: key.into(), ..kv::Put::default() };
        let operation = Some(kv::KvOperation::Put(put));
        assert!(kv.apply(&kv::KvCommand { operation }).is_ok());
    }
    let once = || {
        let mut loaded = kv::Kv::default();
        kv.changes(None, &mut |change| match change {
            RecordChange::Put { key, value } => assert!(loaded.load(&key, &value).is_ok()),
            RecordChange::Delete { .. } => unreachable!("a full checkpoint has no deletions"),
        });
        let begun = Instant::now();
        assert!(loaded.finish_load().is_ok());
        begun.elapsed()
    };
    once().min(once())
}

/// Except for their last bytes, the short keys are prefixes of the long keys. If long keys were compared to their ends, the
/// order of the puts would determine the startup time.
#[test]
fn long_keys_are_not_read_again_for_each_short_one() {
    let short = (0..1500_usize).map(|n| [vec![b'x'; 7 * n], vec![b'w']].concat());
    let long = (b'0'..b'Z').map(|end| [vec![b'x'; 256 << 10], vec![end]].concat());
    let short_first = indexed(short.clone().chain(long.clone()));
    let long_first = indexed(long.chain(short));
    assert!(
        long_first < 15 * short_first,
        "{long_first:?}, {short_first:?} in the other order"
    );
}

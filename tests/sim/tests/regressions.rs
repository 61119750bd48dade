//! Seeds that once violated an invariant, with the findings. They must stay without violations.

use witan_sim::{
    scenario::Scenario,
    sweep::{failure, run},
};

/// Seeds, numbers of members and findings of earlier simulators. A seed gives a different run after the simulator changes, so
/// each bug also has a test near its code.
const FOUND: [(u64, usize, &str); 17] = [
    // `TakenMessages`: a leader accepts a message once.
    (
        1358,
        5,
        "a deletion that the network doubled was executed again after a later put",
    ),
    (
        1536,
        3,
        "a deletion that the network doubled was executed again after a later put",
    ),
    (
        1614,
        3,
        "a deletion that the network doubled was executed again after a later put",
    ),
    // server/crates/replica/src/replica/tests.rs
    (
        696,
        5,
        "a refused snapshot took the place of the accepted one that waited for its turn",
    ),
    // `Replica::correct_rejection`
    (
        2371,
        1,
        "a rejection that was overtaken by an acknowledgment took a follower back below its log",
    ),
    // `Replica::send_current_term`
    (
        76457,
        5,
        "a candidate never heard that its terms were behind those of a removed member's campaigns",
    ),
    // `Replica::refused_at`
    (
        99604,
        1,
        "a removed leader ended when learners knew of its removal, before the one voter that it left",
    ),
    // `Replica::continue_failover`
    (
        63432,
        3,
        "a member went on to campaign after its own removal, and raft panicked when it won",
    ),
    // `Replica::is_removed`
    (
        311_324,
        5,
        "a member that goes on alone followed an old leader before it had executed its removal",
    ),
    // `Replica::request_snapshot`
    (
        329_537,
        5,
        "a member under load asked for the leader's state only at ticks, when its log was rarely committed",
    ),
    // A bug of the simulator: `committed_on_quorum`.
    (
        134_398,
        1,
        "members went on with acknowledgments of disks that were lost since",
    ),
    // A bug of the simulator: `followers_keep_up`.
    (
        310_169,
        5,
        "a member whose state was to be replaced got it when the network was whole again",
    ),
    // `Replica::force_new_cluster`
    (
        39,
        3,
        "a member that went on alone dropped acknowledged entries behind a change of membership",
    ),
    (
        4064,
        5,
        "a member that went on alone heard the old leader, who had other entries of the same term",
    ),
    // A bug of the simulator: a disk still delayed a member after the faults had stopped.
    (
        1252,
        1,
        "a leader with whom the members had settled was still held up by its disk",
    ),
    // A bug of the simulator: it did not count the contents of a disk at startup as written.
    (
        16830,
        3,
        "a vote that a power cut in the midst of its write left on the disk was not counted",
    ),
    // A bug of the simulator: it lost a disk before a quorum without that disk knew the last change.
    (
        7984,
        1,
        "a voter lost its disk while only a leader that was removed and stopped knew of its removal",
    ),
];

#[test]
fn stay_clean() {
    for (seed, members, what) in FOUND {
        let scenario = Scenario::new(seed, Some(members));
        if let Some(violation) = run(scenario, false).violation {
            panic!("again ({what}): {}", failure(&scenario, &violation));
        }
    }
}

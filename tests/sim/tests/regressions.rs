//! Seeds that once violated an invariant, with the findings. They must stay without violations.

use witan_sim::{
    scenario::Scenario,
    sweep::{failure, run},
};

/// Seeds and numbers of members of earlier simulators, each after its finding. A seed gives a different run after the simulator
/// changes, so each bug also has a test near its code.
const FOUND: [(u64, usize); 17] = [
    // `TakenMessages`: a deletion that the network doubled was executed again after a later put.
    (1358, 5),
    (1536, 3),
    (1614, 3),
    // server/crates/replica/src/replica/tests.rs: a refused snapshot took the place of the accepted one.
    (696, 5),
    // `correct_rejection`: a rejection that was overtaken by an acknowledgment took a follower back below its log.
    (2371, 1),
    // `send_current_term`: a removed member's campaigns had raised the term, and a candidate with lower terms never learned this.
    (76_457, 5),
    // `refused_at`: a removed leader ended when learners knew of its removal, before the one voter that it left.
    (99_604, 1),
    // `continue_failover`: a member went on to campaign after its own removal, and raft panicked when it won.
    (63_432, 3),
    // `is_removed`: a member that continued alone followed an old leader before it had executed that leader's removal.
    (311_324, 5),
    // `request_snapshot`: a member requested the leader's state only at ticks. Under load, its log was rarely committed then.
    (329_537, 5),
    // A bug of `committed_on_quorum`: members went on with acknowledgments of disks that were lost since.
    (134_398, 1),
    // A bug of `followers_keep_up`: a member whose state was to be replaced got it when the network was whole again.
    (310_169, 5),
    // `force_new_cluster`: a member that went on alone dropped acknowledged entries behind a change of membership.
    (39, 3),
    // `force_new_cluster`: a member that went on alone heard the old leader, who had other entries of the same term.
    (4064, 5),
    // A bug of the simulator: a leader with whom the members had settled was still held up by its disk.
    (1252, 1),
    // A bug of the simulator: a vote that a power cut in the midst of its write left on the disk was not counted.
    (16_830, 3),
    // A bug of the simulator: a voter lost its disk while only a leader that was removed and stopped knew of its removal.
    (7984, 1),
];

#[test]
fn stay_clean() {
    for (seed, members) in FOUND {
        let scenario = Scenario::new(seed, Some(members));
        if let Some(violation) = run(scenario, false).violation {
            panic!("again: {}", failure(&scenario, &violation));
        }
    }
}

//! Seeds that once violated an invariant, with the findings. They must stay without violations.

use witan_sim::{
    scenario::Scenario,
    sweep::{failure, run},
};

/// Seeds and numbers of members of earlier simulators, each after its finding. A seed produces a different run once the
/// simulator changes, so each bug also has a test near its code.
const FOUND: [(u64, usize); 19] = [
    // `TakenMessages`: a deletion that the network duplicated was executed again after a later put.
    (1358, 5),
    (1536, 3),
    (1614, 3),
    // server/crates/replica/src/replica/tests.rs: a refused snapshot replaced the accepted one.
    (696, 5),
    // `correct_rejection`: a rejection that an acknowledgment had overtaken set a follower's progress back below its log.
    (2371, 1),
    // `reject_with_term`: a removed member's campaigns had raised the term, and a candidate with lower terms never learned this.
    (76_457, 5),
    // `record_rejection`: a removed leader stopped once learners knew of its removal, although the only remaining voter did
    // not.
    (99_604, 1),
    // `continue_failover`: a member continued to campaign after its own removal, and raft panicked when it won.
    (63_432, 3),
    // `is_removed`: a member that continued alone followed an old leader before it had executed that leader's removal.
    (311_324, 5),
    // `request_snapshot`: a member requested the leader's state only at ticks. Under load, its log was rarely committed at a
    // tick.
    (329_537, 5),
    // A bug of `committed_on_quorum`: members continued with acknowledgments from disks that had been lost since.
    (134_398, 1),
    // A bug of `followers_keep_up`: a member that had to replace its state received the new state only after the network had
    // recovered.
    (310_169, 5),
    // `force_new_cluster`: a member that continued alone dropped acknowledged entries after a membership change.
    (39, 3),
    // `force_new_cluster`: a member that continued alone received messages of the old leader, which had other entries of the
    // same term.
    (4064, 5),
    // A bug of the simulator: the leader with which the members had settled was still waiting for its disk.
    (1252, 1),
    // A bug of the simulator: a vote that survived a power cut during its write was not counted.
    (16_830, 3),
    // A bug of the simulator: a voter lost its disk while only a leader that had stopped after its own removal knew of that
    // removal.
    (7984, 1),
    // `record_log_end_and_check_vote`: copies refused the candidate with the longest log without telling it the later term.
    (14_043_461, 5),
    // `limit_acknowledgments`: a forked member acknowledged its commit index for an append below its log, and never halted.
    (16_077_948, 3),
];

#[test]
fn earlier_seeds_stay_without_violations() {
    for (seed, members) in FOUND {
        let scenario = Scenario::new(seed, Some(members));
        if let Some(violation) = run(scenario, false).violation {
            panic!("again: {}", failure(&scenario, &violation));
        }
    }
}

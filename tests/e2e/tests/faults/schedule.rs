//! The faults, their durations, and their order for each seed.

use std::time::{Duration, Instant};

use witan_e2e::{linear::client::Choice, network::Link, wait};

use crate::{
    load::Load,
    probes,
    stage::{RECOVERY_MAX, Stage},
};

/// Duration of a fault. It is longer than an election of one to two seconds.
const LENGTH: Duration = Duration::from_millis(2500);

/// Duration for which a leader receives no messages. It sends heartbeats until its next quorum check, after which the others
/// start an election.
const DEAF_LENGTH: Duration = Duration::from_secs(5);

/// Duration of each cut of a flapping link and of the pause after it.
const FLAP: Duration = Duration::from_millis(250);

const FLAPS: u32 = 6;
const SLOW: Duration = Duration::from_millis(40);
const LOST_PERCENT: u8 = 15;
const APART: Duration = Duration::from_millis(800);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    KillLeader,
    KillFollower,
    KillAll,
    StopLeader,
    StopFollower,
    CutOffLeader,
    CutOffFollower,
    LeaderMute,
    LeaderDeaf,
    FollowerMute,
    FollowerDeaf,
    Flapping,
    Slow,
    Lossy,
    FullDisk,
    RollingRestart,
    ReplaceFollower,
    ReplaceLeader,
    SlowAndKilled,
    CutOffAndStopped,
}

impl Fault {
    /// The faults of every seed with their names, in the order of the variants.
    const ALL: [(Self, &'static str); 20] = [
        (Self::KillLeader, "kill -9 of the leader"),
        (Self::KillFollower, "kill -9 of a follower"),
        (Self::KillAll, "kill -9 of all members at once"),
        (Self::StopLeader, "leader stopped (SIGSTOP)"),
        (Self::StopFollower, "follower stopped (SIGSTOP)"),
        (Self::CutOffLeader, "leader cut off, both ways"),
        (Self::CutOffFollower, "follower cut off, both ways"),
        (Self::LeaderMute, "leader cut off, what it sends"),
        (Self::LeaderDeaf, "leader cut off, what it receives"),
        (Self::FollowerMute, "follower cut off, what it sends"),
        (Self::FollowerDeaf, "follower cut off, what it receives"),
        (Self::Flapping, "connections to the leader flap"),
        (Self::Slow, "every message is 40 to 80 ms late"),
        (Self::Lossy, "15 % of the segments are lost"),
        (Self::FullDisk, "a member's disk is full"),
        (Self::RollingRestart, "all members restarted, one by one"),
        (
            Self::ReplaceFollower,
            "follower removed, wiped, added again",
        ),
        (Self::ReplaceLeader, "leader removed, wiped, added again"),
        (
            Self::SlowAndKilled,
            "lossy network, and kill -9 of the leader",
        ),
        (
            Self::CutOffAndStopped,
            "follower cut off, then leader stopped",
        ),
    ];

    pub(crate) fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    /// Causes the fault, waits for its duration, and ends it with all links open.
    fn run(self, stage: &mut Stage, leader: usize, follower: usize) {
        let network = &stage.network;
        match self {
            Self::KillLeader => kill(stage, &[leader]),
            Self::KillFollower => kill(stage, &[follower]),
            Self::KillAll => kill(stage, &(0..stage.count()).collect::<Vec<_>>()),
            Self::StopLeader => stop(stage, leader),
            Self::StopFollower => stop(stage, follower),
            Self::CutOffLeader => around(stage, leader, Link::Held, Link::Held),
            Self::CutOffFollower => around(stage, follower, Link::Held, Link::Held),
            Self::LeaderMute => around(stage, leader, Link::Held, Link::Open),
            Self::LeaderDeaf => {
                network.set_around(leader, Link::Open, Link::Held);
                wait::wall_time(DEAF_LENGTH);
            }
            Self::FollowerMute => around(stage, follower, Link::Held, Link::Open),
            Self::FollowerDeaf => around(stage, follower, Link::Open, Link::Held),
            Self::Flapping => {
                for _ in 0..FLAPS {
                    network.set_around(leader, Link::Cut, Link::Cut);
                    wait::wall_time(FLAP);
                    network.set_all(Link::Open);
                    wait::wall_time(FLAP);
                }
            }
            Self::Slow => everywhere(stage, Link::Slow(SLOW)),
            Self::Lossy => everywhere(stage, Link::Lossy(LOST_PERCENT)),
            Self::FullDisk => {
                let disk = stage.disk.as_ref().expect("it is skipped without one");
                disk.fill();
                wait::wall_time(LENGTH);
                disk.make_room();
            }
            Self::RollingRestart => (0..stage.count()).for_each(|at| stage.restart(at)),
            Self::ReplaceFollower => stage.replace(follower, leader),
            Self::ReplaceLeader => stage.replace(leader, follower),
            Self::SlowAndKilled => {
                network.set_all(Link::Lossy(LOST_PERCENT));
                wait::wall_time(APART);
                kill(stage, &[leader]);
            }
            Self::CutOffAndStopped => {
                network.set_around(follower, Link::Held, Link::Held);
                wait::wall_time(APART);
                stop(stage, leader);
            }
        }
        stage.network.set_all(Link::Open);
    }
}

fn kill(stage: &mut Stage, members: &[usize]) {
    members.iter().for_each(|at| stage.kill(*at));
    if members.len() < stage.count() {
        wait::wall_time(LENGTH);
    }
    members.iter().for_each(|at| stage.start_member(*at));
}

fn stop(stage: &Stage, at: usize) {
    stage.cluster.member(at).signal("STOP");
    wait::wall_time(LENGTH);
    stage.cluster.member(at).signal("CONT");
}

fn around(stage: &Stage, at: usize, sent: Link, received: Link) {
    stage.network.set_around(at, sent, received);
    wait::wall_time(LENGTH);
}

fn everywhere(stage: &Stage, link: Link) {
    stage.network.set_all(link);
    wait::wall_time(LENGTH);
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    pub(crate) fault: Fault,
    /// The longest time without an acknowledged write, until every member has acknowledged a write again.
    pub(crate) pause: Duration,
    pub(crate) terms: u64,
    /// The maximum delay of this process, which also simulates the network.
    pub(crate) late: Duration,
}

/// Causes each fault once, in an order that depends on the seed.
pub(crate) fn run(stage: &mut Stage, load: &Load, seed: u64) -> Vec<Outcome> {
    let mut choice = Choice(seed);
    let mut faults = Fault::ALL.map(|(fault, _)| fault).to_vec();
    for at in (1..faults.len()).rev() {
        faults.swap(at, choice.below(at + 1));
    }
    if stage.disk.is_none() {
        eprintln!("no full disk: this user may not mount a file system");
        faults.retain(|fault| *fault != Fault::FullDisk);
    }
    let mut outcomes = Vec::new();
    for fault in faults {
        let leader = stage.cluster.leader();
        let other = (leader + 1 + choice.below(stage.count() - 1)) % stage.count();
        outcomes.push(one(stage, load, fault, (leader, other)));
    }
    outcomes
}

/// Causes a fault and waits until every member acknowledges writes again. `cast` is the leader and a follower.
fn one(stage: &mut Stage, load: &Load, fault: Fault, cast: (usize, usize)) -> Outcome {
    load.next_step();
    load.take_late();
    let (term, begun) = (stage.term(), Instant::now());
    fault.run(stage, cast.0, cast.1);
    wait_healed(stage, load);
    let outcome = Outcome {
        fault,
        pause: probes::longest_pause(load, begun, Instant::now()),
        terms: stage.term() - term,
        late: load.take_late(),
    };
    let Outcome { pause, terms, late, .. } = outcome;
    eprintln!(
        "{pause:>8.1?} {}, {terms} terms, {late:.0?} late",
        fault.name()
    );
    outcome
}

/// Waits until all members run and every member has acknowledged a write again.
pub(crate) fn wait_healed(stage: &mut Stage, load: &Load) {
    stage.wait_whole();
    let healed = Instant::now();
    wait::within(RECOVERY_MAX, "every member acknowledges writes", || {
        probes::all_serve(load, healed).then_some(())
    });
}

//! Failover: the next leader after the leader's process ended, and the time until it leads.

use super::*;

const MS: u64 = 1_000_000;

/// Proposes a write at member `at`. Returns the number of milliseconds until the write is answered.
fn until_written(cluster: &mut Cluster, at: u64) -> u64 {
    let ticket = cluster.propose(at, put("k"));
    let begun = cluster.now_ns;
    for _ in 0..400 {
        if cluster.answer(at, ticket).is_some() {
            return (cluster.now_ns - begun) / MS;
        }
        cluster.pass(5 * MS);
    }
    panic!("no leader in two seconds without a tick");
}

#[test]
fn writes_continue_within_milliseconds_after_the_leaders_process_ended() {
    for ids in [&[1, 2, 3][..], &[1, 2, 3, 4, 5], &[1, 2, 3, 4, 5, 6, 7]] {
        let mut cluster = Cluster::new(ids);
        let leader = cluster.leader().expect("a leader");
        let others: Vec<u64> = ids.iter().copied().filter(|id| *id != leader).collect();
        cluster.kill(leader, &others);
        let took = until_written(&mut cluster, others[0]);
        assert!(took < 100, "{took} ms with {} members", ids.len());
    }
}

/// The members get their reports on separate streams, so the first candidate may learn before the other members that the
/// leader's process ended.
#[test]
fn a_member_whose_report_is_late_votes_for_the_first_candidate() {
    for ids in [&[1, 2, 3][..], &[1, 2, 3, 4, 5], &[1, 2, 3, 4, 5, 6, 7]] {
        let mut cluster = Cluster::new(ids);
        let leader = cluster.leader().expect("a leader");
        let others: Vec<u64> = ids.iter().copied().filter(|id| *id != leader).collect();
        cluster.members.remove(&leader);
        for other in &others {
            cluster.event(*other, leader, PeerEvent::ProcessGone);
            cluster.pass(MS);
        }
        assert_eq!(
            cluster.leader(),
            Some(others[0]),
            "of {} members",
            ids.len()
        );
    }
}

/// The leader's last messages may arrive after its streams have closed: on a lossy network, one stream resends segments while
/// another stream has already ended.
#[test]
fn late_messages_of_an_ended_leader_are_ignored() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let leader = cluster.leader().expect("a leader");
    let others: Vec<u64> = (1..=3).filter(|id| *id != leader).collect();
    cluster.replica(leader).take(Input::Tick { now_ns: 0 });
    let late = cluster.turn(leader);
    assert!(
        late.len() >= others.len(),
        "the leader sends each member a heartbeat"
    );
    cluster.members.remove(&leader);
    for other in &others {
        cluster.event(*other, leader, PeerEvent::ProcessGone);
    }
    for envelope in late {
        cluster.deliver(envelope);
    }
    cluster.settle();
    let took = until_written(&mut cluster, others[0]);
    assert!(took < 100, "{took} ms");
}

/// Advances time in small steps and ticks until member `by` follows a leader. Returns the elapsed milliseconds.
fn until_followed(cluster: &mut Cluster, by: u64) -> u64 {
    const STEP_NS: u64 = 5 * MS;
    let begun = cluster.now_ns;
    while cluster.replica(by).status().leader.0 == 0 {
        assert!(
            cluster.now_ns < begun + 60_000 * MS,
            "the member never follows a leader"
        );
        cluster.pass(STEP_NS);
        if cluster.now_ns % TICK_NS < STEP_NS {
            let now_ns = cluster.now_ns.cast_signed();
            for (replica, _) in cluster.members.values_mut() {
                replica.take(Input::Tick { now_ns });
            }
            cluster.settle();
        }
    }
    (cluster.now_ns - begun) / MS
}

/// Creates a cluster in which one follower wrongly believes that the leader's process ended. This follower has the highest
/// rank, so it campaigns last. Returns the cluster, the leader and the follower.
fn mistaken(ids: &[u64]) -> (Cluster, u64, u64) {
    let mut cluster = Cluster::new(ids);
    let leader = cluster.leader().expect("a leader");
    let others = ids.iter().copied().filter(|id| *id != leader);
    let follower = others.max().expect("the cluster has other members");
    cluster.event(follower, leader, PeerEvent::ProcessGone);
    cluster.settle();
    assert_eq!(cluster.replica(follower).status().leader.0, 0);
    (cluster, leader, follower)
}

#[test]
fn a_leader_whose_streams_open_again_is_followed_at_its_next_heartbeat() {
    for ids in [&[1, 2, 3][..], &[1, 2, 3, 4, 5], &[1, 2, 3, 4, 5, 6, 7]] {
        let (mut cluster, leader, follower) = mistaken(ids);
        let term = cluster.replica(leader).status().term;
        cluster.event(follower, leader, PeerEvent::StreamOpened);
        let took = until_followed(&mut cluster, follower);
        assert!(took <= 100, "{took} ms with {} members", ids.len());
        let status = cluster.replica(follower).status();
        assert_eq!((status.leader.0, status.term), (leader, term));
    }
}

/// No message from a terminated process arrives after an election timeout.
#[test]
fn a_leader_that_sends_for_an_election_timeout_is_followed_again() {
    for ids in [&[1, 2, 3][..], &[1, 2, 3, 4, 5], &[1, 2, 3, 4, 5, 6, 7]] {
        let (mut cluster, leader, follower) = mistaken(ids);
        let took = until_followed(&mut cluster, follower);
        let longest = (ELECTION_TICKS + 1) * TICK_NS / MS;
        assert!(took <= longest, "{took} ms with {} members", ids.len());
        assert_eq!(cluster.replica(follower).status().leader.0, leader);
        assert_eq!(cluster.leader(), Some(leader));
    }
}

/// A restarted process opens its streams, but it no longer leads.
#[test]
fn a_restarted_leader_is_replaced_as_fast() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let leader = cluster.leader().expect("a leader");
    let others: Vec<u64> = (1..=3).filter(|id| *id != leader).collect();
    cluster.members.remove(&leader);
    for other in &others {
        for event in [PeerEvent::ProcessGone, PeerEvent::StreamOpened] {
            cluster.event(*other, leader, event);
        }
    }
    cluster.settle();
    let took = until_written(&mut cluster, others[0]);
    assert!(took < 100, "{took} ms");
}

#[test]
fn leadership_is_transferred_at_once() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let leader = cluster.leader().expect("a leader");
    let to = cluster
        .transfer(leader, None)
        .expect("the cluster has other members");
    assert_eq!(cluster.leader(), Some(to.0));
    assert!(until_written(&mut cluster, leader) < 10);
    let refused = cluster.transfer(leader, None);
    assert!(refused.is_err(), "a follower cannot transfer leadership");
}

#[test]
fn leadership_is_transferred_between_a_quorum_check_and_the_next_response() {
    // The quorum check runs once per election timeout, so it precedes one of these ticks.
    for ticks in 1..ELECTION_TICKS {
        let mut cluster = Cluster::new(&[1, 2, 3]);
        let leader = cluster.leader().expect("a leader");
        cluster.ticks(3);
        for follower in (1..=3).filter(|id| *id != leader) {
            cluster.cut.insert((follower, leader));
        }
        cluster.ticks(ticks);
        cluster.cut.clear();
        let to = cluster.transfer(leader, None);
        let to = to.unwrap_or_else(|refused| panic!("after {ticks} ticks: {refused}"));
        assert_eq!(cluster.leader(), Some(to.0), "after {ticks} ticks");
    }
}

/// Kills the leader of a cluster in which each message takes `delay_ms` milliseconds. `heard` lists the milliseconds after
/// which each other member learns that the process ended. Returns the milliseconds until all other members follow the same new
/// leader, and the number of terms that started.
fn slow_failover(ids: &[u64], delay_ms: u64, heard: &[u64]) -> (u64, u64) {
    let mut cluster = Cluster::new(ids);
    let leader = cluster.leader().expect("a leader");
    let others: Vec<u64> = ids.iter().copied().filter(|id| *id != leader).collect();
    let term = cluster.replica(leader).status().term;
    cluster.members.remove(&leader);
    let mut on_the_way: VecDeque<(u64, Envelope)> = VecDeque::new();
    for ms in 1..20_000 {
        cluster.now_ns += MS;
        for (other, after) in others.iter().zip(heard) {
            if *after + 1 == ms {
                cluster.event(*other, leader, PeerEvent::ProcessGone);
            }
        }
        let now_ns = cluster.now_ns;
        while let Some((_, envelope)) = on_the_way.pop_front_if(|(due, _)| *due <= ms) {
            cluster.deliver(envelope);
        }
        for (replica, world) in cluster.members.values_mut() {
            replica.take(Input::Clock { monotonic_ns: now_ns });
            if (ms * MS).is_multiple_of(TICK_NS) {
                replica.take(Input::Tick { now_ns: now_ns.cast_signed() });
            }
            replica.turn(world).expect("no halt");
            let sent = world.sent.drain(..);
            on_the_way.extend(sent.map(|envelope| (ms + delay_ms, envelope)));
        }
        let statuses = cluster
            .members
            .values()
            .map(|(replica, _)| replica.status());
        let statuses: Vec<_> = statuses.collect();
        let known = statuses[0].leader.0;
        if known != 0 && statuses.iter().all(|status| status.leader.0 == known) {
            return (ms, statuses[0].term - term);
        }
    }
    panic!("no leader in twenty seconds with messages of {delay_ms} ms");
}

/// On an overloaded machine, or between distant sites, a campaign takes longer than the step between two campaigns. If each
/// campaign ended the previous campaign, no member would win for a dozen terms.
#[test]
fn slow_campaigns_are_not_ended_by_the_next_ones() {
    for ids in [&[1, 2, 3][..], &[1, 2, 3, 4, 5]] {
        for delay_ms in [1, 3, 5, 8, 12, 16, 20, 25, 30, 40, 50, 60, 80, 100, 130] {
            let (took_ms, terms) = slow_failover(ids, delay_ms, &[0; 4]);
            let what = format!(
                "{took_ms} ms, {terms} terms: {} members, {delay_ms} ms a message",
                ids.len()
            );
            assert!(terms <= 4, "{what}");
            assert!(took_ms <= 600 + 10 * delay_ms, "{what}");
        }
    }
}

/// Each member learns separately that the leader's process ended. In any order, campaigns must not end each other.
#[test]
fn campaigns_do_not_end_each_other_in_any_order_of_reports() {
    for ids in [&[1, 2, 3][..], &[1, 2, 3, 4, 5]] {
        let others = ids.len() - 1;
        for delay_ms in [1, 2, 3, 5, 8] {
            for late_ms in [0, 1, 3, 5, 10, 15, 18, 19, 20, 21, 22, 23, 25, 30] {
                for late in 0..others {
                    let mut heard = vec![0; others];
                    heard[late] = late_ms;
                    let (took_ms, terms) = slow_failover(ids, delay_ms, &heard);
                    let what = format!(
                        "{took_ms} ms, {terms} terms: heard {heard:?}, {delay_ms} ms a message"
                    );
                    assert_eq!(terms, 1, "{what}");
                    assert!(took_ms <= late_ms + 5 * delay_ms + 25, "{what}");
                }
            }
        }
    }
}

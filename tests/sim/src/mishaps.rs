//! Mishaps in addition to the faults of `chaos`, in some seeds only. A member wrongly believes that its leader's process has
//! ended, rebuilds its state, cannot sync its log, or starts from a copied disk (`copies`). Mishaps have a separate random
//! generator, so that runs without mishaps stay the same.

use witan_replica::replica::{PeerEvent, Role, Status};

use crate::{
    host::Turn,
    inbox::Request,
    world::{Event, Phase, World},
};

/// Longest pause between two mishaps in units.
const PAUSE_UNITS: u64 = 200;

/// Percentage of members whose stream is reopened after a mistaken or a real end.
const BACK_PERCENT: u64 = 70;

/// Maximum number of units until the stream is reopened.
const BACK_UNITS: u64 = 30;

/// Number of failing log syncs per ten thousand.
const FAILED_SYNCS_PER_10_000: u64 = 50;

impl World {
    /// Causes a mishap and schedules the next one, until the serving phase.
    pub(crate) fn mishap(&mut self) {
        let pause = self.mishaps.range(1, PAUSE_UNITS);
        if self.phase == Phase::Serving {
            return;
        }
        self.after(pause, Event::Mishap);
        if self.scenario.has_copies() {
            return self.copy_disk();
        }
        let rebuilds = self.scenario.has_rebuilds();
        let may_go_wrong = |status: Status| match rebuilds {
            true => status.role != Role::Leader,
            false => status.role == Role::Follower && status.leader.0 != 0,
        };
        let places: Vec<usize> = (0..self.members.len())
            .filter(|place| {
                let member = &self.members[*place];
                let inside = !self.is_outside(*place as u64 + 1);
                inside && member.replica.is_some() && may_go_wrong(member.status)
            })
            .collect();
        if places.is_empty() {
            return;
        }
        let place = *self.mishaps.pick(&places);
        if rebuilds {
            return self.rebuild(place);
        }
        let about = self.members[place].status.leader.0;
        self.counts.mistakes += 1;
        self.schedule_peer_event(place, about, PeerEvent::ProcessGone, 1);
        if self.mishaps.chance(BACK_PERCENT) {
            let delay = self.mishaps.range(1, BACK_UNITS);
            self.schedule_peer_event(place, about, PeerEvent::StreamOpened, delay);
        }
    }

    /// Reports the start of a process to random members, which open streams to it. Those that believed it had ended learn that
    /// it runs.
    pub(crate) fn report_process_start(&mut self, place: usize) {
        for other in 0..self.members.len() {
            let delay = self.mishaps.range(1, BACK_UNITS);
            let runs = other != place && self.members[other].replica.is_some();
            if runs && self.mishaps.chance(BACK_PERCENT) {
                self.schedule_peer_event(other, place as u64 + 1, PeerEvent::StreamOpened, delay);
            }
        }
    }

    /// Makes the transport of a member report an event of member `about` after `delay` units.
    pub(crate) fn schedule_peer_event(
        &mut self,
        place: usize,
        about: u64,
        event: PeerEvent,
        delay: u64,
    ) {
        let incarnation = self.members[place].incarnation;
        self.after(delay, Event::Peer { place, incarnation, about, event });
    }

    /// Makes a member replace its state with the leader's. Does nothing while another member does so, because such a member
    /// accepts no entries.
    fn rebuild(&mut self, place: usize) {
        if self.members.iter().any(|member| member.rebuilds) {
            return;
        }
        self.counts.rebuilds += 1;
        self.members[place].rebuilds = true;
        self.request(place, Request::Rebuild);
    }
}

impl Turn<'_> {
    /// Decides at random whether a log sync fails.
    pub(crate) fn sync_fails(&mut self) -> bool {
        let world = self.world();
        world.scenario.has_failed_syncs()
            && world.phase == Phase::Chaos
            && world.mishaps.range(1, 10_000) <= FAILED_SYNCS_PER_10_000
    }
}

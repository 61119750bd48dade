//! A simulation of cut-overs. The source applies requests late, in any order or never. Several clusters follow it. Processes
//! stop in the middle of a step, and initial members lose their disks. The real state machine applies the recorded operations.
//!
//! Invariant: once a cluster has replaced the source, the source accepts no write and no second cluster replaces it.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use witan_api::v3::etcdserverpb::{AlarmMember, AlarmType, alarm_request::AlarmAction};
use witan_machine::{
    Reply, StateMachine,
    command::{Command, Entry},
    follow::{FollowOperation, FollowRevisions, FollowedRevision, FollowedWrite},
    member::MemberRegistry,
};

use super::fence::{self, FenceCalls, FenceError, Fences, Guarded};

const SEEDS: u64 = 3000;
const STEPS: usize = 600;

const MEMBER: u64 = 7;

/// The requests that the source accepts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Accepts {
    #[default]
    All,
    Deletions,
    Nothing,
}

#[derive(Debug, Default)]
struct Source {
    /// Whether alarms behave as before etcd 3.6: their last effective change decides which requests the source accepts.
    old: bool,
    alarms: BTreeSet<(u64, i32)>,
    accepts: Accepts,
    revision: i64,
}

impl Source {
    fn has(&self, kind: AlarmType) -> bool {
        self.alarms.iter().any(|alarm| alarm.1 == kind as i32)
    }

    /// Recomputes the effect of the alarms when the member starts.
    fn restart(&mut self) {
        self.accepts = match (self.has(AlarmType::Corrupt), self.has(AlarmType::Nospace)) {
            (true, _) => Accepts::Nothing,
            (false, true) => Accepts::Deletions,
            (false, false) => Accepts::All,
        };
    }

    /// Raises or disarms an alarm and updates the accepted requests as an old or a new etcd does.
    fn alarm(&mut self, action: AlarmAction, alarm: AlarmMember) {
        let kind = alarm.alarm();
        let before = self.has(kind);
        let key = (alarm.member_id, alarm.alarm);
        match action {
            AlarmAction::Activate => drop(self.alarms.insert(key)),
            AlarmAction::Deactivate => drop(self.alarms.remove(&key)),
            AlarmAction::Get => {}
        }
        match (before, self.has(kind), kind) {
            (true, true, _) | (false, false, _) => {}
            _ if !self.old => self.restart(),
            (false, true, AlarmType::Corrupt) => self.accepts = Accepts::Nothing,
            (false, true, _) => self.accepts = Accepts::Deletions,
            (true, false, _) => self.accepts = Accepts::All,
        }
    }

    fn listed(&self) -> Vec<AlarmMember> {
        let alarms = self.alarms.iter();
        alarms
            .map(|(member_id, alarm)| AlarmMember { member_id: *member_id, alarm: *alarm })
            .collect()
    }
}

/// A request to the source, or a proposal to a cluster.
#[derive(Clone, Debug)]
enum Request {
    Alarm(AlarmAction, AlarmMember),
    List,
    Probe,
    Revision,
    Record(usize, FollowOperation),
}

#[derive(Clone, Debug)]
enum Answer {
    Done,
    Alarms(Vec<AlarmMember>),
    TakesWrites(bool),
    Revision(i64),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Failure {
    /// The request may take effect later.
    Late,
    Refused,
    Fence(FenceError),
}

impl From<FenceError> for Failure {
    fn from(error: FenceError) -> Self {
        Self::Fence(error)
    }
}

type Slot = Rc<RefCell<Option<Result<Answer, Failure>>>>;

#[derive(Debug, Default)]
struct Seen {
    cut_over: u32,
    gave_up: u32,
    foreign: u32,
    seed_refused: u32,
    raised_again: u32,
}

#[derive(Debug, Default)]
struct World {
    source: Source,
    /// The replicated state of each cluster.
    clusters: Vec<StateMachine>,
    requests: Vec<(Request, Slot)>,
    /// Whether an operator has disarmed the source's alarms.
    disarmed: bool,
    seen: Seen,
}

impl World {
    /// Executes a request that has reached the source or a cluster.
    fn apply(&mut self, request: Request) -> Result<Answer, Failure> {
        match request {
            Request::Alarm(action, alarm) => {
                self.source.alarm(action, alarm);
                Ok(Answer::Done)
            }
            Request::List => Ok(Answer::Alarms(self.source.listed())),
            Request::Probe => Ok(Answer::TakesWrites(self.source.accepts != Accepts::Nothing)),
            Request::Revision => Ok(Answer::Revision(self.source.revision)),
            Request::Record(cluster, operation) => self.record(cluster, operation),
        }
    }

    /// Applies an operation to a cluster's state. Panics if a cut-over loses a write or is the second one, unless an operator
    /// has disarmed the alarms.
    fn record(&mut self, cluster: usize, operation: FollowOperation) -> Result<Answer, Failure> {
        let machine = &mut self.clusters[cluster];
        let followed = machine.members.follows;
        let entry = Entry::unstamped(Command::from(operation), None);
        let Reply::Followed(reply) = machine.apply(&entry).reply else {
            unreachable!("the reply belongs to another command");
        };
        if followed && !machine.members.follows {
            self.seen.cut_over += 1;
            let copied = machine.kv.revision().0;
            if !self.disarmed {
                assert_eq!(copied, self.source.revision, "a write is lost");
                self.check();
            }
        }
        match reply {
            Ok(()) => Ok(Answer::Done),
            Err(_) => Err(Failure::Refused),
        }
    }

    /// Starts a cluster that follows the source and returns its index.
    fn begin(&mut self) -> usize {
        let cluster = self.clusters.len();
        let mut machine = StateMachine::default();
        machine.members.follows = true;
        machine.members.cluster_id = ((cluster as u64 + 1) << 32) | 5;
        self.clusters.push(machine);
        cluster
    }

    /// Writes to the source as a client, or deletes a key if `deletes` is set. Panics if the source accepts the write after a
    /// cut-over, unless an operator has disarmed the alarms.
    fn write(&mut self, deletes: bool) {
        let taken = match self.source.accepts {
            Accepts::All => true,
            Accepts::Deletions => deletes,
            Accepts::Nothing => false,
        };
        self.source.revision += i64::from(taken);
        if taken && !self.disarmed {
            let successors = self
                .clusters
                .iter()
                .filter(|it| !it.members.follows)
                .count();
            assert_eq!(successors, 0, "a write after the cut-over");
        }
    }

    /// Panics if more than one cluster has replaced the source.
    fn check(&self) {
        let successors = self
            .clusters
            .iter()
            .filter(|it| !it.members.follows)
            .count();
        assert!(
            successors <= 1,
            "{successors} clusters have replaced the source"
        );
    }
}

/// The calls of one process, which serves one cluster.
#[derive(Clone)]
struct Calls {
    world: Rc<RefCell<World>>,
    cluster: usize,
}

impl Calls {
    /// Queues a request and waits for its response.
    async fn ask(&self, request: Request) -> Result<Answer, Failure> {
        let slot = Slot::default();
        let waiting = (request, slot.clone());
        self.world.borrow_mut().requests.push(waiting);
        poll_fn(|_| slot.borrow_mut().take().map_or(Poll::Pending, Poll::Ready)).await
    }

    async fn alarms(&self) -> Result<Vec<AlarmMember>, Failure> {
        let Answer::Alarms(alarms) = self.ask(Request::List).await? else {
            unreachable!("the response belongs to another request");
        };
        Ok(alarms)
    }

    /// Copies the source's revisions up to `until`, each with one new key.
    async fn copy(&self, until: i64) -> Result<(), Failure> {
        let from = self.world.borrow().clusters[self.cluster].kv.revision().0 + 1;
        let revisions = (from..=until).map(|revision| FollowedRevision {
            revision,
            writes: vec![FollowedWrite {
                key: revision.to_be_bytes().to_vec().into(),
                version: 1,
                ..FollowedWrite::default()
            }],
        });
        let revisions = FollowRevisions { revisions: revisions.collect() };
        self.record(FollowOperation::Revisions(revisions)).await
    }
}

impl FenceCalls for Calls {
    type Error = Failure;

    async fn recorded(&self) -> Result<MemberRegistry, Failure> {
        Ok(self.world.borrow().clusters[self.cluster].members.clone())
    }

    async fn record(&self, operation: FollowOperation) -> Result<(), Failure> {
        let request = Request::Record(self.cluster, operation);
        self.ask(request).await.map(drop)
    }

    async fn alarm(&self, action: AlarmAction, alarm: AlarmMember) -> Result<(), Failure> {
        self.ask(Request::Alarm(action, alarm)).await.map(drop)
    }

    async fn fences(&self, recorded: &MemberRegistry) -> Result<Fences, Failure> {
        Ok(Fences::of(self.alarms().await?, &[MEMBER], recorded))
    }

    async fn takes_writes(&self) -> Result<bool, Failure> {
        let Answer::TakesWrites(takes) = self.ask(Request::Probe).await? else {
            unreachable!("the response belongs to another request");
        };
        Ok(takes)
    }

    async fn revision(&self) -> Result<i64, Failure> {
        let Answer::Revision(revision) = self.ask(Request::Revision).await? else {
            unreachable!("the response belongs to another request");
        };
        Ok(revision)
    }
}

/// Runs one round like `run` and `sync`: attempts a cut-over, or checks the fence after one. `seen` is the revision of the last
/// check, if the fence held. Returns `seen` for the next round.
async fn round(calls: &Calls, seen: Option<i64>) -> Result<Option<i64>, Failure> {
    let recorded = calls.recorded().await?;
    if !recorded.follows {
        let (found, revision) = fence::guard(calls, seen).await?;
        let raised = u32::from(found == Guarded::RaisedAgain);
        calls.world.borrow_mut().seen.raised_again += raised;
        return Ok((found == Guarded::Holds).then_some(revision));
    }
    let fences = calls.fences(&recorded).await?;
    if !fences.own.is_empty() {
        fence::abandon(calls).await?;
    }
    fences.check()?;
    calls.copy(calls.revision().await?).await?;
    let recorded = fence::begin(calls).await?;
    let copy = async |revision| calls.copy(revision).await;
    if let Err(error) = fence::take_over(calls, &recorded, copy).await {
        fence::abandon(calls).await?;
        calls.world.borrow_mut().seen.gave_up += 1;
        return Err(error);
    }
    Ok(None)
}

/// Runs a process of `cluster` or, if `cluster` is `None`, of a new cluster that starts from a snapshot of the source.
async fn process(world: Rc<RefCell<World>>, cluster: Option<usize>) {
    let cluster = match cluster {
        Some(cluster) => cluster,
        None => {
            let calls = Calls { world: world.clone(), cluster: 0 };
            let Ok(alarms) = calls.alarms().await else {
                return;
            };
            let fences = Fences::of(alarms, &[MEMBER], &MemberRegistry::default());
            if fences.check().is_err() {
                world.borrow_mut().seen.seed_refused += 1;
                return;
            }
            let Ok(revision) = calls.revision().await else {
                return;
            };
            let cluster = world.borrow_mut().begin();
            let calls = Calls { world: calls.world, cluster };
            if calls.copy(revision).await.is_err() {
                return;
            }
            cluster
        }
    };
    let calls = Calls { world, cluster };
    let mut seen = None;
    loop {
        seen = match round(&calls, seen).await {
            Ok(seen) => seen,
            Err(error) => {
                let foreign = matches!(error, Failure::Fence(FenceError::Foreign(_)));
                calls.world.borrow_mut().seen.foreign += u32::from(foreign);
                None
            }
        };
        // Yield even if the round made no request.
        let _ = calls.ask(Request::Revision).await;
    }
}

/// Pseudo-random numbers from a seed.
struct Random(u64);

impl Random {
    /// Returns a number below `bound`, which must not be 0.
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) as usize % bound
    }
}

type Process = (Option<usize>, Pin<Box<dyn Future<Output = ()>>>);

struct Run {
    world: Rc<RefCell<World>>,
    processes: Vec<Process>,
    drawn: Random,
}

impl Run {
    fn start(&mut self, cluster: Option<usize>) {
        let process = process(self.world.clone(), cluster);
        self.processes.push((cluster, Box::pin(process)));
    }

    /// Answers a random waiting request. If `fails` is set, its caller gives up instead, and the request may take effect
    /// later.
    fn request(&mut self, fails: bool) {
        let mut world = self.world.borrow_mut();
        if world.requests.is_empty() {
            return;
        }
        let at = self.drawn.below(world.requests.len());
        if fails {
            *world.requests[at].1.borrow_mut() = Some(Err(Failure::Late));
            if self.drawn.below(4) == 0 {
                world.requests.swap_remove(at);
            }
            return;
        }
        let (request, slot) = world.requests.swap_remove(at);
        let answer = world.apply(request);
        *slot.borrow_mut() = Some(answer);
    }

    /// Stops a random process and starts another. Half of the time, the new process serves the same cluster. Otherwise, it
    /// serves a new or a random cluster, as if the disk had been lost.
    fn end(&mut self) {
        if self.processes.is_empty() {
            return;
        }
        let at = self.drawn.below(self.processes.len());
        let (cluster, _) = self.processes.swap_remove(at);
        match self.drawn.below(4) {
            0 => self.start(None),
            1 => {
                let clusters = self.world.borrow().clusters.len();
                let other = (clusters > 0).then(|| self.drawn.below(clusters));
                self.start(other);
            }
            _ => self.start(cluster),
        }
    }

    /// Disarms all raised alarms, as an operator would.
    fn disarm(&self) {
        let mut world = self.world.borrow_mut();
        world.disarmed = true;
        for alarm in world.source.listed() {
            let lower = Request::Alarm(AlarmAction::Deactivate, alarm);
            world.requests.push((lower, Slot::default()));
        }
    }

    /// Performs a random action of a client, an operator, the network or a process, and polls all processes.
    fn step(&mut self, disarms: bool) {
        match self.drawn.below(40) {
            0..20 => self.request(false),
            20..24 => self.request(true),
            24..32 => {
                let deletes = self.drawn.below(2) == 0;
                self.world.borrow_mut().write(deletes);
            }
            32 => self.end(),
            33 if self.processes.len() < 3 => self.start(None),
            34 => self.world.borrow_mut().source.restart(),
            35 => {
                let action = [AlarmAction::Activate, AlarmAction::Deactivate][self.drawn.below(2)];
                let alarm = AlarmType::Nospace as i32;
                let own = AlarmMember { member_id: MEMBER, alarm };
                self.world.borrow_mut().source.alarm(action, own);
            }
            36 if disarms && self.drawn.below(4) == 0 => self.disarm(),
            _ => {}
        }
        self.poll();
    }

    fn poll(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        self.processes
            .retain_mut(|(_, process)| process.as_mut().poll(&mut context).is_pending());
    }
}

/// Runs a simulation of `STEPS` steps. If `disarms`, an operator also disarms the source's alarms at random.
fn run(seed: u64, disarms: bool) -> Run {
    let source = Source {
        old: seed.is_multiple_of(2),
        revision: 1,
        ..Source::default()
    };
    let world = World { source, ..World::default() };
    let mut run = Run {
        world: Rc::new(RefCell::new(world)),
        processes: Vec::new(),
        drawn: Random(seed),
    };
    for _ in 0..2 {
        run.start(None);
    }
    for _ in 0..STEPS {
        run.step(disarms);
    }
    run
}

#[test]
fn at_most_one_cluster_accepts_writes_after_a_cut_over() {
    let mut total = [0; 4];
    for seed in 0..SEEDS {
        println!("seed {seed}");
        let world = run(seed, false).world;
        let Seen { cut_over, gave_up, foreign, seed_refused, .. } = world.borrow().seen;
        for (sum, seen) in total
            .iter_mut()
            .zip([cut_over, gave_up, foreign, seed_refused])
        {
            *sum += seen;
        }
    }
    println!("cut-overs, abandoned attempts, foreign fences, refused seeds: {total:?}");
    assert!(total.iter().all(|seen| *seen > 100), "{total:?}");
}

/// Without further disturbances, the successor fences the source again after an operator has disarmed the alarms.
#[test]
fn a_source_whose_fence_was_removed_is_fenced_again() {
    let mut total = 0;
    for seed in 0..SEEDS {
        println!("seed {seed}");
        let mut run = run(seed, true);
        let done = {
            let world = run.world.borrow();
            let mut clusters = world.clusters.iter();
            clusters.position(|it| !it.members.follows)
        };
        let Some(done) = done else { continue };
        run.processes.clear();
        run.start(Some(done));
        for _ in 0..2 {
            for _ in 0..STEPS {
                run.request(false);
                run.poll();
            }
            if run.world.borrow().source.accepts == Accepts::Nothing {
                break;
            }
            // Before etcd 3.6, another cluster's alarm may have no effect and disable this cluster's alarm (`TakesWrites`).
            run.disarm();
        }
        let world = run.world.borrow();
        assert_eq!(world.source.accepts, Accepts::Nothing, "{:?}", world.source);
        total += world.seen.raised_again;
    }
    assert!(total > 100, "{total}");
}

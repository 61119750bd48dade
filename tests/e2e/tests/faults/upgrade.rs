//! The steps of an upgrade, while all clients continue. Members of two releases, OLD and NEW, serve in one cluster. They change
//! their release with kill -9, lose their disks, and save backups that the other release restores. A table shows the effect of
//! each step. `tests/upgrade/run` builds the two programs.

use std::{
    collections::BTreeSet,
    fmt,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{runtime::Runtime, task::JoinSet};
use tonic::transport::Channel;
use witan_api::v3::etcdserverpb::kv_client::KvClient;
use witan_e2e::{Folder, Kind, Launch, Server, cluster::status, grpc, requests, tool, wait};

use crate::{
    Clients,
    load::Load,
    probes, schedule,
    stage::{RECOVERY_MAX, Stage},
    verdict,
};

const MEMBERS: usize = 3;

/// Duration of the first step, after which there is data of each kind.
const STARTED: Duration = Duration::from_secs(4);

/// Duration for which members of both releases serve under one leader, unless `WITAN_UPGRADE_MINUTES` sets another one.
const MIXED: Duration = Duration::from_secs(10);

/// Duration after which clients change to other pairs, so that histories stay short.
const PAIRS_CHANGE: Duration = Duration::from_millis(2500);

/// Maximum time without an acknowledged write. An election takes one to two seconds, and other programs may use the processors.
const GAP_MAX: Duration = Duration::from_secs(10);

/// Index of an applied entry at which a log no longer has its first entries. A member keeps at most 10,000 applied entries.
const LOG_ENTRIES: u64 = 11_000;

const FILLERS: usize = 64;
const FILLER_PUTS: usize = 50;
const RECEIVED: &str = "etcd_network_snapshot_receive_success";

/// A put that keeps the value and the lease of the key `kept`. A replica reads both when it applies the put.
const KEEP: &str = r#"{"key":"a2VwdA==","ignore_value":true,"ignore_lease":true}"#;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Old,
    New,
}

impl Side {
    fn other(self) -> Self {
        match self {
            Self::Old => Self::New,
            Self::New => Self::Old,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Old => "OLD",
            Self::New => "NEW",
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) step: String,
    pub(crate) acknowledged: usize,
    /// Number of probes acknowledged since the start that a member does not have.
    pub(crate) lost: usize,
    /// The longest time without an acknowledged write, until every member has acknowledged a write again.
    pub(crate) gap: Duration,
    pub(crate) hashes: Vec<u32>,
}

impl Row {
    pub(crate) fn judge(&self) -> Result<(), String> {
        let Self { step, lost, gap, hashes, .. } = self;
        if *lost > 0 {
            return Err(format!("{step}: {lost} acknowledged writes are lost"));
        }
        if hashes.iter().any(|hash| *hash != hashes[0]) {
            return Err(format!("{step}: the members' hashes differ: {hashes:08x?}"));
        }
        if *gap > GAP_MAX {
            return Err(format!("{step}: no write was acknowledged for {gap:?}"));
        }
        Ok(())
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hashes = self.hashes.iter().map(|hash| format!("{hash:08x}"));
        let mut hashes: Vec<String> = hashes.collect();
        hashes.dedup();
        write!(
            f,
            "| {:<32} | {:>12} | {:>4} | {:>15} | {:<8} |",
            self.step,
            self.acknowledged,
            self.lost,
            self.gap.as_millis(),
            hashes.join(" ")
        )
    }
}

struct Upgrade {
    stage: Stage,
    load: Arc<Load>,
    runtime: Runtime,
    channels: Vec<Channel>,
    old: PathBuf,
    new: PathBuf,
    sides: Vec<Side>,
    /// The line with the format of OLD's data directories.
    format: String,
}

/// Takes all steps with the program `old` and the current program. If `minutes` is not 0, members of both releases serve
/// together for this time, and all members go back and forward once more. Panics with the first violation.
pub(crate) fn run(old: PathBuf, minutes: u64) {
    let new = Kind::Witan.binary();
    eprintln!("OLD is {}\nNEW is {}", old.display(), new.display());
    let runtime = grpc::runtime();
    let stage = Stage::start_program(MEMBERS, &old);
    let load = Load::new(stage.cluster.addresses());
    let channels = {
        let _context = runtime.enter();
        load.channels()
    };
    let format = stage.cluster.member(0).format_line();
    furnish(stage.cluster.member(0));
    let clients = Clients::start(&runtime, &load, true);
    let sides = vec![Side::Old; MEMBERS];
    let mut upgrade = Upgrade { stage, load, runtime, channels, old, new, sides, format };
    upgrade.take_all_steps(minutes);
    let Upgrade { stage, load, runtime, .. } = upgrade;
    let told = clients.stop(&runtime, &load);
    crate::judge(&stage, &load, &told, "upgrade").unwrap_or_else(|wrong| panic!("{wrong}"));
}

impl Upgrade {
    fn take_all_steps(&mut self, minutes: u64) {
        let mixed = match minutes {
            0 => MIXED,
            minutes => Duration::from_secs(30 * minutes),
        };
        eprintln!(
            "| {:<32} | acknowledged | lost | longest gap, ms | hash     |",
            "step"
        );
        eprintln!(
            "|{:-<34}|-------------:|-----:|----------------:|----------|",
            ""
        );
        self.step("all members run OLD", |run| run.serve(STARTED));
        let first = self.stage.cluster.follower();
        let other = (first + 1) % MEMBERS;
        self.step("a follower goes to NEW, kill -9", |run| {
            run.restart(first, Side::New);
        });
        self.step("both releases, OLD leads", |run| run.mix(other, mixed));
        self.step("NEW loses its disk, OLD leads", |run| {
            run.lose_disk(first, other);
        });
        self.step("both releases, NEW leads", |run| run.mix(first, mixed));
        self.step("OLD loses its disk, NEW leads", |run| {
            run.lose_disk(other, first);
        });
        for side in [Side::Old, Side::New] {
            let step = format!("{} restores {}'s backup", side.other().name(), side.name());
            self.step(&step, |run| run.back_up(side));
        }
        self.step("the leader goes to OLD, kill -9", |run| {
            run.stage.lead(first);
            run.restart(first, Side::Old);
        });
        self.roll(Side::New);
        if minutes > 0 {
            self.roll(Side::Old);
            self.roll(Side::New);
        }
    }

    /// Restarts all members with one release, the leader last.
    fn roll(&mut self, side: Side) {
        while let Some((at, leads)) = self.next(side) {
            let role = if leads { "the leader" } else { "a follower" };
            let step = format!("{role} goes to {}, kill -9", side.name());
            self.step(&step, |run| run.restart(at, side));
        }
    }

    /// Returns a member with the other release and whether it leads, or `None` if there is none. Prefers followers.
    fn next(&self, side: Side) -> Option<(usize, bool)> {
        let leader = self.stage.cluster.leader();
        let due = (0..MEMBERS).filter(|at| self.sides[*at] != side);
        due.map(|at| (at, at == leader))
            .min_by_key(|(_, leads)| *leads)
    }

    /// Takes one step, prints its effect when every member has acknowledged a write again, and checks it.
    fn step(&mut self, step: &str, act: impl FnOnce(&mut Self)) {
        self.load.next_step();
        let (before, begun) = (self.load.acknowledged().len(), Instant::now());
        act(self);
        schedule::wait_healed(&mut self.stage, &self.load);
        let gap = probes::longest_pause(&self.load, begun, Instant::now());
        let acknowledged = self.load.acknowledged().len() - before;
        let (lost, hashes) = self.states();
        let row = Row { step: step.to_owned(), acknowledged, lost, gap, hashes };
        eprintln!("{row}");
        row.judge().unwrap_or_else(|wrong| panic!("{wrong}"));
        // A member may go back, so its directory keeps the format of OLD.
        for member in self.stage.cluster.members() {
            assert_eq!(member.format_line(), self.format, "after: {step}");
        }
    }

    /// Returns the number of acknowledged probes that a member does not have, and the members' hashes at one revision.
    fn states(&self) -> (usize, Vec<u32>) {
        let acknowledged = self.load.acknowledged().clone();
        let channels = self.channels.iter();
        let reads: Vec<_> = channels.map(|channel| self.read(channel)).collect();
        let lost: BTreeSet<&String> = reads
            .iter()
            .flat_map(|(there, _)| verdict::lost(&acknowledged, there))
            .collect();
        let (_, revision) = reads[0];
        let members = self.stage.cluster.members().iter();
        (
            lost.len(),
            members.map(|member| hash(member, revision)).collect(),
        )
    }

    /// Reads the keys of all probes and the revision. Retries a refused read.
    fn read(&self, channel: &Channel) -> (BTreeSet<Vec<u8>>, i64) {
        let there = wait::within(RECOVERY_MAX, "a linearizable read", || {
            let read = grpc::try_keys(channel, probes::PREFIX, probes::PREFIX_END);
            self.runtime.block_on(read).ok()
        });
        let revision = there.header.map_or(0, |header| header.revision);
        let keys = there.kvs.into_iter().map(|kv| kv.key.to_vec());
        (keys.collect(), revision)
    }

    fn program(&self, side: Side) -> &Path {
        match side {
            Side::Old => &self.old,
            Side::New => &self.new,
        }
    }

    /// Lets clients work for a time and changes their pairs regularly.
    fn serve(&self, time: Duration) {
        let end = Instant::now() + time;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            wait::wall_time(left.min(PAIRS_CHANGE));
            self.load.next_step();
        }
    }

    /// Lets clients work for a time under this leader. Then puts a key through each member with [`KEEP`], whose value is not in
    /// the log.
    fn mix(&self, leader: usize, time: Duration) {
        self.stage.lead(leader);
        self.serve(time);
        for member in self.stage.cluster.members() {
            member.v3("kv/put", KEEP);
        }
    }

    fn restart(&mut self, at: usize, side: Side) {
        let program = self.program(side).to_path_buf();
        self.stage.kill(at);
        self.stage.cluster.member_mut(at).use_program(program);
        self.stage.start_member(at);
        self.sides[at] = side;
    }

    /// Wipes a member's disk after the leader has dropped the first entries of its log. The member then needs a snapshot.
    fn lose_disk(&mut self, at: usize, leader: usize) {
        self.stage.lead(leader);
        let leading = self.stage.cluster.member(leader);
        wait::within(RECOVERY_MAX, "the log loses its first entries", || {
            if status(leading)?.applied > LOG_ENTRIES {
                return Some(());
            }
            self.runtime.block_on(fill(&self.channels[leader]));
            None
        });
        self.stage.lose_disk(at, leader);
        let member = self.stage.cluster.member(at);
        wait::until_true("the member has received a snapshot", || {
            member.metric(RECEIVED) >= Some(1.0)
        });
    }

    /// Saves a backup of a member of one release, restores it with the other release, and compares the two.
    fn back_up(&self, by: Side) {
        let at = self.sides.iter().position(|side| *side == by);
        let at = at.expect("both releases run");
        let member = self.stage.cluster.member(at);
        let acknowledged = self.load.acknowledged().clone();
        // After this read, the member has all acknowledged writes.
        let (_, revision) = self.read(&self.channels[at]);
        let folder = Folder::new("backup");
        let file = folder.join("backup.db").display().to_string();
        member.etcdctl(&["snapshot", "save", &file]);
        let program = self.program(by.other());
        let launch = Launch::witan().program(program.to_path_buf());
        let restored = tool::restored(launch, Command::new(program), &file, &[]);
        let channel = {
            let _context = self.runtime.enter();
            grpc::lazy(&restored.address())
        };
        let (there, _) = self.read(&channel);
        verdict::none_lost(&acknowledged, &there)
            .unwrap_or_else(|wrong| panic!("the restored backup {wrong}"));
        assert_eq!(hash(&restored, revision), hash(member, revision));
        assert_eq!(furnished(&restored), furnished(member));
    }
}

async fn fill(channel: &Channel) {
    let mut fillers = JoinSet::new();
    for at in 0..FILLERS {
        let mut kv = KvClient::new(channel.clone());
        fillers.spawn(async move {
            for _ in 0..FILLER_PUTS {
                // The next round replaces a refused put.
                let _ = kv.put(requests::put(format!("filler/{at}"), "v")).await;
            }
        });
    }
    fillers.join_all().await;
}

/// Returns the hash of a member's v3 keys at a revision, once the member has it.
fn hash(member: &Server, revision: i64) -> u32 {
    let hash = || grpc::hash_kv(member, revision);
    wait::within(RECOVERY_MAX, "the hash at a revision", hash).1
}

/// Writes data that no client changes: a v2 key, a lease with the key `kept`, and a user.
fn furnish(member: &Server) {
    member.answers(201, "PUT", "/v2/keys/kept", "value=v2");
    member.v3("lease/grant", r#"{"ID":"77","TTL":"36000"}"#);
    let put = r#"{"key":"a2VwdA==","value":"a2VwdA==","lease":"77"}"#;
    member.v3("kv/put", put);
    let user = r#"{"name":"alice","password":"secret"}"#;
    member.v3("auth/user/add", user);
}

fn furnished(member: &Server) -> [String; 4] {
    let tree = member.answers(200, "GET", "/v2/keys/kept", "").json();
    let lease = member.v3("lease/timetolive", r#"{"ID":"77","keys":true}"#);
    let users = member.v3("auth/user/list", "{}");
    let shown = [
        &tree["node"]["value"],
        &lease["grantedTTL"],
        &lease["keys"],
        &users["users"],
    ];
    shown.map(ToString::to_string)
}

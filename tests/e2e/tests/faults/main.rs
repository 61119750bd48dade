//! Members under faults of processes, disks and networks, while clients of v3 and v2 use all of them. After all faults, every
//! guarantee is checked, and a table shows how long no write was acknowledged.
//!
//! By default, a run has one seed. `WITAN_FAULTS_MINUTES=30` runs seeds for this time, starting with `WITAN_FAULTS_SEED`, and
//! every third seed has five members. `WITAN_FAULTS_MEMBERS=5` sets the number for every seed. `WITAN_FAULTS_SERVER=etcd36`
//! tests etcd without v2 and prints its violations. With `WITAN_UPGRADE_OLD=PATH`, the members change between that program and
//! the current one instead (`tests/upgrade/run`).
//!
//! Reading order: `schedule` (the faults) → `stage` (the members) → `load` and `probes`, `leases`, `tree` (the clients),
//! `tree_watch` (v2 watches) → `verdict` (the guarantees) → `table` → `upgrade` (the steps of an upgrade). `planted` shows that
//! each check detects a violation in a history of `honest`.

#![expect(clippy::print_stderr, reason = "a long run prints its progress")]

mod honest;
mod leases;
mod load;
mod planted;
mod probes;
mod schedule;
mod stage;
mod table;
mod tree;
mod tree_watch;
mod upgrade;
mod verdict;

use std::{
    collections::BTreeMap,
    env, fs,
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use load::Load;
use schedule::Outcome;
use stage::Stage;
use tokio::{runtime::Runtime, sync::watch, task::JoinSet};
use tree_watch::TreeWatch;
use verdict::Told;
use witan_e2e::{Kind, grpc};

/// Number of v3 clients per member.
const CLIENTS: usize = 2;

/// Minimum number of answered calls. A run with fewer proves nothing.
const ANSWERED_MIN: usize = 300;

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}

#[test]
fn every_guarantee_holds_during_faults_of_processes_disks_and_networks() {
    if let Some(old) = env::var_os("WITAN_UPGRADE_OLD") {
        return upgrade::run(old.into(), number("WITAN_UPGRADE_MINUTES").unwrap_or(0));
    }
    let kind = env::var("WITAN_FAULTS_SERVER").map_or(Kind::Witan, |name| {
        Kind::named(&name).unwrap_or_else(|| panic!("WITAN_FAULTS_SERVER: no such server: {name}"))
    });
    let members = number("WITAN_FAULTS_MEMBERS").map(|count| count as usize);
    let minutes = number("WITAN_FAULTS_MINUTES").unwrap_or(0);
    let end = Instant::now() + Duration::from_secs(60 * minutes);
    let mut seed = number("WITAN_FAULTS_SEED").unwrap_or(1);
    let mut outcomes: BTreeMap<usize, Vec<Outcome>> = BTreeMap::new();
    loop {
        let drawn = [3, 3, 5][(seed % 3) as usize];
        let members = members.unwrap_or(if minutes > 0 { drawn } else { 3 });
        eprintln!("seed {seed}, {members} members");
        match run(kind, members, seed) {
            Ok(more) => outcomes.entry(members).or_default().extend(more),
            Err(wrong) => {
                let text = format!("WITAN_FAULTS_SEED={seed}: {wrong}");
                assert!(kind != Kind::Witan, "{text}");
                eprintln!("{} violates a guarantee: {text}", kind.name());
            }
        }
        seed += 1;
        if Instant::now() >= end {
            break;
        }
    }
    for (members, outcomes) in outcomes {
        let title = format!("{}, {members} members", kind.name());
        eprintln!("{}", table::table(&title, &outcomes));
    }
}

fn run(kind: Kind, members: usize, seed: u64) -> Result<Vec<Outcome>, String> {
    let runtime = grpc::runtime();
    let mut stage = Stage::start(kind, members);
    let load = Load::new(stage.cluster.addresses());
    let clients = Clients::start(&runtime, &load, kind == Kind::Witan);
    let outcomes = schedule::run(&mut stage, &load, seed);
    let told = clients.stop(&runtime, &load);
    judge(&stage, &load, &told, &format!("seed {seed}"))?;
    Ok(outcomes)
}

/// Checks the clients' records and the members' states. Fails with the violations and with the directory that keeps the history
/// and the logs. Removes this directory on success. `title` names the run. Panics if too few calls were answered.
fn judge(stage: &Stage, load: &Load, told: &Told, title: &str) -> Result<(), String> {
    let folder = folder(title);
    fs::write(folder.join("history.txt"), told.history()).expect("a temporary folder");
    stage.write_logs(&folder);
    let seen = format!("{}: history and logs", folder.display());
    let answered = told.calls.iter().filter(|call| call.told.is_some()).count();
    assert!(
        answered > ANSWERED_MIN && told.leases > 0,
        "only {answered} calls were answered, {} leases granted: {seen}",
        told.leases
    );
    let judged = told.judge().and_then(|()| {
        let states = verdict::judge_states(stage, load, stage.kind == Kind::Witan);
        states.and(match load.all_wrong() {
            wrong if wrong.is_empty() => Ok(()),
            wrong => Err(wrong.join("\n")),
        })
    });
    judged.map_err(|wrong| format!("{wrong}\n{seen}"))?;
    let tree_changes = told.tree_watches.iter().map(|watch| watch.changes.len());
    eprintln!(
        "{title}: {answered} calls of v3, {} of v2 and {} changes, {} probes, {} changes, {} leases: right",
        told.tree_calls.len(),
        tree_changes.max().unwrap_or_default(),
        load.acknowledged().len(),
        told.fresh.iter().flatten().count(),
        told.leases,
    );
    fs::remove_dir_all(folder).expect("the folder exists");
    Ok(())
}

fn folder(title: &str) -> PathBuf {
    let name = format!("witan-faults-{}-{title}", std::process::id());
    let folder = env::temp_dir().join(name.replace(' ', "-"));
    fs::create_dir_all(&folder).expect("a temporary folder");
    folder
}

#[derive(Default)]
struct Clients {
    calls: JoinSet<Vec<witan_e2e::linear::Call>>,
    watches: JoinSet<Vec<witan_e2e::linear::Batch>>,
    leases: JoinSet<usize>,
    probes: JoinSet<()>,
    tree: Vec<thread::JoinHandle<Vec<witan_e2e::linear::Call>>>,
    tree_watches: Vec<thread::JoinHandle<TreeWatch>>,
    end: watch::Sender<Option<i64>>,
}

impl Clients {
    fn start(runtime: &Runtime, load: &Arc<Load>, v2: bool) -> Self {
        let _context = runtime.enter();
        let members = load.addresses.len();
        let mut clients = Self::default();
        for at in 0..members * CLIENTS {
            clients.calls.spawn(load::work(load.clone(), at, at as u64));
        }
        for at in 0..members {
            let ends = clients.end.subscribe();
            clients.watches.spawn(load::observe(load.clone(), at, ends));
            clients.probes.spawn(probes::probe(load.clone(), at));
            let keeping = leases::keep(load.clone(), at, 1 + at as u64);
            clients.leases.spawn(keeping);
            if v2 {
                let (working, watching) = (load.clone(), load.clone());
                let working = move || tree::work(&working, at, 1000 + at as u64);
                let watching = move || tree_watch::observe(&watching, at);
                clients.tree.push(thread::spawn(working));
                clients.tree_watches.push(thread::spawn(watching));
            }
        }
        clients
    }

    /// Stops all clients, ends the watches at a last write, and returns the records.
    fn stop(self, runtime: &Runtime, load: &Arc<Load>) -> Told {
        load.stop();
        runtime.block_on(self.probes.join_all());
        let leases = runtime.block_on(self.leases.join_all());
        let mut calls = runtime.block_on(self.calls.join_all()).concat();
        let tree = self.tree.into_iter();
        let tree = tree.map(|client| client.join().expect("no panic"));
        let mut tree_calls = tree.collect::<Vec<_>>().concat();
        if !self.tree_watches.is_empty() {
            tree_calls.extend(tree::last_put(load));
            let last = tree_calls
                .last()
                .and_then(witan_e2e::linear::Call::revision);
            load.ends_at_tree_index(last.map_or(0, i64::unsigned_abs));
        }
        let tree_watches = self.tree_watches.into_iter();
        let tree_watches = tree_watches.map(|watch| watch.join().expect("no panic"));
        let tree_watches = tree_watches.collect();
        let last = runtime.block_on(load::last_put(load));
        let revision = last.last().and_then(witan_e2e::linear::Call::revision);
        calls.extend(last);
        self.end.send_replace(revision);
        let watches = runtime.block_on(self.watches.join_all());
        let fresh = load::observe(load.clone(), 0, self.end.subscribe());
        Told {
            leases: leases.into_iter().sum(),
            calls,
            tree_calls,
            tree_watches,
            watches,
            fresh: runtime.block_on(fresh),
        }
    }
}

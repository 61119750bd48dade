//! Members under faults of processes, disks and networks while clients of v3 and v2 work at all of them; when all
//! is healed, every promise is checked, and a table says how long no write was acknowledged.
//!
//! One seed in a usual run. `WITAN_FAULTS_MINUTES=30` goes through seeds for so long, beginning with
//! `WITAN_FAULTS_SEED`; `WITAN_FAULTS_MEMBERS=5` has more members; `WITAN_FAULTS_SERVER=etcd36` asks the same of
//! etcd, without v2, and prints what it breaks. `WITAN_FAULTS_BEFORE=PATH` starts the members with an older program
//! and rolls them to today's and back, instead of all faults.
//!
//! Reading order: `schedule` (the faults) → `stage` (the members) → `load` and `probes`, `leases`, `tree` (the
//! clients) → `verdict` (the promises) → `table`.

#![expect(clippy::print_stderr, reason = "a long run says how it goes")]

mod leases;
mod load;
mod probes;
mod schedule;
mod stage;
mod table;
mod tree;
mod verdict;

use std::{
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
use verdict::Told;
use witan_e2e::{Kind, grpc};

/// Clients of v3 at each member.
const CLIENTS: usize = 2;

/// Calls without which a run proves nothing.
const ANSWERED_MIN: usize = 300;

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")),
    )
}

#[test]
fn every_promise_is_kept_through_faults_of_processes_disks_and_networks() {
    let kind = env::var("WITAN_FAULTS_SERVER").map_or(Kind::Witan, |name| {
        Kind::named(&name).unwrap_or_else(|| panic!("WITAN_FAULTS_SERVER: no such server: {name}"))
    });
    let members = number("WITAN_FAULTS_MEMBERS").map_or(3, |count| count as usize);
    let minutes = number("WITAN_FAULTS_MINUTES").unwrap_or(0);
    let end = Instant::now() + Duration::from_secs(60 * minutes);
    let mut seed = number("WITAN_FAULTS_SEED").unwrap_or(1);
    let mut outcomes: Vec<Outcome> = Vec::new();
    loop {
        eprintln!("seed {seed}");
        match run(kind, members, seed) {
            Ok(more) => outcomes.extend(more),
            Err(wrong) => {
                let text = format!("WITAN_FAULTS_SEED={seed}: {wrong}");
                assert!(kind != Kind::Witan, "{text}");
                eprintln!("{} breaks a promise: {text}", kind.name());
            }
        }
        seed += 1;
        if Instant::now() >= end {
            break;
        }
    }
    eprintln!("{}", table::table(kind.name(), &outcomes));
}

/// One cluster, all faults, and what is wrong afterwards.
fn run(kind: Kind, members: usize, seed: u64) -> Result<Vec<Outcome>, String> {
    let before = env::var_os("WITAN_FAULTS_BEFORE").map(PathBuf::from);
    let runtime = grpc::runtime();
    let mut stage = Stage::start(kind, members, before.as_ref());
    let load = Load::new(stage.cluster.addresses());
    let clients = Clients::start(&runtime, &load, kind == Kind::Witan);
    let outcomes = match &before {
        Some(before) => schedule::roll(&mut stage, &load, before),
        None => schedule::run(&mut stage, &load, seed),
    };
    let told = clients.stop(&runtime, &load);
    let folder = folder(seed);
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
        let states = verdict::judge_states(&stage, &load, kind == Kind::Witan);
        states.and(match load.all_wrong() {
            wrong if wrong.is_empty() => Ok(()),
            wrong => Err(wrong.join("\n")),
        })
    });
    judged.map_err(|wrong| format!("{wrong}\n{seen}"))?;
    eprintln!(
        "seed {seed}: {answered} calls of v3, {} of v2, {} probes, {} changes, {} leases: right",
        told.tree_calls.len(),
        load.acknowledged().len(),
        told.fresh.iter().flatten().count(),
        told.leases,
    );
    fs::remove_dir_all(folder).expect("it was just made");
    Ok(outcomes)
}

fn folder(seed: u64) -> PathBuf {
    let folder = env::temp_dir().join(format!("witan-faults-{}-{seed}", std::process::id()));
    fs::create_dir_all(&folder).expect("a temporary folder");
    folder
}

/// All clients of a run.
struct Clients {
    calls: JoinSet<Vec<witan_e2e::linear::Call>>,
    watches: JoinSet<Vec<witan_e2e::linear::Batch>>,
    leases: JoinSet<usize>,
    probes: JoinSet<()>,
    tree: Vec<thread::JoinHandle<Vec<witan_e2e::linear::Call>>>,
    end: watch::Sender<Option<i64>>,
}

impl Clients {
    fn start(runtime: &Runtime, load: &Arc<Load>, v2: bool) -> Self {
        let _context = runtime.enter();
        let members = load.addresses.len();
        let (end, ends) = watch::channel(None);
        let mut clients = Self {
            calls: JoinSet::new(),
            watches: JoinSet::new(),
            leases: JoinSet::new(),
            probes: JoinSet::new(),
            tree: Vec::new(),
            end,
        };
        for at in 0..members * CLIENTS {
            clients.calls.spawn(load::work(load.clone(), at, at as u64));
        }
        for at in 0..members {
            clients
                .watches
                .spawn(load::observe(load.clone(), at, ends.clone()));
            clients.probes.spawn(probes::probe(load.clone(), at));
            let keeping = leases::keep(load.clone(), at, 1 + at as u64);
            clients.leases.spawn(keeping);
            if v2 {
                let load = load.clone();
                let working = move || tree::work(&load, at, 1000 + at as u64);
                clients.tree.push(thread::spawn(working));
            }
        }
        clients
    }

    /// Ends them; what they say.
    fn stop(self, runtime: &Runtime, load: &Arc<Load>) -> Told {
        load.stop();
        runtime.block_on(self.probes.join_all());
        let leases = runtime.block_on(self.leases.join_all());
        let mut calls = runtime.block_on(self.calls.join_all()).concat();
        let tree = self
            .tree
            .into_iter()
            .map(|client| client.join().expect("no panic"));
        let tree_calls = tree.collect::<Vec<_>>().concat();
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
            watches,
            fresh: runtime.block_on(fresh),
        }
    }
}

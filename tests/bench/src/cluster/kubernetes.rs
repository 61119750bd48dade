//! Applies the load of Kubernetes nodes to all members: lease renewals, and pods that are created and deleted. Each step has
//! more nodes, until the server fails. Apiservers watch all objects, and other watchers watch single nodes.

use std::{cell::RefCell, rc::Rc, time::Duration};

use tokio::task::JoinSet;
use witan_e2e::Cluster;

use super::{
    MEMBERS, Options,
    objects::{LEASES, Objects, PODS, Transactions, lease_key, pods_prefix, rate},
};
use crate::{
    load::{self, Measured},
    paced,
    program::{Program, turns},
    subject::Subject,
    table,
    watched::{Received, Watched},
};

/// Maximum p99, which is ten times the 10 ms that etcd requires of its disk. A server also fails if it completes less than
/// [`DONE_MIN`] of the requests.
const P99_MAX_MS: f64 = 100.0;
const DONE_MIN: f64 = 0.95;

/// Number of watch streams per connection. Each stream watches the lease or the pods of one node.
const STREAMS_PER_CONNECTION: usize = 100;
/// Number of clients that create the leases of new nodes in a step.
const FILLERS: usize = 64;

/// A cluster under load.
struct Loaded<'a> {
    program: &'a Program,
    /// The watchers. Dropped before the cluster.
    _watchers: JoinSet<()>,
    cluster: Cluster,
    received: Rc<Received>,
    objects: Rc<RefCell<Objects>>,
    /// The reasons why the cluster failed, with the number of nodes.
    broke: Option<String>,
}

/// The measurements of one step.
#[derive(Default)]
struct Step {
    measured: Measured,
    delays: Vec<u32>,
    failed: u64,
    refused: u64,
    missing: u64,
}

pub(super) async fn measure(options: &Options) {
    let mut clusters = Vec::new();
    for program in &options.programs {
        clusters.push(Loaded::start(program, options).await);
    }
    println!(
        "{} watchers of single nodes\n\n{}",
        options.watchers,
        table::KUBERNETES_HEAD
    );
    for &nodes in &options.nodes {
        let mut steps: Vec<Step> = clusters.iter().map(|_| Step::default()).collect();
        for turn in turns(clusters.len(), options.rounds) {
            let loaded = &clusters[turn];
            if loaded.broke.is_none() {
                steps[turn].add(loaded.step(nodes, options.length).await);
            }
        }
        for (loaded, step) in clusters.iter_mut().zip(&steps) {
            if loaded.broke.is_none() {
                loaded.print(nodes, step);
            }
        }
    }
    println!();
    for loaded in &clusters {
        let how = loaded.broke.as_deref().unwrap_or("holds all of them");
        println!("{} {how}.", loaded.program.name);
    }
    println!();
}

impl<'a> Loaded<'a> {
    /// Starts a cluster with watchers of all leases and pods at each member, and with watchers of single nodes.
    async fn start(program: &'a Program, options: &Options) -> Self {
        let cluster = program.cluster(MEMBERS);
        let received = Received::new();
        let mut watchers = JoinSet::new();
        let addresses = cluster.addresses();
        // Each member serves an apiserver, which watches these ranges.
        for address in &addresses {
            let whole = |prefix| Watched { prev_kv: true, ..Watched::prefix(prefix) };
            received
                .watch(address, &[LEASES, PODS].map(whole), 1, &mut watchers)
                .await;
        }
        let nodes = options.nodes.first().copied().unwrap_or(1) as usize;
        let (of_nodes, counts) = watchers_of_nodes(options.watchers, nodes);
        let chunks = of_nodes.chunks(STREAMS_PER_CONNECTION);
        for (watched, address) in chunks.zip(addresses.iter().cycle()) {
            received.watch(address, watched, 1, &mut watchers).await;
        }
        let objects = Objects::new(received.clock, counts, addresses.len() as u64);
        Self {
            program,
            _watchers: watchers,
            cluster,
            received,
            objects: Rc::new(RefCell::new(objects)),
            broke: None,
        }
    }

    /// Creates the new nodes' leases and measures the load of `nodes` nodes.
    async fn step(&self, nodes: u32, length: Duration) -> Step {
        let call = || Transactions::new(&self.objects);
        let new = self.objects.borrow_mut().grow(nodes as usize);
        let first = &self.cluster.addresses()[0];
        load::fill_by(first, call, new, FILLERS).await;
        self.settle().await;
        self.received.take_delays();
        let subject = Subject::all_of(&self.cluster);
        let measured = paced::run(&subject, call, rate(nodes), length).await;
        let missing = self.settle().await;
        let mut objects = self.objects.borrow_mut();
        Step {
            measured,
            delays: self.received.take_delays(),
            failed: std::mem::take(&mut objects.failed),
            refused: std::mem::take(&mut objects.refused),
            missing,
        }
    }

    /// Waits for the events of all changes. Returns the number of missing events.
    async fn settle(&self) -> u64 {
        let wanted = self.objects.borrow().events;
        let missing = self.received.missing(wanted).await;
        // A change that was answered with an error may have taken effect.
        self.objects.borrow_mut().events = self.received.events();
        missing
    }

    /// Prints the row of a step. Records the faults of the step, if any, after which the cluster gets no more steps.
    fn print(&mut self, nodes: u32, step: &Step) {
        let rate = rate(nodes);
        println!(
            "{}",
            table::kubernetes_line(
                (nodes, rate),
                &self.program.name,
                &step.measured,
                &step.delays
            )
        );
        let faults = step.faults(rate);
        if !faults.is_empty() {
            self.broke = Some(format!("breaks at {nodes} nodes: {}", faults.join(", ")));
        }
    }
}

impl Step {
    fn add(&mut self, other: Self) {
        self.measured.add(other.measured);
        self.delays.extend(other.delays);
        self.delays.sort_unstable();
        self.failed += other.failed;
        self.refused += other.refused;
        self.missing += other.missing;
    }

    /// Returns the reasons why the server fails at this step. Empty if it completes the step.
    fn faults(&self, rate: u32) -> Vec<String> {
        let mut faults = Vec::new();
        let p99 = self.measured.quantile(0.99);
        if p99 > P99_MAX_MS {
            faults.push(format!("a p99 of {p99:.0} ms"));
        }
        let done = self.measured.requests as f64
            / (f64::from(rate) * self.measured.elapsed.as_secs_f64()).max(1e-9);
        if done < DONE_MIN {
            faults.push(format!("{:.0} % of the rate", done * 100.0));
        }
        let counts = [
            (self.failed, "transactions that failed"),
            (self.refused, "errors"),
            (self.missing, "missing events"),
        ];
        let counts = counts.into_iter().filter(|(count, _)| *count > 0);
        faults.extend(counts.map(|(count, what)| format!("{count} {what}")));
        faults
    }
}

/// Returns `watchers` watchers of single nodes, which alternate between a node's lease and its pods. Also returns the number of
/// watchers of each node's lease and of each node's pods.
fn watchers_of_nodes(watchers: usize, nodes: usize) -> (Vec<Watched>, (Vec<u64>, Vec<u64>)) {
    let mut counts = (vec![0; nodes], vec![0; nodes]);
    let watched = (0..watchers).map(|at| {
        let node = at / 2 % nodes;
        if at % 2 == 0 {
            counts.0[node] += 1;
            Watched::key(lease_key(node as u64))
        } else {
            counts.1[node] += 1;
            Watched::prefix(&pods_prefix(node as u64))
        }
    });
    (watched.collect(), counts)
}

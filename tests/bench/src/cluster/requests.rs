//! Repeats one request to the leader, to a follower, or to all members of each program in turn.

use witan_e2e::Cluster;

use super::{MEMBERS, Options};
use crate::{
    load::{self, Measured},
    program::{Program, turns},
    subject::Subject,
    table,
    verb::Verb,
};

/// The members that receive the requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The leader.
    Leader,
    /// One follower.
    Follower,
    /// All members in turn, by connection.
    All,
}

impl Target {
    const EACH: [Self; 3] = [Self::Leader, Self::Follower, Self::All];

    fn name(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Follower => "follower",
            Self::All => "all",
        }
    }

    fn subject(self, cluster: &Cluster) -> Subject<'_> {
        match self {
            Self::Leader => Subject::cluster(cluster, cluster.leader()),
            Self::Follower => Subject::cluster(cluster, cluster.follower()),
            Self::All => Subject::all_of(cluster),
        }
    }
}

/// A load: the request, the number of clients, and the members that receive the requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// The request that every client sends.
    pub verb: Verb,
    /// The number of clients.
    pub clients: usize,
    /// The members that receive the requests.
    pub target: Target,
}

impl Load {
    /// Returns all loads in `docs/benchmarks.md`.
    pub fn all() -> Vec<Self> {
        let puts = [(Verb::Put, 1), (Verb::Put, 64), (Verb::Put, 1000)];
        let gets = [(Verb::Get, 1), (Verb::Get, 64), (Verb::Get, 1000)];
        let at_each = |(verb, clients)| {
            Target::EACH
                .into_iter()
                // A single client has one connection.
                .filter(move |target| clients > 1 || *target != Target::All)
                .map(move |target| Self { verb, clients, target })
        };
        let own = [64, 1000].map(|clients| Self {
            verb: Verb::SerializableGet,
            clients,
            target: Target::Follower,
        });
        let each = puts.into_iter().chain(gets).flat_map(at_each);
        each.chain(own).collect()
    }

    /// Parses a load such as `put:64:leader`. The last part may also be `follower` or `all`. Fails if the text is not a load.
    pub fn named(text: &str) -> Result<Self, String> {
        let wrong = || format!("no such load: {text}");
        let (load, at) = text.rsplit_once(':').ok_or_else(wrong)?;
        let target = Target::EACH.into_iter().find(|target| target.name() == at);
        let target = target.ok_or_else(wrong)?;
        let (verb, clients) = Verb::with_clients(load)?;
        Ok(Self { verb, clients, target })
    }
}

pub(super) async fn measure(options: &Options) {
    let mut clusters: Vec<(&Program, Cluster)> = Vec::new();
    for program in &options.programs {
        let cluster = program.cluster(MEMBERS);
        let leader = cluster.member(cluster.leader()).address();
        load::fill(&leader, Verb::Put, load::KEYS).await;
        clusters.push((program, cluster));
    }
    println!("{}", table::CLUSTER_HEAD);
    for load in &options.loads {
        let mut results = vec![Measured::default(); clusters.len()];
        for turn in turns(clusters.len(), options.rounds) {
            let subject = load.target.subject(&clusters[turn].1);
            let measured = load::run(&subject, load.verb, load.clients, options.length);
            results[turn].add(measured.await);
        }
        let at = load.target.name();
        for (turn, ((program, _), result)) in clusters.iter().zip(&results).enumerate() {
            let base = (turn > 0).then(|| &results[0]);
            let (verb, clients) = (load.verb.label(), load.clients);
            let line = table::cluster_line(verb, clients, (at, &program.name), result, base);
            println!("{line}");
        }
    }
    println!();
}

//! A cluster of processes: started together, killed and restarted one by one.

use serde_json::Value;

use crate::{Launch, Network, Server, wait};

/// Several members of one cluster, in the order of their names `m0`, `m1`, …
#[derive(Debug)]
pub struct Cluster {
    members: Vec<Server>,
}

/// A member's report about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its id.
    pub id: u64,
    /// The leader that it knows, 0 for none.
    pub leader: u64,
    /// Its raft term.
    pub term: u64,
    /// The raft index up to which it has applied entries.
    pub applied: u64,
}

impl Cluster {
    /// Starts so many members and waits until all are ready.
    pub fn start(count: usize) -> Self {
        Self::start_with(count, &[])
    }

    /// The same with more arguments.
    pub fn start_with(count: usize, args: &[&str]) -> Self {
        let mut cluster = Self::prepare(count, args);
        cluster.start_all();
        cluster
    }

    /// Lays out folders and ports and starts nothing.
    pub fn prepare(count: usize, args: &[&str]) -> Self {
        Self::prepare_on("http", count, args)
    }

    /// The same, with peer URLs of this scheme.
    pub fn prepare_on(scheme: &str, count: usize, args: &[&str]) -> Self {
        let mut cluster = Self::prepare_of(&Launch::witan(), scheme, count);
        cluster.add_args(args);
        cluster
    }

    /// Members of any server, each started as `launch` says; starts nothing.
    pub fn prepare_of(launch: &Launch, scheme: &str, count: usize) -> Self {
        Self::prepare_each(&vec![launch.clone(); count], scheme)
    }

    /// The same, each as its own launch says.
    pub fn prepare_each(launches: &[Launch], scheme: &str) -> Self {
        let named = launches.iter().enumerate();
        let members = named.map(|(at, launch)| alone(launch, scheme, &format!("m{at}")));
        let mut cluster = Self { members: members.collect() };
        let places = 0..launches.len();
        let initial: Vec<String> = places.map(|at| cluster.named(scheme, at)).collect();
        cluster.add_args(&["--initial-cluster", &initial.join(",")]);
        cluster
    }

    /// Members that reach one another through a network; starts nothing.
    pub fn prepare_behind(launches: &[Launch]) -> (Self, Network) {
        let launches = launches.iter().cloned();
        let mut members: Vec<Server> = launches.map(|launch| launch.bare().prepare()).collect();
        let ports: Vec<u16> = members.iter().map(Server::peer_port).collect();
        let network = Network::new(&ports);
        let urls = network.urls();
        let named = urls
            .iter()
            .enumerate()
            .map(|(at, url)| format!("m{at}={url}"));
        let initial: Vec<String> = named.collect();
        for (at, member) in members.iter_mut().enumerate() {
            let listens = member.peer_url();
            configure(member, &format!("m{at}"), &listens, &urls[at]);
            member.add_args(["--initial-cluster", &initial.join(",")]);
        }
        (Self { members }, network)
    }

    /// Adds arguments for the next start of every member.
    pub fn add_args(&mut self, args: &[&str]) {
        for member in &mut self.members {
            member.add_args(args.iter().copied());
        }
    }

    /// A member as `--initial-cluster` lists it.
    fn named(&self, scheme: &str, at: usize) -> String {
        format!(
            "m{at}={scheme}://127.0.0.1:{}",
            self.members[at].peer_port()
        )
    }

    /// Lays out a member that joins the cluster of those at `present`, and starts nothing.
    /// Returns its place.
    pub fn prepare_joining(&mut self, present: &[usize]) -> usize {
        self.prepare_joining_of(&Launch::witan(), "http", present)
    }

    /// The same with a member of any server, with peer URLs of this scheme.
    pub fn prepare_joining_of(
        &mut self,
        launch: &Launch,
        scheme: &str,
        present: &[usize],
    ) -> usize {
        let at = self.members.len();
        self.members.push(alone(launch, scheme, &format!("m{at}")));
        let all = present.iter().chain([&at]);
        let initial: Vec<String> = all.map(|at| self.named(scheme, *at)).collect();
        let member = &mut self.members[at];
        member.add_args(["--initial-cluster", &initial.join(",")]);
        member.add_args(["--initial-cluster-state", "existing"]);
        at
    }

    /// Starts all members that do not run, and waits until all are ready.
    pub fn start_all(&mut self) {
        for member in self.members.iter_mut().filter(|m| !m.is_started()) {
            member.start_unready_again();
        }
        self.members.iter_mut().for_each(Server::wait_ready);
    }

    /// The members.
    pub fn members(&self) -> &[Server] {
        &self.members
    }

    /// One of them.
    pub fn member(&self, at: usize) -> &Server {
        &self.members[at]
    }

    /// One of them, to kill and restart it.
    pub fn member_mut(&mut self, at: usize) -> &mut Server {
        &mut self.members[at]
    }

    /// Takes a member out, to start it while the others are borrowed; those behind it move up.
    pub fn take_member(&mut self, at: usize) -> Server {
        self.members.remove(at)
    }

    /// Addresses of the client ports.
    pub fn addresses(&self) -> Vec<String> {
        self.members.iter().map(Server::address).collect()
    }

    /// Which member leads: waits until all that run say the same, and that it runs.
    pub fn leader(&self) -> usize {
        wait::until("all members that run name the same leader", || {
            let running = self.members.iter().enumerate();
            let running = running.filter(|(_, member)| member.is_started());
            let said: Option<Vec<(usize, Status)>> =
                running.map(|(at, m)| Some((at, status(m)?))).collect();
            let said = said?;
            let leader = said.first()?.1.leader;
            let agreed = said.iter().all(|(_, status)| status.leader == leader);
            let found = said.iter().find(|(_, status)| status.id == leader);
            found.filter(|_| agreed).map(|(at, _)| *at)
        })
    }

    /// A member that runs and does not lead.
    ///
    /// # Panics
    /// If there is none.
    pub fn follower(&self) -> usize {
        let leader = self.leader();
        let mut running = (0..self.members.len()).filter(|at| self.members[*at].is_started());
        running
            .find(|at| *at != leader)
            .expect("a member beside the leader runs")
    }

    /// Waits until all members that run have the same state: the hashes of all that v3 keeps agree.
    pub fn wait_equal(&self) {
        wait::until_true("all members have the same hash", || {
            let running = self.members.iter().filter(|member| member.is_started());
            let hashes: Vec<Option<String>> = running.map(hash).collect();
            hashes[0].is_some() && hashes.iter().all(|hash| *hash == hashes[0])
        });
    }
}

/// Lays out a member with ports of its own, which knows of no other; starts nothing.
pub fn alone(launch: &Launch, scheme: &str, name: &str) -> Server {
    let mut member = launch.clone().bare().prepare();
    let peer_url = format!("{scheme}://127.0.0.1:{}", member.peer_port());
    configure(&mut member, name, &peer_url, &peer_url);
    member
}

fn configure(member: &mut Server, name: &str, listens: &str, advertised: &str) {
    let url = member.url();
    member.add_args(["--name", name, "--data-dir", "data"]);
    member.add_args(["--listen-client-urls", &url]);
    member.add_args(["--advertise-client-urls", &url]);
    member.add_args(["--listen-peer-urls", listens]);
    member.add_args(["--initial-advertise-peer-urls", advertised]);
}

/// The report of a member about itself, if it answers.
pub fn status(member: &Server) -> Option<Status> {
    let said = answer(member, "/v3/maintenance/status")?;
    let number = |value: &Value| value.as_str().unwrap_or("0").parse().ok();
    Some(Status {
        id: number(&said["header"]["member_id"])?,
        leader: number(&said["leader"])?,
        term: number(&said["raftTerm"])?,
        applied: number(&said["raftAppliedIndex"])?,
    })
}

/// Revision and hash of the v3 key space of a member, if it answers.
pub fn hash(member: &Server) -> Option<String> {
    let said = answer(member, "/v3/maintenance/hashkv")?;
    let revision = said["header"]["revision"].as_str()?;
    Some(format!("{revision} {}", said["hash"]))
}

fn answer(member: &Server, path: &str) -> Option<Value> {
    let answer = crate::http::try_once(&member.address(), "POST", path, &[], b"{}").ok()?;
    (answer.status == 200).then(|| answer.json())
}

//! A cluster of processes. A test starts all of them and can kill and restart individual members.

use serde_json::Value;

use crate::{Launch, Network, Server, wait};

/// The members of a cluster, named `m0`, `m1`, and so on.
#[derive(Debug)]
pub struct Cluster {
    members: Vec<Server>,
}

/// A member's response to a status request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// The member's id.
    pub id: u64,
    /// The id of the leader that the member knows, or 0 if it knows none.
    pub leader: u64,
    /// The raft term of the member.
    pub term: u64,
    /// The raft index of the last applied entry.
    pub applied: u64,
}

impl Cluster {
    /// Starts `count` members and waits until all are ready.
    pub fn start(count: usize) -> Self {
        Self::start_with(count, &[])
    }

    /// Like [`Self::start`], with additional arguments.
    pub fn start_with(count: usize, args: &[&str]) -> Self {
        let mut cluster = Self::prepare(count, args);
        cluster.start_all();
        cluster
    }

    /// Prepares directories and ports without starting the members.
    pub fn prepare(count: usize, args: &[&str]) -> Self {
        Self::prepare_on("http", count, args)
    }

    /// Like [`Self::prepare`], with peer URLs of this scheme (`http` or `https`).
    pub fn prepare_on(scheme: &str, count: usize, args: &[&str]) -> Self {
        let mut cluster = Self::prepare_of(&Launch::witan(), scheme, count);
        cluster.add_args(args);
        cluster
    }

    /// Prepares members of any server, each with the options of `launch`, without starting them.
    pub fn prepare_of(launch: &Launch, scheme: &str, count: usize) -> Self {
        Self::prepare_each(&vec![launch.clone(); count], scheme)
    }

    /// Like [`Self::prepare_of`], with separate options for each member.
    pub fn prepare_each(launches: &[Launch], scheme: &str) -> Self {
        let named = launches.iter().enumerate();
        let members = named.map(|(at, launch)| alone(launch, scheme, &format!("m{at}")));
        let mut cluster = Self { members: members.collect() };
        let places = 0..launches.len();
        let initial: Vec<String> = places.map(|at| cluster.named(scheme, at)).collect();
        cluster.add_args(&["--initial-cluster", &initial.join(",")]);
        cluster
    }

    /// Prepares members behind a simulated network, without starting them. The network refuses connections until the test opens
    /// it.
    pub fn prepare_behind(launches: &[Launch]) -> (Self, Network) {
        let launches = launches.iter().cloned();
        let mut members: Vec<Server> = launches.map(|launch| launch.bare().prepare()).collect();
        let ports: Vec<u16> = members.iter().map(Server::peer_port).collect();
        let network = Network::new(&ports);
        let urls = network.urls();
        let named = urls.iter().enumerate();
        let named = named.map(|(at, url)| format!("m{at}={url}"));
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

    /// Returns the member at a position as `NAME=URL`.
    fn named(&self, scheme: &str, at: usize) -> String {
        format!(
            "m{at}={scheme}://127.0.0.1:{}",
            self.members[at].peer_port()
        )
    }

    /// Prepares a member that joins the cluster of the members `present`, without starting it. Returns its position.
    pub fn prepare_joining(&mut self, present: &[usize]) -> usize {
        self.prepare_joining_of(&Launch::witan(), "http", present)
    }

    /// Like [`Self::prepare_joining`], for a member of any server with peer URLs of this scheme.
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

    /// Starts all stopped members and waits until all are ready.
    pub fn start_all(&mut self) {
        for member in self.members.iter_mut().filter(|m| !m.is_started()) {
            member.start_unready_again();
        }
        self.members.iter_mut().for_each(Server::wait_ready);
    }

    /// Returns all members.
    pub fn members(&self) -> &[Server] {
        &self.members
    }

    /// Returns the member at a position.
    pub fn member(&self, at: usize) -> &Server {
        &self.members[at]
    }

    /// Returns a member mutably, to kill and restart it.
    pub fn member_mut(&mut self, at: usize) -> &mut Server {
        &mut self.members[at]
    }

    /// Removes and returns a member. The test can then start the member while it borrows the others. The positions of later
    /// members decrease by one.
    pub fn take_member(&mut self, at: usize) -> Server {
        self.members.remove(at)
    }

    /// Returns the addresses of the client ports.
    pub fn addresses(&self) -> Vec<String> {
        self.members.iter().map(Server::address).collect()
    }

    /// Waits until all running members report the same leader and this leader is running. Returns its position.
    pub fn leader(&self) -> usize {
        wait::until("all running members report the same leader", || {
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

    /// Returns the position of a running follower. Panics if there is none.
    pub fn follower(&self) -> usize {
        let leader = self.leader();
        let mut running = (0..self.members.len()).filter(|at| self.members[*at].is_started());
        running
            .find(|at| *at != leader)
            .expect("a member other than the leader runs")
    }

    /// Transfers leadership to the member at a position. Panics if the transfer fails.
    pub fn transfer_leadership(&self, to: usize) {
        let target = format!(r#"{{"targetID":"{}"}}"#, self.members[to].status().id);
        self.members[self.leader()].v3("maintenance/transfer-leadership", &target);
    }

    /// Waits until the hashes of v3 data are equal on all running members.
    pub fn wait_equal(&self) {
        wait::until_true("all members have the same hash", || {
            let running = self.members.iter().filter(|member| member.is_started());
            let hashes: Vec<Option<String>> = running.map(hash).collect();
            hashes[0].is_some() && hashes.iter().all(|hash| *hash == hashes[0])
        });
    }
}

/// Prepares the only member of a cluster without starting it. It has its own ports and peer URLs of this scheme.
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

/// Returns a member's status, or `None` if the member does not answer.
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

/// Returns the revision and the hash of a member's v3 keys, or `None` if the member does not answer.
pub fn hash(member: &Server) -> Option<String> {
    let said = answer(member, "/v3/maintenance/hashkv")?;
    let revision = said["header"]["revision"].as_str()?;
    Some(format!("{revision} {}", said["hash"]))
}

fn answer(member: &Server, path: &str) -> Option<Value> {
    let answer = crate::http::try_once(&member.address(), "POST", path, &[], b"{}").ok()?;
    (answer.status == 200).then(|| answer.json())
}

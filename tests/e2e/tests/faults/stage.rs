//! Members behind a network that can fail, one of them on a small disk.

use std::{fs, path::Path, time::Duration};

use serde_json::{Value, json};
use witan_e2e::{Cluster, Disk, Kind, Launch, Network, Server, cluster::status, http, wait};

const DISK_MIB: usize = 256;

/// Maximum time until members serve again. Their timeouts take seconds, and other programs may use the processors.
pub(crate) const RECOVERY_MAX: Duration = Duration::from_secs(120);

pub(crate) const ON_SMALL_DISK: usize = 0;

#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) kind: Kind,
    pub(crate) cluster: Cluster,
    pub(crate) network: Network,
    /// Whether each member was started as a new member of an existing cluster.
    joined: Vec<bool>,
    /// The small disk, which is unmounted after the members have exited.
    pub(crate) disk: Option<Disk>,
}

impl Stage {
    /// Starts members, the first one on a small disk if this process may mount one.
    pub(crate) fn start(kind: Kind, count: usize) -> Self {
        let disk = Disk::mount("faults", DISK_MIB);
        let launch = |at: usize| {
            let launch = match kind {
                Kind::Witan => Launch::new(kind),
                Kind::Etcd34 | Kind::Etcd36 | Kind::Etcd37 => {
                    Launch::new(kind).arg("--log-level=warn")
                }
            };
            match &disk {
                Some(disk) if at == ON_SMALL_DISK => launch.dir(disk.path().join("member")),
                Some(_) | None => launch,
            }
        };
        let launches: Vec<Launch> = (0..count).map(launch).collect();
        Self::start_all(kind, &launches, disk)
    }

    pub(crate) fn start_program(count: usize, program: &Path) -> Self {
        let launch = Launch::witan().program(program.to_path_buf());
        Self::start_all(Kind::Witan, &vec![launch; count], None)
    }

    fn start_all(kind: Kind, launches: &[Launch], disk: Option<Disk>) -> Self {
        let (cluster, network) = Cluster::prepare_behind(launches);
        let joined = vec![false; launches.len()];
        let mut stage = Self { kind, cluster, network, joined, disk };
        (0..launches.len()).for_each(|at| stage.start_member(at));
        stage.wait_whole();
        stage
    }

    pub(crate) fn count(&self) -> usize {
        self.cluster.members().len()
    }

    pub(crate) fn term(&self) -> u64 {
        wait::within(RECOVERY_MAX, "a member names its term", || {
            let members = self.cluster.members().iter();
            members
                .filter_map(|member| Some(status(member)?.term))
                .max()
        })
    }

    /// Kills a member. Its port then refuses connections.
    pub(crate) fn kill(&mut self, at: usize) {
        self.network.close(at);
        self.cluster.member_mut(at).kill9();
    }

    pub(crate) fn start_member(&mut self, at: usize) {
        self.network.open(at);
        let member = self.cluster.member_mut(at);
        member.start_unready_again();
        self.network.runs_as(at, member.pid());
    }

    pub(crate) fn restart(&mut self, at: usize) {
        self.cluster.member_mut(at).terminate();
        self.network.close(at);
        self.start_member(at);
        self.wait_serving(at);
    }

    /// Waits until `/health` of a member succeeds. Panics if the member exits.
    fn wait_serving(&mut self, at: usize) {
        let member = self.cluster.member_mut(at);
        let ready = wait::within(RECOVERY_MAX, &format!("member {at} serves"), || {
            if !member.runs() {
                return Some(false);
            }
            member.is_healthy().then_some(true)
        });
        assert!(ready, "member {at} has ended:\n{}", member.tail());
    }

    /// Removes a member, wipes its disk, and adds it as a learner, which is then promoted.
    pub(crate) fn replace(&mut self, at: usize, through: usize) {
        let through = self.cluster.member(through).address();
        change(&through, "remove", &self.id(at));
        self.cluster.member_mut(at).wait_exit();
        self.network.close(at);
        self.add_again(at, &through);
    }

    /// Kills a member and wipes its disk. Then removes the member and adds it again, as [`Self::replace`] does.
    pub(crate) fn lose_disk(&mut self, at: usize, through: usize) {
        let through = self.cluster.member(through).address();
        let id = self.id(at);
        self.kill(at);
        change(&through, "remove", &id);
        self.add_again(at, &through);
    }

    fn id(&self, at: usize) -> String {
        self.cluster.member(at).status().id.to_string()
    }

    /// Wipes the disk of a removed member and adds the member as a learner, which is then promoted.
    fn add_again(&mut self, at: usize, through: &str) {
        let data = self.cluster.member(at).dir().join("data");
        fs::remove_dir_all(data).expect("the data is removed");
        let url = self.network.urls().swap_remove(at);
        let learner = add(through, &url);
        if !self.joined[at] {
            let member = self.cluster.member_mut(at);
            member.add_args(["--initial-cluster-state", "existing"]);
            self.joined[at] = true;
        }
        self.start_member(at);
        self.wait_serving(at);
        change(through, "promote", &learner);
    }

    /// Transfers leadership to a member and waits until all members report it as their leader.
    pub(crate) fn lead(&self, at: usize) {
        let target = json!({ "targetID": self.id(at) }).to_string();
        wait::within(RECOVERY_MAX, &format!("member {at} leads"), || {
            let leader = self.cluster.leader();
            if leader == at {
                return Some(());
            }
            let address = self.cluster.member(leader).address();
            let path = "/v3/maintenance/transfer-leadership";
            // A refused transfer is repeated.
            let _ = http::try_once(&address, "POST", path, &[], target.as_bytes());
            None
        });
    }

    /// Waits until all members run and report the same leader. Restarts members of etcd, which end when their disk is full.
    /// Panics if a member of Witan has ended.
    pub(crate) fn wait_whole(&mut self) {
        for at in 0..self.count() {
            if !self.cluster.member_mut(at).runs() {
                let tail = self.cluster.member(at).tail();
                assert!(self.kind != Kind::Witan, "member {at} has ended:\n{tail}");
                if self.cluster.member(at).is_started() {
                    self.cluster.member_mut(at).wait_exit();
                }
                self.network.close(at);
                self.start_member(at);
            }
            self.wait_serving(at);
        }
        self.cluster.leader();
    }

    pub(crate) fn write_logs(&self, folder: &Path) {
        for (at, member) in self.cluster.members().iter().map(Server::log).enumerate() {
            let path = folder.join(format!("member-{at}.log"));
            fs::write(path, member.join("\n")).expect("the temporary folder is writable");
        }
    }
}

fn ask(through: &str, verb: &str, body: &Value) -> Option<http::Response> {
    let path = format!("/v3/cluster/member/{verb}");
    http::try_once(through, "POST", &path, &[], body.to_string().as_bytes()).ok()
}

/// Removes or promotes a member. Retries while the members are not ready for it.
fn change(through: &str, verb: &str, id: &str) {
    let mut said = String::new();
    wait::within(
        RECOVERY_MAX,
        &format!("the cluster can {verb} a member"),
        || {
            let answer = ask(through, verb, &json!({ "ID": id }))?;
            if answer.status != 200 && answer.text() != said {
                said = answer.text();
                eprintln!("{verb}: {said}");
            }
            // A missing member was removed by a request whose response was lost.
            (answer.status == 200 || answer.status == 404 && verb == "remove").then_some(())
        },
    );
}

/// Adds a learner with this URL and returns its id. After a lost response, the next attempt finds the learner.
fn add(through: &str, url: &str) -> String {
    let mut said = String::new();
    wait::within(RECOVERY_MAX, "the cluster can add a member", || {
        let listed = ask(through, "list", &json!({}))?.json();
        let members = listed["members"].as_array().cloned().unwrap_or_default();
        let there = members.iter().find(|member| member["peerURLs"][0] == url);
        if let Some(id) = there.and_then(|member| member["ID"].as_str()) {
            return Some(id.to_owned());
        }
        let member = json!({ "peerURLs": [url], "isLearner": true });
        let answer = ask(through, "add", &member)?;
        if answer.status != 200 && answer.text() != said {
            said = answer.text();
            eprintln!("add: {said}");
        }
        None
    })
}

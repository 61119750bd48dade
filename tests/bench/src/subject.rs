//! The subject of a load: one server, or the members of a cluster. Clients ask one member or all of
//! them; the counts are the sums over all members.

use std::time::Duration;

use witan_e2e::{Cluster, Server, http, process};

/// The metric, in etcd and Witan, of the bytes that a member has sent to the others.
const SENT: &str = "etcd_network_peer_sent_bytes_total{";

/// See the module's description.
#[derive(Debug)]
pub struct Subject<'a> {
    addresses: Vec<String>,
    members: Vec<&'a Server>,
}

impl<'a> Subject<'a> {
    /// One server.
    pub fn one(server: &'a Server) -> Self {
        Self { addresses: vec![server.address()], members: vec![server] }
    }

    /// One server, which is asked at another of its addresses.
    pub fn one_at(server: &'a Server, address: String) -> Self {
        Self { addresses: vec![address], members: vec![server] }
    }

    /// All members of a cluster that run, of which the one at `at` is asked.
    pub fn cluster(cluster: &'a Cluster, at: usize) -> Self {
        let running = cluster.members().iter().filter(|m| m.is_started());
        Self {
            addresses: vec![cluster.member(at).address()],
            members: running.collect(),
        }
    }

    /// All members of a cluster that run, which are all asked.
    pub fn all_of(cluster: &'a Cluster) -> Self {
        let running = cluster.members().iter().filter(|m| m.is_started());
        let members: Vec<&Server> = running.collect();
        let addresses = members.iter().map(|member| member.address());
        Self { addresses: addresses.collect(), members }
    }

    /// Where clients ask: each connection goes to the next member, from the first one again after the last.
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// Where a single client asks.
    pub fn address(&self) -> &str {
        &self.addresses[0]
    }

    /// CPU time of all.
    pub fn cpu(&self) -> Duration {
        let members = self.members.iter();
        members.map(|member| process::cpu(member.pid())).sum()
    }

    /// Bytes that all caused to be written to disk.
    pub fn written_bytes(&self) -> u64 {
        let members = self.members.iter();
        let written = members.map(|member| process::written_bytes(member.pid()));
        written.sum()
    }

    /// Resident memory of all.
    pub fn resident_bytes(&self) -> u64 {
        let members = self.members.iter();
        let resident = members.map(|member| process::resident_bytes(member.pid()));
        resident.sum()
    }

    /// Bytes of the data folders of all.
    pub fn disk_bytes(&self) -> u64 {
        let members = self.members.iter();
        let folders = members.map(|member| process::folder_bytes(member.dir()));
        folders.sum()
    }

    /// Bytes that all have sent to one another, as they count them; nothing of a single server.
    pub fn sent_bytes(&self) -> u64 {
        if self.members.len() < 2 {
            return 0;
        }
        let members = self.members.iter();
        members.map(|member| sent_bytes(member)).sum()
    }
}

fn sent_bytes(member: &Server) -> u64 {
    // a member that is just starting has sent nothing
    let page = http::try_once(&member.address(), "GET", "/metrics", &[], b"");
    let page = page.map_or_else(|_| String::new(), |page| page.text());
    let lines = page.lines().filter(|line| line.starts_with(SENT));
    let counts = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a count of bytes"
    )]
    counts.map(|count| count as u64).sum()
}

//! The subject of a load: one server, or the members of a cluster. Counts are sums over all members.

use std::time::Duration;

use witan_e2e::{Cluster, Server, http, process};

/// The metric of the bytes that a member has sent to other members, in etcd and in Witan.
const SENT: &str = "etcd_network_peer_sent_bytes_total{";

/// The servers of a measurement and the addresses for its clients.
#[derive(Debug)]
pub struct Subject<'a> {
    addresses: Vec<String>,
    members: Vec<&'a Server>,
}

impl<'a> Subject<'a> {
    /// Measures one server.
    pub fn one(server: &'a Server) -> Self {
        Self { addresses: vec![server.address()], members: vec![server] }
    }

    /// Measures one server, with requests to another of its addresses.
    pub fn one_at(server: &'a Server, address: String) -> Self {
        Self { addresses: vec![address], members: vec![server] }
    }

    /// Measures all running members of a cluster, with requests to the member at `at`.
    pub fn cluster(cluster: &'a Cluster, at: usize) -> Self {
        let running = cluster.members().iter().filter(|m| m.is_started());
        Self {
            addresses: vec![cluster.member(at).address()],
            members: running.collect(),
        }
    }

    /// Measures all running members of a cluster, with requests to all of them.
    pub fn all_of(cluster: &'a Cluster) -> Self {
        let running = cluster.members().iter().filter(|m| m.is_started());
        let members: Vec<&Server> = running.collect();
        let addresses = members.iter().map(|member| member.address());
        Self { addresses: addresses.collect(), members }
    }

    /// Returns the addresses, which connections use in turn.
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// Returns the address for a single client.
    pub fn address(&self) -> &str {
        &self.addresses[0]
    }

    /// Returns the CPU time of all servers.
    pub fn cpu(&self) -> Duration {
        let members = self.members.iter();
        members.map(|member| process::cpu(member.pid())).sum()
    }

    /// Returns the number of bytes that all servers have written to disk.
    pub fn written_bytes(&self) -> u64 {
        let members = self.members.iter();
        let written = members.map(|member| process::written_bytes(member.pid()));
        written.sum()
    }

    /// Returns the resident memory of all servers in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let members = self.members.iter();
        let resident = members.map(|member| process::resident_bytes(member.pid()));
        resident.sum()
    }

    /// Returns the size of the data directories of all servers in bytes.
    pub fn disk_bytes(&self) -> u64 {
        let members = self.members.iter();
        let folders = members.map(|member| process::folder_bytes(member.dir()));
        folders.sum()
    }

    /// Returns the number of bytes that members have sent to each other, by their own metrics, or 0 for a single server.
    pub fn sent_bytes(&self) -> u64 {
        if self.members.len() < 2 {
            return 0;
        }
        let members = self.members.iter();
        members.map(|member| sent_bytes(member)).sum()
    }
}

fn sent_bytes(member: &Server) -> u64 {
    // A member that does not answer yet has sent nothing.
    let page = http::try_once(&member.address(), "GET", "/metrics", &[], b"");
    let page = page.map_or_else(|_| String::new(), |page| page.text());
    let lines = page.lines().filter(|line| line.starts_with(SENT));
    let counts = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    counts.map(|count| count as u64).sum()
}

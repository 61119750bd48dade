//! The programs that one run compares: servers by kind, and several builds of Witan, so that both builds are measured in the
//! same minutes on the same machine.

use std::path::PathBuf;

use witan_e2e::{Cluster, Kind, Launch};

/// Quota of every server in bytes. A run of all loads writes more than the default of 2 GiB, and a full server would refuse the
/// rest.
const QUOTA_BYTES: &str = "8589934592";

/// A measured program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The program's name in the tables.
    pub name: String,
    /// The kind of server.
    pub kind: Kind,
    /// Path of the executable, or `None` for the kind's default.
    path: Option<PathBuf>,
    /// Scheme of a cluster's peer URLs. With `https`, members use self-signed certificates.
    pub peer_scheme: &'static str,
    /// Maximum memory of a server in bytes, or `None` for no limit.
    pub limit_bytes: Option<u64>,
}

impl Program {
    /// Creates the program with the kind's default executable.
    pub fn usual(kind: Kind) -> Self {
        Self {
            name: kind.name().to_owned(),
            kind,
            path: None,
            peer_scheme: "http",
            limit_bytes: None,
        }
    }

    /// Returns the options to start a server of this program.
    pub fn launch(&self) -> Launch {
        let launch = Launch::new(self.kind)
            .arg("--quota-backend-bytes")
            .arg(QUOTA_BYTES);
        let launch = match &self.path {
            Some(path) => launch.program(path.clone()),
            None => launch,
        };
        let launch = match self.limit_bytes {
            Some(bytes) => launch.memory_limit(bytes),
            None => launch,
        };
        match self.kind {
            Kind::Witan | Kind::Etcd34 => launch,
            Kind::Etcd36 | Kind::Etcd37 => launch.arg("--log-level=warn"),
        }
    }

    /// Prepares a cluster of `members` members without starting them.
    pub fn cluster(&self, members: usize) -> Cluster {
        Cluster::prepare_of(&self.member_launch(), self.peer_scheme, members)
    }

    /// Returns the options to start a member of a cluster.
    pub fn member_launch(&self) -> Launch {
        match self.peer_scheme {
            "https" => self.launch().arg("--peer-auto-tls"),
            _ => self.launch(),
        }
    }
}

/// Parses the servers in `--servers`. The builds in `--witan` replace the default Witan. Fails for an unknown name or a missing
/// path.
pub fn programs(servers: &str, builds: Option<&str>) -> Result<Vec<Program>, String> {
    let builds = builds.map(witans).transpose()?;
    let mut programs = Vec::new();
    for name in servers.split(',') {
        let kind = Kind::named(name).ok_or_else(|| format!("no such server: {name}"))?;
        match (kind, &builds) {
            (Kind::Witan, Some(builds)) => programs.extend(builds.iter().cloned()),
            (Kind::Witan | Kind::Etcd34 | Kind::Etcd36 | Kind::Etcd37, _) => {
                programs.push(Program::usual(kind))
            }
        }
    }
    Ok(programs)
}

/// Parses a comma-separated list of `PATH` or `NAME=PATH`.
fn witans(text: &str) -> Result<Vec<Program>, String> {
    let build = |(number, text): (usize, &str)| {
        let (name, path) = match text.split_once('=') {
            Some((name, path)) => (name.to_owned(), path),
            None => (format!("witan-{}", number + 1), text),
        };
        let path = PathBuf::from(path);
        if !path.is_file() {
            return Err(format!("--witan: no program at {}", path.display()));
        }
        Ok(Program { name, path: Some(path), ..Program::usual(Kind::Witan) })
    };
    text.split(',').enumerate().map(build).collect()
}

/// Returns the order of the programs in `rounds` rounds. Every other round is reversed, so that no program always follows the
/// same one.
pub fn turns(programs: usize, rounds: usize) -> impl Iterator<Item = usize> {
    (0..rounds).flat_map(move |round| {
        (0..programs).map(move |at| {
            if round % 2 == 0 {
                at
            } else {
                programs - 1 - at
            }
        })
    })
}

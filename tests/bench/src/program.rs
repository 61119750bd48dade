//! The programs that one run compares: servers by kind, and several builds of Witan. One run measures all of them in the same
//! minutes on the same machine.

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

    /// Starts a cluster of `members` members.
    pub fn cluster(&self, members: usize) -> Cluster {
        let mut cluster = Cluster::prepare_of(&self.member_launch(), self.peer_scheme, members);
        cluster.start_all();
        cluster
    }

    /// Returns the options to start a member of a cluster.
    pub fn member_launch(&self) -> Launch {
        match self.peer_scheme {
            "https" => self.launch().arg("--peer-auto-tls"),
            _ => self.launch(),
        }
    }
}

/// The arguments that select the compared programs.
#[derive(Clone, Debug, clap::Args)]
pub struct Selection {
    /// The servers to compare: witan, etcd34, etcd36 or etcd37.
    #[arg(long, value_delimiter = ',', value_parser = kind, default_values = ["witan", "etcd36", "etcd34"])]
    servers: Vec<Kind>,
    /// Builds of Witan in place of the default one, each as NAME=PATH.
    #[arg(long, value_delimiter = ',', value_parser = build)]
    witan: Vec<Program>,
}

impl Selection {
    /// Returns the selected programs.
    pub fn programs(&self) -> Vec<Program> {
        let of_kind = |kind: &Kind| match kind {
            Kind::Witan if !self.witan.is_empty() => self.witan.clone(),
            Kind::Witan | Kind::Etcd34 | Kind::Etcd36 | Kind::Etcd37 => vec![Program::usual(*kind)],
        };
        self.servers.iter().flat_map(of_kind).collect()
    }
}

fn kind(name: &str) -> Result<Kind, String> {
    Kind::named(name).ok_or_else(|| format!("no such server: {name}"))
}

/// Parses `NAME=PATH`. Fails for another form, or if there is no file at the path.
fn build(text: &str) -> Result<Program, String> {
    let (name, path) = text
        .split_once('=')
        .ok_or_else(|| format!("not NAME=PATH: {text}"))?;
    let path = PathBuf::from(path);
    if !path.is_file() {
        return Err(format!("no program at {}", path.display()));
    }
    Ok(Program {
        name: name.to_owned(),
        path: Some(path),
        ..Program::usual(Kind::Witan)
    })
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

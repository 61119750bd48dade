//! A server with a TLS URL and a plain URL, and its clients.

use std::process::Command;

use witan_e2e::{Kind, Launch, Server, Tool, ports, tool::CommandOutput, wait};

use super::{
    authority::{Authority, Pair},
    client::Client,
};

/// A prepared server, which may be running.
pub(crate) struct Stage {
    pub(crate) server: Server,
    pub(crate) authority: Authority,
    pub(crate) ca: String,
    pub(crate) pair: Pair,
    pub(crate) port: u16,
}

pub(crate) const HOSTS: [&str; 2] = ["localhost", "127.0.0.1"];

impl Stage {
    /// Prepares a server with a plain URL and a TLS URL, and the CA of its certificate.
    pub(crate) fn prepare(kind: Kind) -> Self {
        let mut server = Launch::new(kind).prepare();
        let dir = server.dir();
        let authority = Authority::new("authority of the test");
        let ca = authority.write(&dir.join("ca.crt"));
        let pair = authority.issue(dir, "server", &HOSTS);
        let port = ports::free();
        let urls = format!("{},https://127.0.0.1:{port}", server.url());
        let [cert, key] = pair.paths();
        server.add_args(["--listen-client-urls", &urls]);
        server.add_args(["--cert-file", &cert, "--key-file", &key]);
        Self { server, authority, ca, pair, port }
    }

    pub(crate) fn start(kind: Kind, args: &[&str]) -> Self {
        let mut stage = Self::prepare(kind);
        stage.add(args);
        stage.server.start_again();
        stage
    }

    pub(crate) fn add(&mut self, args: &[&str]) {
        self.server.add_args(args.iter().copied());
    }

    pub(crate) fn mutual(kind: Kind, args: &[&str]) -> Self {
        let mut stage = Self::prepare(kind);
        let ca = stage.ca.clone();
        stage.add(&["--trusted-ca-file", &ca, "--client-cert-auth"]);
        stage.add(args);
        stage.server.start_again();
        stage
    }

    pub(crate) fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&self.ca)
    }

    pub(crate) fn issue(&self, name: &str) -> Pair {
        self.authority.issue(self.server.dir(), name, &[])
    }

    pub(crate) fn etcdctl(&self, pair: Option<&Pair>, args: &[&str]) -> CommandOutput {
        self.run(Tool::Etcdctl36, pair, args)
    }

    pub(crate) fn run(&self, tool: Tool, pair: Option<&Pair>, args: &[&str]) -> CommandOutput {
        let mut all = vec!["--command-timeout=2s".to_owned()];
        all.push(format!("--cacert={}", self.ca));
        if let Some([cert, key]) = pair.map(Pair::paths) {
            all.extend([format!("--cert={cert}"), format!("--key={key}")]);
        }
        all.extend(args.iter().map(|arg| (*arg).to_owned()));
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        tool.run(&self.url(), &all)
    }

    pub(crate) fn curl(&self, args: &[&str], target: &str) -> (Option<i32>, String) {
        let url = format!("{}{target}", self.url());
        let mut command = Command::new("curl");
        command.args(["-sS", "--cacert", &self.ca]).args(args);
        let said = CommandOutput::of(command.arg(url));
        (said.code, said.stdout)
    }

    /// Waits until at least `least` handshakes have failed for this reason, because a failure is counted after the connection
    /// is closed. Returns the number.
    pub(crate) fn failures(&self, reason: &str, least: u64) -> u64 {
        let series = format!("witan_tls_handshake_failures_total{{reason=\"{reason}\"}}");
        let count = || self.server.metric(&series).map_or(0, |count| count as u64);
        wait::until(&series, || Some(count()).filter(|count| *count >= least))
    }
}

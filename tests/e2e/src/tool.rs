//! Runs real command line clients against a server.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::mpsc::{Receiver, sync_channel},
    thread,
};

use crate::{Kind, Launch, Server, binaries::cached, server::SAME_URLS, wait::PATIENCE};

/// Maximum number of unread lines of a running tool. When it is exceeded, the tool waits.
const LINES_MAX: usize = 1024;

/// A command line client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// etcdctl 3.4 with `ETCDCTL_API=2`.
    Etcdctl34V2,
    /// etcdctl 3.4 with `ETCDCTL_API=3`.
    Etcdctl34V3,
    /// etcdctl 3.6.
    Etcdctl36,
    /// etcdctl 3.7.
    Etcdctl37,
    /// etcdutl 3.6.
    Etcdutl36,
    /// etcdutl 3.7.
    Etcdutl37,
}

/// The output of a finished command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandOutput {
    /// The exit code, or `None` after a signal.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl CommandOutput {
    /// Runs a command to its end. Panics if the command cannot start.
    pub fn of(command: &mut Command) -> Self {
        Self::from_output(&command.output().expect("the program is executable"))
    }

    /// Returns standard output. Panics if the command failed.
    #[track_caller]
    pub fn succeeded(self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.all());
        self.stdout
    }

    fn from_output(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            code: output.status.code(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    /// Returns both streams and the exit code as one string.
    pub fn all(&self) -> String {
        format!(
            "exit {:?}\n--- stdout\n{}--- stderr\n{}",
            self.code, self.stdout, self.stderr
        )
    }
}

/// Runs the program under test to its end.
pub fn witan(args: &[&str]) -> CommandOutput {
    CommandOutput::of(Command::new(Kind::Witan.binary()).args(args))
}

/// Restores a snapshot to the directory `data` of the member `name`. `command` is a program that has the command `snapshot
/// restore`, `initial` is the value of `--initial-cluster`, and `more` contains additional arguments. Panics if `initial` does
/// not contain the member.
pub fn restore(
    mut command: Command,
    snapshot: &str,
    data: &Path,
    [name, initial]: [&str; 2],
    more: &[&str],
) -> CommandOutput {
    let mut members = initial.split(',');
    let url = members.find_map(|member| member.strip_prefix(name)?.strip_prefix('='));
    let url = url.expect("the cluster contains the member");
    command.args(["snapshot", "restore", snapshot, "--data-dir"]);
    command.arg(data).args(["--name", name]);
    command.args(["--initial-cluster", initial]);
    command.args(["--initial-advertise-peer-urls", url]);
    CommandOutput::of(command.args(more))
}

/// Starts the only member of a cluster from a snapshot. `command` restores the snapshot, as in [`restore`].
pub fn restored(launch: Launch, command: Command, snapshot: &str, more: &[&str]) -> Server {
    let mut server = launch.same_ids().prepare();
    let (data, initial) = (
        server.dir().join("data"),
        format!("default={}", SAME_URLS[1]),
    );
    restore(command, snapshot, &data, ["default", &initial], more).succeeded();
    server.start_again();
    server
}

impl Tool {
    fn binary(self) -> PathBuf {
        match self {
            Self::Etcdctl34V2 | Self::Etcdctl34V3 => {
                cached("etcdctl34", "tests/tools/debian-etcd.sh")
            }
            Self::Etcdctl36 => cached("etcdctl36", "tests/tools/etcd.sh 36"),
            Self::Etcdctl37 => cached("etcdctl37", "tests/tools/etcd.sh 37"),
            Self::Etcdutl36 => cached("etcdutl36", "tests/tools/etcd.sh 36"),
            Self::Etcdutl37 => cached("etcdutl37", "tests/tools/etcd.sh 37"),
        }
    }

    /// Returns the command with `--endpoints URL` and a clean environment, without a subcommand.
    pub fn command(self, url: &str) -> Command {
        let mut command = Command::new(self.binary());
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default());
        match self {
            Self::Etcdctl34V2 => {
                command.env("ETCDCTL_API", "2").arg("--endpoints").arg(url);
            }
            Self::Etcdctl34V3 => {
                command.env("ETCDCTL_API", "3").arg("--endpoints").arg(url);
            }
            Self::Etcdctl36 | Self::Etcdctl37 => {
                command.arg("--endpoints").arg(url);
            }
            Self::Etcdutl36 | Self::Etcdutl37 => {}
        }
        command
    }

    /// Runs the tool to its end without standard input.
    pub fn run(self, url: &str, args: &[&str]) -> CommandOutput {
        self.run_with_input(url, args, "")
    }

    /// Runs the tool to its end with `input` on standard input.
    pub fn run_with_input(self, url: &str, args: &[&str], input: &str) -> CommandOutput {
        let mut child = self.spawn(url, args);
        let mut stdin = child.stdin.take().expect("stdin is piped");
        // A tool may close its input without reading it.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        let output = child.wait_with_output().expect("a child can be waited for");
        CommandOutput::from_output(&output)
    }

    /// Starts a tool that runs until it is dropped, such as a watch.
    pub fn follow(self, url: &str, args: &[&str]) -> Following {
        let mut child = self.spawn(url, args);
        let stdout = child.stdout.take().expect("stdout is piped");
        let (send, lines) = sync_channel(LINES_MAX);
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        Following { child, lines }
    }

    /// Starts the tool with its three standard streams piped.
    fn spawn(self, url: &str, args: &[&str]) -> Child {
        self.command(url)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the tool is executable")
    }
}

/// A running tool. Dropping it kills it.
#[derive(Debug)]
pub struct Following {
    child: Child,
    lines: Receiver<String>,
}

impl Following {
    /// Returns the next line of standard output, or `None` after the tool has ended. Panics if no line arrives in time.
    pub fn line(&mut self) -> Option<String> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => Some(line),
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => None,
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                panic!("the tool printed nothing for {PATIENCE:?}")
            }
        }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        // The tool may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! A server process on free ports with its own directory. A test can wait until it is ready, kill it, and restart it on the
//! same directory. Dropping it removes the directory.

mod calls;

use std::{
    fs,
    io::{self, BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use crate::{
    Kind,
    folder::fresh_dir,
    memory_limit::{MemoryLimit, budget_bytes},
    ports, wait,
};

/// The log line of a member that is ready.
pub const READY: &str = "ready to serve client requests";

/// The client URL and the peer URL that [`Launch::same_ids`] advertises. No process listens at these URLs.
pub const SAME_URLS: [&str; 2] = ["http://127.0.0.1:2379", "http://127.0.0.1:2380"];

/// Number of log lines that a failing test prints.
const LOG_TAIL: usize = 40;
/// A word in the log line of each panic.
const PANICKED: &str = "panicked";

/// The options of a server's start.
#[derive(Clone, Debug)]
pub struct Launch {
    kind: Kind,
    args: Vec<String>,
    envs: Vec<(String, String)>,
    bare: bool,
    dir: Option<PathBuf>,
    files_soft: Option<u32>,
    memory_bytes: Option<u64>,
    program: Option<PathBuf>,
    expects_panics: bool,
}

impl Launch {
    /// Creates options for a server of this kind with the usual flags: name `default`, two URLs, a new data directory.
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            args: Vec::new(),
            envs: Vec::new(),
            bare: false,
            dir: None,
            files_soft: None,
            memory_bytes: None,
            program: None,
            expects_panics: false,
        }
    }

    /// Creates options for Witan.
    pub fn witan() -> Self {
        Self::new(Kind::Witan)
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds an environment variable.
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.envs.push((name.into(), value.into()));
        self
    }

    /// Disables fsync if the server supports that, for tests with many writes that do not test the disk.
    pub fn without_fsync(self) -> Self {
        match self.kind {
            Kind::Witan | Kind::Etcd36 | Kind::Etcd37 => self.arg("--unsafe-no-fsync"),
            Kind::Etcd34 => self,
        }
    }

    /// Advertises [`SAME_URLS`]. Servers with these URLs have the same ids, so that a test can compare their responses byte for
    /// byte.
    pub fn same_ids(self) -> Self {
        let [client, peer] = SAME_URLS;
        self.arg(format!("--advertise-client-urls={client}"))
            .arg(format!("--initial-advertise-peer-urls={peer}"))
            .arg(format!("--initial-cluster=default={peer}"))
    }

    /// Allows panics in the log. By default, a panic fails the test.
    pub fn expect_panics(mut self) -> Self {
        self.expects_panics = true;
        self
    }

    /// Passes only flags that [`Launch::arg`] added, for tests of the flags themselves.
    pub fn bare(mut self) -> Self {
        self.bare = true;
        self
    }

    /// Sets the soft limit of open files.
    pub fn files_soft(mut self, limit: u32) -> Self {
        self.files_soft = Some(limit);
        self
    }

    /// Limits the memory of the server to `bytes` in a cgroup of its own. If this process cannot create one, writes the reason
    /// to standard error and starts Witan with the budget of that limit instead. The kernel does not enforce a budget.
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.memory_bytes = Some(bytes);
        self
    }

    /// Uses this directory instead of a new one. Dropping the server also removes it.
    pub fn dir(mut self, dir: PathBuf) -> Self {
        self.dir = Some(dir);
        self
    }

    /// Starts this executable instead of the default one.
    pub fn program(mut self, path: PathBuf) -> Self {
        self.program = Some(path);
        self
    }

    /// Starts the server and waits until it is ready. Panics with the log if it does not become ready.
    pub fn start(self) -> Server {
        let mut server = self.prepare();
        server.start_again();
        server
    }

    /// Starts the server without waiting, for starts that must fail.
    pub fn start_unready(self) -> Server {
        let mut server = self.prepare();
        server.start_unready_again();
        server
    }

    /// Prepares the directory, the ports and the memory limit without starting the server. Panics if an etcd needs a limit and
    /// this process cannot create a cgroup.
    pub fn prepare(mut self) -> Server {
        let memory = self.memory_bytes.and_then(|bytes| self.limit(bytes));
        let fresh = || fresh_dir(self.kind.name());
        let dir = self.dir.clone().unwrap_or_else(fresh);
        fs::create_dir_all(&dir).expect("the temporary folder is writable");
        Server {
            launch: self,
            dir,
            client_port: ports::free(),
            peer_port: ports::free(),
            memory,
            log: Arc::default(),
            running: None,
        }
    }

    /// Creates a memory limit if `WITAN_MEMORY_CGROUP` is set, as in `tests/run --all`. Otherwise, or if that is not possible,
    /// adds Witan's own budget. On a busy machine, the kernel can kill a member that the budget keeps within the limit on
    /// average.
    fn limit(&mut self, bytes: u64) -> Option<MemoryLimit> {
        let wanted = std::env::var_os("WITAN_MEMORY_CGROUP").is_some() || self.kind != Kind::Witan;
        let limit = match wanted {
            true => MemoryLimit::new(bytes),
            false => Err("WITAN_MEMORY_CGROUP is not set".to_owned()),
        };
        match limit {
            Ok(limit) => return Some(limit),
            Err(why) if self.kind == Kind::Witan => {
                let flag = format!("--memory-budget-bytes={}", budget_bytes(bytes));
                let _ = writeln!(
                    io::stderr(),
                    "NO MEMORY LIMIT: run as root with writable cgroups to test one ({why}); using only {flag}"
                );
                self.args.push(flag);
            }
            Err(why) => panic!("no memory limit for {}: {why}", self.kind.name()),
        }
        None
    }
}

/// A server. Dropping it kills the process and removes its directory.
#[derive(Debug)]
pub struct Server {
    launch: Launch,
    dir: PathBuf,
    client_port: u16,
    peer_port: u16,
    memory: Option<MemoryLimit>,
    log: Arc<Mutex<Vec<String>>>,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    /// Number of log lines before this start.
    log_before: usize,
    /// A process that kills the server at the end of its standard input. The input ends when this test process exits, so that
    /// no server stays behind.
    watchdog: Child,
    readers: Vec<thread::JoinHandle<()>>,
}

impl Server {
    /// Returns the client address as `host:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.client_port)
    }

    /// Returns the base URL for clients.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.client_port)
    }

    /// Returns the base URL for peers.
    pub fn peer_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.peer_port)
    }

    /// Returns the client port.
    pub fn client_port(&self) -> u16 {
        self.client_port
    }

    /// Returns the peer port.
    pub fn peer_port(&self) -> u16 {
        self.peer_port
    }

    /// Returns the server's own directory, with its data in the subdirectory `data`.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the line with the format of the member's data directory. Panics if there is none.
    pub fn format_line(&self) -> String {
        let path = self.dir.join("data/member/identity");
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let line = text.lines().next().unwrap_or_default();
        assert!(line.starts_with("format "), "{}: {text}", path.display());
        line.to_owned()
    }

    /// Returns the process id. Panics if the server does not run.
    pub fn pid(&self) -> u32 {
        self.running.as_ref().expect("the server runs").child.id()
    }

    /// Returns the number of times that the kernel has killed the server because of its memory limit, or 0 if it has no limit.
    pub fn memory_kills(&self) -> u64 {
        self.memory.as_ref().map_or(0, MemoryLimit::kills)
    }

    /// Returns all lines of standard output and standard error, from all starts.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().expect("no reader panics").clone()
    }

    /// Waits until a log line after the first `skip` lines contains `needle` and returns the line.
    pub fn wait_log(&self, skip: usize, needle: &str) -> String {
        wait::until(
            &format!("log line {needle:?} of {}", self.launch.kind.name()),
            || {
                let mut later = self.log().into_iter().skip(skip);
                later.find(|line| line.contains(needle))
            },
        )
    }

    /// Restarts the process on the same directory and ports and waits until it is ready.
    pub fn start_again(&mut self) {
        self.start_unready_again();
        self.wait_ready();
    }

    /// Restarts the process and waits until it logs that it is ready. Ignores `/health`, which fails during an alarm.
    pub fn start_unhealthy_again(&mut self) {
        let skip = self.log().len();
        self.start_unready_again();
        self.wait_log(skip, READY);
    }

    /// Waits until the server logs that it is ready and `/health` succeeds. Panics if the server exits first or does not run.
    pub fn wait_ready(&mut self) {
        let skip = self.running.as_ref().expect("it was started").log_before;
        let kind = self.launch.kind;
        let address = self.address();
        let mut ended = None;
        wait::until_true(
            &format!("{} on {address} becomes ready", kind.name()),
            || {
                let child = &mut self.running.as_mut().expect("just started").child;
                ended = child.try_wait().expect("the child can be polled");
                if ended.is_some() {
                    return true;
                }
                let said = self.log.lock().expect("no reader panics");
                let told = said.iter().skip(skip).any(|line| line.contains(READY));
                drop(said);
                // etcd's log line depends on its logger, so only its `/health` is checked.
                (told || kind != Kind::Witan) && self.is_healthy()
            },
        );
        if let Some(status) = ended {
            let (name, log) = (kind.name(), self.tail());
            panic!("{name} ended with {status} before it was ready:\n{log}");
        }
    }

    /// Restarts the process without waiting until it is ready. Panics if it is already started.
    pub fn start_unready_again(&mut self) {
        assert!(self.running.is_none(), "it runs already");
        let log_before = self.log().len();
        let mut command = self.program();
        command
            .current_dir(&self.dir)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if !self.launch.bare {
            command.args(self.usual_args());
        }
        command.args(&self.launch.args);
        command.envs(self.launch.envs.iter().map(|(name, value)| (name, value)));
        let mut child = command.spawn().expect("the server binary is executable");
        let stdout = child.stdout.take().expect("stdout is piped");
        let stderr = child.stderr.take().expect("stderr is piped");
        let readers = vec![collect(stdout, &self.log), collect(stderr, &self.log)];
        let cgroup = self.memory.as_ref().map(MemoryLimit::folder);
        let watchdog = watchdog(child.id(), &self.dir, cgroup);
        self.running = Some(Running { child, log_before, watchdog, readers });
    }

    /// Returns the command of the program, in a shell that first sets the limits, if there are any.
    fn program(&self) -> Command {
        let usual = || self.launch.kind.binary();
        let binary = self.launch.program.clone().unwrap_or_else(usual);
        let memory = self.memory.as_ref().map(MemoryLimit::entry);
        let files = self.launch.files_soft;
        let files = files.map(|limit| format!("ulimit -Sn {limit}"));
        let limits: Vec<String> = memory.into_iter().chain(files).collect();
        if limits.is_empty() {
            return Command::new(binary);
        }
        let mut command = Command::new("sh");
        let script = format!("{} && exec \"$0\" \"$@\"", limits.join(" && "));
        command.args(["-c", &script]).arg(binary);
        command
    }

    /// Adds arguments for later starts.
    pub fn add_args(&mut self, args: impl IntoIterator<Item = impl Into<String>>) {
        self.launch.args.extend(args.into_iter().map(Into::into));
    }

    /// Uses this executable for later starts.
    pub fn use_program(&mut self, path: PathBuf) {
        self.launch.program = Some(path);
    }

    /// Adds an environment variable for later starts.
    pub fn add_env(&mut self, name: &str, value: &str) {
        self.launch.envs.push((name.into(), value.into()));
    }

    fn usual_args(&self) -> Vec<String> {
        let mut args: Vec<String> = Vec::new();
        let data = self.dir.join("data").display().to_string();
        for (flag, value) in [
            ("--name", "default"),
            ("--data-dir", &data),
            ("--listen-client-urls", &self.url()),
            ("--advertise-client-urls", &self.url()),
            ("--listen-peer-urls", &self.peer_url()),
            ("--initial-advertise-peer-urls", &self.peer_url()),
            ("--initial-cluster", &format!("default={}", self.peer_url())),
        ] {
            args.extend([flag.into(), value.into()]);
        }
        match self.launch.kind {
            Kind::Witan => {}
            Kind::Etcd34 => args.push("--enable-v2=true".into()),
            Kind::Etcd36 | Kind::Etcd37 => args.push("--log-level=warn".into()),
        }
        args
    }

    /// Sends a signal by name (`TERM`, `INT`, `STOP`). Panics if the server does not run.
    pub fn signal(&self, name: &str) {
        signal(name, self.pid());
    }

    /// Kills the server with SIGKILL and waits until it has ended.
    pub fn kill9(&mut self) {
        let mut running = self.running.take().expect("the server runs");
        running.child.kill().expect("an own child can be killed");
        running.reap();
    }

    /// Kills the server, restarts it, and waits until it is ready.
    pub fn kill9_and_start(&mut self) {
        self.kill9();
        self.start_again();
    }

    /// Sends SIGTERM and waits until the server has exited.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait_exit()
    }

    /// Waits until the process exits by itself.
    pub fn wait_exit(&mut self) -> ExitStatus {
        let mut running = self.running.take().expect("the server runs");
        let what = format!("{} ends", self.launch.kind.name());
        let status = wait::until(&what, || {
            running.child.try_wait().expect("the child can be polled")
        });
        running.reap();
        status
    }

    /// Returns whether the server was started and has neither been killed nor waited for since.
    pub fn is_started(&self) -> bool {
        self.running.is_some()
    }

    /// Returns whether the process is still running.
    pub fn runs(&mut self) -> bool {
        self.running.as_mut().is_some_and(|running| {
            running
                .child
                .try_wait()
                .expect("the child can be polled")
                .is_none()
        })
    }

    /// Returns the last lines of the log, for failure messages.
    pub fn tail(&self) -> String {
        let log = self.log();
        log[log.len().saturating_sub(LOG_TAIL)..].join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut running) = self.running.take() {
            // The process may have ended by itself.
            let _ = running.child.kill();
            running.reap();
        }
        if thread::panicking() {
            let name = self.launch.kind.name();
            let log = self.tail();
            let _ = writeln!(io::stderr(), "--- end of {name}'s log\n{log}\n---");
        }
        let _ = fs::remove_dir_all(&self.dir);
        let panicked = self.log().into_iter().find(|line| line.contains(PANICKED));
        if let Some(line) = panicked
            && self.launch.kind == Kind::Witan
            && !self.launch.expects_panics
        {
            assert!(thread::panicking(), "the server panicked: {line}");
        }
    }
}

impl Running {
    /// Reaps the process and its watchdog, and waits for the remaining output.
    fn reap(&mut self) {
        let _ = self.watchdog.kill();
        let _ = self.watchdog.wait();
        let _ = self.child.wait();
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
    }
}

/// Sends a signal by name to a process. Panics if there is no such process.
fn signal(name: &str, pid: u32) {
    // The shell's `kill` needs neither unsafe code nor another program.
    let status = Command::new("sh")
        .args(["-c", &format!("kill -{name} {pid}")])
        .status()
        .expect("every machine has sh");
    assert!(status.success(), "kill -{name} {pid} failed");
}

fn collect(
    stream: impl io::Read + Send + 'static,
    log: &Arc<Mutex<Vec<String>>>,
) -> thread::JoinHandle<()> {
    let log = Arc::clone(log);
    thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            log.lock().expect("no reader panics").push(line);
        }
    })
}

/// Starts a process that kills `pid` and removes the directory and the cgroup at the end of its standard input.
fn watchdog(pid: u32, dir: &Path, cgroup: Option<&Path>) -> Child {
    Command::new("sh")
        .args([
            "-c",
            // A cgroup can be removed only after the process has exited.
            "cat >/dev/null; kill -9 \"$1\"; rm -rf \"$2\"
            for pause in 0 1 2; do [ ! -d \"$3\" ] || { sleep $pause; rmdir \"$3\"; }; done",
            "watchdog",
        ])
        .arg(pid.to_string())
        .arg(dir)
        .arg(cgroup.unwrap_or(Path::new("")))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("every machine has sh")
}

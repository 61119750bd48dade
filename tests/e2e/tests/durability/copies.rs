//! Copies the data directory of a running member during writes, compactions and defragmentations. A member that starts from a
//! copy must have every write that was acknowledged before the copy began.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use witan_api::v3::etcdserverpb::{DefragmentRequest, maintenance_client::MaintenanceClient};
use witan_e2e::{
    Launch, Server, grpc, wait, watching,
    writers::{Writers, assert_all_there},
};

/// Number of copies, unless `WITAN_E2E_ROUNDS` is set.
const ROUNDS: u64 = 20;
const WRITERS: usize = 8;
const WRITES: u64 = 300;
const PAUSE: Duration = Duration::from_millis(5);
const MAINTENANCE_PAUSE: Duration = Duration::from_millis(200);
/// Size in bytes of values that make the log grow.
const LARGE_BYTES: usize = 64 << 10;

#[test]
fn each_copy_of_a_running_member_has_all_earlier_acknowledged_writes() {
    let rounds = env::var("WITAN_E2E_ROUNDS").map_or(ROUNDS, |text| text.parse().expect("number"));
    let server = Launch::witan().without_fsync().start();
    let maintenance = Maintenance::start(&server);
    for round in 0..rounds {
        grpc::runtime().block_on(async {
            let channel = grpc::connect(&server.address()).await;
            watching::delete(&channel, "w", "x").await;
        });
        let writers = Writers::start(WRITERS, &[server.address()]);
        writers.wait_more(WRITES);
        let begun = Instant::now();
        let copy = Launch::witan().prepare();
        let (from, to) = (server.dir().join("data"), copy.dir().join("data"));
        match round % 3 {
            0 => cp(&from, &to),
            1 => copy_slowly(&from, &to, &mut |paths| paths.sort()),
            _ => copy_slowly(&from, &to, &mut |paths| {
                paths.sort();
                paths.reverse();
            }),
        }
        let mut written = writers.stop();
        written.retain(|written| written.at < begun);
        assert!(written.len() as u64 >= WRITES, "round {round}");
        let mut copy = copy;
        copy.start_again();
        assert_all_there(&copy, &written);
    }
    maintenance.stop();
}

/// Copies a directory with `cp`. Ignores its exit code, because files that are removed during the copy are outdated.
fn cp(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status();
    status.expect("cp runs");
}

/// Copies a directory slowly, and each directory's entries in the order of `sort`.
fn copy_slowly(from: &Path, to: &Path, sort: &mut dyn FnMut(&mut Vec<PathBuf>)) {
    fs::create_dir_all(to).expect("the temporary folder is writable");
    // A directory that was removed after it was listed is outdated.
    let mut paths: Vec<PathBuf> = fs::read_dir(from)
        .into_iter()
        .flatten()
        .map(|entry| entry.expect("it is listed").path())
        .collect();
    sort(&mut paths);
    for path in paths {
        let target = to.join(path.file_name().expect("a listed file has a name"));
        if path.is_dir() {
            copy_slowly(&path, &target, sort);
        } else {
            // A file that was being written may have been renamed.
            let _ = fs::copy(&path, &target);
            wait::wall_time(PAUSE);
        }
    }
}

struct Maintenance {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Maintenance {
    fn start(server: &Server) -> Self {
        let (address, stop) = (server.address(), Arc::<AtomicBool>::default());
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            grpc::runtime().block_on(async {
                let channel = grpc::connect(&address).await;
                let mut member = MaintenanceClient::new(channel.clone());
                while !stopped.load(Relaxed) {
                    let large = vec![b'v'; LARGE_BYTES];
                    let revision = watching::put(&channel, "large", large).await;
                    watching::compact(&channel, revision).await;
                    let defragment = DefragmentRequest::default();
                    let done = member.defragment(defragment).await;
                    done.expect("a defragmentation");
                    wait::wall_time(MAINTENANCE_PAUSE);
                }
            });
        });
        Self { stop, thread }
    }

    fn stop(self) {
        self.stop.store(true, Relaxed);
        self.thread.join().expect("maintenance does not fail");
    }
}

//! Tests a power cut of an entire data directory, log and checkpoint together. One test uses a disk that drops unsynced pages
//! (`disk`). The other test uses a real file system. It writes a random part of the files to the device and copies the device
//! while the writer is stopped. Without loop devices, it prints a message and passes.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64},
        mpsc,
    },
};

use rustix::process::{Pid, Signal, kill_process};

use super::{
    disk::Disk,
    values::keeps_none,
    workload::{Driven, Expected, chances, run_steps_until_killed},
    *,
};
use crate::make_dir;

/// Environment variable that turns the test function into the writer.
const CHILD: &str = "WITAN_TEST_POWER";
const CUTS: &str = "WITAN_POWER_CUTS";
const CUTS_USUAL: u64 = 10;
/// Number of power cuts per data directory. Starting over with an empty directory keeps the directory small.
const CUTS_OF_ONE: u64 = 10;

fn cuts() -> u64 {
    std::env::var(CUTS).map_or(CUTS_USUAL, |cuts| cuts.parse().unwrap())
}

/// Maximum number of attempts to copy a device. The file system writes on its own schedule every few seconds.
const COPIES: u32 = 50;

/// Compares the directory after a cut with the entries that were acknowledged before the cut. After every second cut, startup
/// reads no values.
fn judge(number: usize, (what, data): (&str, &Path), acknowledged: u64, expected: &mut Expected) {
    let cache = if number.is_multiple_of(2) {
        unlimited()
    } else {
        keeps_none()
    };
    let found = expected.compare_cached(data, &cache);
    let found = found.unwrap_or_else(|error| panic!("{what}: refused: {error}"));
    assert!(
        found.last >= acknowledged && !found.fell_back,
        "{what}: {acknowledged} acknowledged, {found:?}"
    );
}

/// The directory after a power cut, and the last entry that was acknowledged before the cut.
struct Cut {
    what: String,
    dir: TempDir,
    acknowledged: u64,
}

#[test]
fn a_power_cut_on_a_simulated_disk_loses_nothing() {
    for round in 0..cuts().div_ceil(CUTS_OF_ONE) {
        lying_disk(round);
    }
}

/// Runs a member on a simulated disk and judges [`CUTS_OF_ONE`] power cuts.
fn lying_disk(round: u64) {
    let dir = TempDir::new();
    let acknowledged = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let (send, cut) = mpsc::sync_channel(0);
    let mut chance = chances(round);
    let (mut number, mut wait) = (0, 5);
    let known = acknowledged.clone();
    // Cut the power at a sync of the log, then at a sync of the checkpoint, and so on, before the sync takes effect.
    let disk = Disk::watch(&dir.0, move |path, kept| {
        let name = path.to_string_lossy();
        let (log, checkpoint) = (name.contains("/log"), name.contains("/checkpoint"));
        if number == CUTS_OF_ONE || !(if number % 2 == 0 { log } else { checkpoint }) {
            return;
        }
        wait -= 1;
        if wait > 0 {
            return;
        }
        let after = TempDir::new();
        let name = path.strip_prefix(kept.root()).unwrap().display();
        let cut = Cut {
            what: format!("power cut {round}.{number} at {name}"),
            acknowledged: known.load(Ordering::SeqCst),
            dir: after,
        };
        kept.cut(&cut.dir.0, &mut chance);
        number += 1;
        wait = 1 + chance(if number % 2 == 0 { 20 } else { 8 });
        // Sending fails once the test has enough cuts.
        let _ = send.send(cut);
    });
    let writer = std::thread::spawn({
        let (data, stop) = (dir.data(), stop.clone());
        move || {
            let mut driven = Driven::start(&data);
            while !stop.load(Ordering::SeqCst) {
                acknowledged.store(driven.step(), Ordering::SeqCst);
            }
        }
    });
    let mut expected = Expected::default();
    for (number, cut) in cut.iter().take(CUTS_OF_ONE as usize).enumerate() {
        let Cut { what, dir, acknowledged } = cut;
        // The cuts alternate between the log and the checkpoint.
        judge(
            number / 2,
            (&what, &dir.data()),
            acknowledged,
            &mut expected,
        );
    }
    stop.store(true, Ordering::SeqCst);
    writer.join().unwrap();
    disk.forget();
}

/// A file system in a file, which is unmounted on drop.
struct Volume(TempDir);

impl Volume {
    /// Mounts a copy of `image`, or a new ext4 file system. Returns `None` if the system does not permit this.
    fn mount(image: Option<&Path>) -> Option<Self> {
        let volume = Self(TempDir::on_disk());
        let path = volume.0.0.join("image");
        match image {
            Some(image) => {
                assert!(run(Command::new("cp")
                    .arg("--sparse=always")
                    .arg(image)
                    .arg(&path)));
            }
            None => {
                fs::File::create(&path).unwrap().set_len(2 << 30).unwrap();
                if !run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&path)) {
                    return None;
                }
            }
        }
        let dir = volume.dir();
        fs::create_dir(&dir).unwrap();
        run(Command::new("mount")
            .args(["-o", "loop"])
            .arg(&path)
            .arg(&dir))
        .then_some(volume)
    }

    fn dir(&self) -> PathBuf {
        self.0.0.join("mounted")
    }

    fn image(&self) -> PathBuf {
        self.0.0.join("image")
    }

    /// Returns another volume with the device's content at one moment. Copies again if a write reached the device during the
    /// copy.
    fn copied(&self) -> Self {
        for _ in 0..COPIES {
            let before = self.writes();
            let copy = Self::mount(Some(&self.image())).expect("a power cut leaves a valid volume");
            if self.writes() == before {
                return copy;
            }
        }
        panic!("the device is never idle");
    }

    /// Returns the kernel's counters of the device: writes, sectors written, requests in flight.
    fn writes(&self) -> Vec<String> {
        let mut command = Command::new("losetup");
        command.args(["-n", "-O", "NAME", "-j"]).arg(self.image());
        let found = start(command.stdout(Stdio::piped())).unwrap();
        let found = found.wait_with_output().unwrap().stdout;
        let device = String::from_utf8(found).unwrap();
        let device = Path::new(device.trim()).file_name().unwrap().to_owned();
        let stat = Path::new("/sys/block").join(device).join("stat");
        let stat = fs::read_to_string(stat).unwrap();
        let counts: Vec<&str> = stat.split_whitespace().collect();
        [4, 6, 8].map(|at| counts[at].to_owned()).to_vec()
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        run(Command::new("umount").arg(self.dir()));
    }
}

fn signal(signal: Signal, process: u32) {
    let process = Pid::from_raw(process.cast_signed()).unwrap();
    kill_process(process, signal).unwrap();
}

/// Stops a process and waits until all its threads are stopped: a thread inside the kernel runs a little longer.
fn stop(process: u32) {
    signal(Signal::STOP, process);
    let tasks = PathBuf::from(format!("/proc/{process}/task"));
    let stands = |task: fs::DirEntry| {
        let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        stat.rsplit(") ")
            .next()
            .is_none_or(|rest| rest.starts_with('T'))
    };
    while !fs::read_dir(&tasks).unwrap().flatten().all(stands) {
        std::thread::yield_now();
    }
}

/// Writes a random part of the files below a directory to the device.
fn reach_the_device(dir: &Path, chance: &mut dyn FnMut(u64) -> u64) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            reach_the_device(&path, chance);
        } else if chance(4) == 0 {
            run(Command::new("sync").arg("-d").arg(path));
        }
    }
}

#[test]
fn a_power_cut_on_a_real_disk_loses_nothing() {
    if let Some(data) = std::env::var_os(CHILD) {
        run_steps_until_killed(Path::new(&data));
    }
    for round in 0..cuts().div_ceil(CUTS_OF_ONE) {
        let Some(volume) = Volume::mount(None) else {
            let what = "no mkfs.ext4 or loop devices: testing power cuts only on a simulated disk";
            writeln!(std::io::stderr(), "{what}").unwrap();
            return;
        };
        real_disk(round, &volume);
    }
}

/// Runs a member in a child process on `volume` and judges [`CUTS_OF_ONE`] power cuts.
fn real_disk(round: u64, volume: &Volume) {
    let mut chance = chances(round);
    let data = volume.dir().join("data");
    let test = "power::a_power_cut_on_a_real_disk_loses_nothing";
    let mut command = child(test, CHILD, data.as_os_str());
    let mut writer = start(command.stdout(Stdio::piped())).unwrap();
    let lines = BufReader::new(writer.stdout.take().unwrap()).lines();
    let acknowledged = Arc::new(AtomicU64::new(0));
    let (send, steps) = mpsc::sync_channel(1 << 20);
    let reader = std::thread::spawn({
        let acknowledged = acknowledged.clone();
        move || {
            for line in lines.map_while(Result::ok) {
                if let Some(index) = line.strip_prefix("ack ") {
                    acknowledged.store(index.parse().unwrap(), Ordering::SeqCst);
                    let _ = send.send(());
                }
            }
        }
    });
    let mut expected = Expected::default();
    for number in 0..CUTS_OF_ONE {
        for _ in 0..2 + chance(20) {
            steps.recv().expect("the writer runs");
        }
        // Cut the power at a different moment each time.
        std::thread::sleep(Duration::from_millis(chance(100)));
        stop(writer.id());
        let acknowledged = acknowledged.load(Ordering::SeqCst);
        reach_the_device(&data, &mut chance);
        let after = volume.copied();
        let what = format!("power cut {round}.{number} on ext4");
        let data = after.dir().join("data");
        judge(number as usize, (&what, &data), acknowledged, &mut expected);
        // Resume the writer only now, so that it cannot fill the disk in the meantime.
        signal(Signal::CONT, writer.id());
    }
    writer.kill().unwrap();
    writer.wait().unwrap();
    reader.join().unwrap();
}

#[test]
fn created_directories_and_their_parents_survive_a_power_cut() {
    let (dir, after) = (TempDir::new(), TempDir::new());
    let disk = Disk::watch(&dir.0, |_, _| {});
    disk.keep_all();
    make_dir(&dir.0.join("a/b/c")).unwrap();
    disk.cut(&after.0, &mut |_| 0);
    disk.forget();
    assert!(after.0.join("a/b/c").is_dir());
}

//! What a power cut leaves of a checkpoint: a file system of its own, copied as it stands on its
//! device while a process writes, is mounted and read. Needs loop devices; without them the test
//! says so and only checks its own arithmetic.
//!
//! The writer churns, because sled reuses the space of what was replaced: large and small
//! differences, blocks that come and go, small records overwritten at random. What a checkpoint
//! must hold follows from its number alone.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    process::Stdio,
};

use witan_replica::machine::record::Change;

use super::*;
use crate::storage::checkpoint::{Broken, Changes, Checkpoint};

/// Variable that makes the test function play the writer's part.
const CHILD: &str = "WITAN_TEST_POWER";
/// Variable for the number of power cuts.
const CUTS: &str = "WITAN_POWER_CUTS";
/// Blocks are deleted this many checkpoints after they came.
const WINDOW: u64 = 6;
/// Small records that are overwritten at random.
const SMALL: u64 = 2000;

type Records = BTreeMap<Vec<u8>, Vec<u8>>;

fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb)
}

/// Blocks of a checkpoint: from nearly none to several of sled's segments.
fn blocks(number: u64) -> u64 {
    [20, 200, 600, 3][(number % 4) as usize]
}

fn block(number: u64, which: u64) -> Vec<u8> {
    [&b"kb"[..], &number.to_be_bytes(), &which.to_be_bytes()].concat()
}

/// The changes from checkpoint `number - 1` to `number`.
fn difference(number: u64, emit: &mut dyn FnMut(Change)) {
    for which in 0..blocks(number) {
        let value = mix(number * 1000 + which).to_le_bytes().repeat(3500);
        emit(Change::Put {
            key: block(number, which),
            value,
        });
    }
    let old = number.saturating_sub(WINDOW);
    for which in 0..if old > 0 { blocks(old) } else { 0 } {
        emit(Change::Delete {
            key: block(old, which),
        });
    }
    for at in 0..if number.is_multiple_of(3) { 1000 } else { 50 } {
        let version = number * 10_000 + at;
        let key = format!("t/{:06}", mix(version) % SMALL).into_bytes();
        emit(Change::Put {
            key,
            value: version.to_le_bytes().repeat(40),
        });
    }
    emit(Change::Put {
        key: b"v".to_vec(),
        value: number.to_le_bytes().to_vec(),
    });
}

fn follow(records: &mut Records, number: u64) {
    difference(number, &mut |change| match change {
        Change::Put { key, value } => drop(records.insert(key, value)),
        Change::Delete { key } => drop(records.remove(&key)),
    });
}

fn write_until_killed(dir: &Path) {
    let mut checkpoint = Checkpoint::open(dir).unwrap().0;
    checkpoint.store(None, &|emit| difference(1, emit)).unwrap();
    for number in 2.. {
        let changes: &Changes<'_> = &|emit| difference(number, emit);
        checkpoint
            .store(Some(changes), &|_| panic!("a difference is enough"))
            .unwrap();
        writeln!(std::io::stdout(), "saved {number}").unwrap();
    }
}

/// Reads a checkpoint and its number.
fn read(dir: &Path) -> (Records, u64) {
    let mut checkpoint = Checkpoint::closed(dir).unwrap();
    let records = checkpoint.read(|records| records.collect::<Result<Records, Broken>>());
    let records = records.unwrap();
    let number = u64::from_le_bytes(records[&b"v"[..]].as_slice().try_into().unwrap());
    (records, number)
}

fn run(command: &mut Command) -> bool {
    start(command.stderr(Stdio::null()))
        .and_then(|mut process| process.wait())
        .is_ok_and(|status| status.success())
}

/// A file system in a file, unmounted with the test.
struct Volume(TempDir);

impl Volume {
    fn mount(image: Option<&Path>) -> Option<Self> {
        let volume = Self(TempDir::new());
        let path = volume.0.0.join("image");
        match image {
            Some(image) => {
                assert!(run(Command::new("cp")
                    .arg("--sparse=always")
                    .arg(image)
                    .arg(&path)));
            }
            None => {
                fs::File::create(&path).unwrap().set_len(1 << 30).unwrap();
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
}

impl Drop for Volume {
    fn drop(&mut self) {
        run(Command::new("umount").arg(self.dir()));
    }
}

fn signal(name: &str, process: u32) {
    assert!(run(Command::new("kill").args([name, &process.to_string()])));
}

#[test]
fn a_power_cut_costs_no_checkpoint() {
    if let Some(dir) = std::env::var_os(CHILD) {
        write_until_killed(Path::new(&dir));
    }
    let mut expected = Records::new();
    (1..=WINDOW + 1).for_each(|number| follow(&mut expected, number));
    assert!(!expected.contains_key(&block(1, 0)) && expected.contains_key(&block(2, 0)));
    let Some(volume) = Volume::mount(None) else {
        writeln!(
            std::io::stderr(),
            "skipped: power cuts need mkfs.ext4 and loop devices"
        )
        .unwrap();
        return;
    };
    let cuts: u64 = std::env::var(CUTS).map_or(4, |cuts| cuts.parse().unwrap());
    let dir = volume.dir().join("checkpoint");
    let test = "power::a_power_cut_costs_no_checkpoint";
    let mut command = child(test, CHILD, dir.as_os_str());
    let mut writer = start(command.stdout(Stdio::piped())).unwrap();
    let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines();
    let mut expected = (Records::new(), 0);
    for cut in 0..cuts {
        let mut saved = 0;
        while saved < (cut + 1) * 5 {
            let line = lines.next().expect("the writer lives").unwrap();
            saved = line
                .strip_prefix("saved ")
                .map_or(saved, |n| n.parse().unwrap());
        }
        // Each cut at another moment of the checkpoints that follow.
        std::thread::sleep(Duration::from_millis(cut * 37 % 300));
        signal("-STOP", writer.id());
        let after = Volume::mount(Some(&volume.image())).expect("what a cut leaves can be mounted");
        signal("-CONT", writer.id());
        let (records, number) = read(&after.dir().join("checkpoint"));
        assert!(
            number >= saved,
            "cut {cut}: checkpoint {saved} was durable, {number} is there"
        );
        while expected.1 < number {
            expected.1 += 1;
            follow(&mut expected.0, expected.1);
        }
        assert!(
            records == expected.0,
            "cut {cut}: checkpoint {number} is not whole"
        );
    }
    writer.kill().unwrap();
    writer.wait().unwrap();
}

//! The simulator's command line, which sweeps seeds, or repeats one seed with its trace.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use witan_recorder::Verdict;
use witan_sim::{
    recordings,
    scenario::Scenario,
    sweep::{self, Swept},
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USAGE: &str = "\
usage: witan-sim [--seeds N] [--start S] [--members 1..7]
       witan-sim --reproduce SEED [--members 1..7]
       witan-sim --record FOLDER --reproduce SEED [--members 1..7]
       witan-sim --replay FOLDER

  --seeds N         sweep N seeds (default: 100)
  --start S         start at seed S (default: 0)
  --members M       number of members (default: chosen by the seed)
  --reproduce SEED  run one seed, print its trace and its result
  --record FOLDER   with --reproduce: record each process of each member in a file there
  --replay FOLDER   replay these recordings with the core of this program
";

/// Number of seeds between two progress reports of a sweep.
const PROGRESS_SEEDS: u64 = 500;

#[derive(Default)]
struct Request {
    seeds: Option<u64>,
    start: u64,
    members: Option<usize>,
    reproduce: Option<u64>,
    record: Option<PathBuf>,
    replay: Option<PathBuf>,
}

fn main() -> ExitCode {
    let mut out = io::stdout().lock();
    let done = match parse(std::env::args().skip(1)) {
        Ok(request) => act(&request, &mut out),
        Err(problem) => write!(out, "{problem}\n{USAGE}").map(|()| ExitCode::from(2)),
    };
    done.unwrap_or(ExitCode::FAILURE)
}

/// Parses the arguments. Fails with a message. The message is empty for `--help`.
fn parse(mut args: impl Iterator<Item = String>) -> Result<Request, String> {
    let mut request = Request::default();
    while let Some(flag) = args.next() {
        if flag == "--help" {
            return Err(String::new());
        }
        let value = args.next().ok_or_else(|| format!("{flag} needs a value"))?;
        let number = || {
            value
                .parse::<u64>()
                .map_err(|e| format!("{flag} {value}: {e}"))
        };
        match flag.as_str() {
            "--seeds" => request.seeds = Some(number()?),
            "--start" => request.start = number()?,
            "--members" => {
                let members = number()? as usize;
                if !(1..=7).contains(&members) {
                    return Err(format!("--members {value}: 1 to 7"));
                }
                request.members = Some(members);
            }
            "--reproduce" => request.reproduce = Some(number()?),
            "--record" => request.record = Some(value.into()),
            "--replay" => request.replay = Some(value.into()),
            other => return Err(format!("unknown argument: {other}")),
        }
    }
    Ok(request)
}

/// Executes the request and prints the results. Returns `FAILURE` for a violation, a differing replay, or a sweep that misses a
/// coverage goal.
fn act(request: &Request, out: &mut impl Write) -> io::Result<ExitCode> {
    announce_panics();
    if let Some(folder) = &request.replay {
        return replay(folder, out);
    }
    if let Some(seed) = request.reproduce {
        let scenario = Scenario::new(seed, request.members);
        let verdict = match &request.record {
            Some(folder) => recordings::record(scenario, folder),
            None => sweep::run(scenario, true),
        };
        out.write_all(verdict.trace.as_bytes())?;
        return match verdict.violation {
            Some(violation) => {
                writeln!(out, "{}", sweep::failure(&scenario, &violation))?;
                Ok(ExitCode::FAILURE)
            }
            None => writeln!(out, "seed {seed}: no violation").map(|()| ExitCode::SUCCESS),
        };
    }
    sweep_seeds(request, out)
}

/// Replays all recordings in `folder` and prints their results. Returns `FAILURE` unless all are reproduced.
fn replay(folder: &Path, out: &mut impl Write) -> io::Result<ExitCode> {
    let mut all_equal = true;
    for (file, replayed) in recordings::replay_all(folder)? {
        all_equal &= replayed.verdict == Verdict::Reproduced;
        out.write_all(recordings::tell(&file, &replayed).as_bytes())?;
    }
    Ok(if all_equal {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Sweeps the seeds. Reports violations and progress on stderr, and prints the counts and missed goals.
fn sweep_seeds(request: &Request, out: &mut impl Write) -> io::Result<ExitCode> {
    let seeds = request.seeds.unwrap_or(100);
    // Ignore the error, because no reader is left if stderr is closed.
    let say = |line: String| drop(writeln!(io::stderr(), "{line}"));
    let shown = AtomicUsize::new(0);
    let swept = sweep::sweep(request.start, seeds, request.members, &|so_far| {
        let (runs, violations) = (so_far.runs, so_far.violations.len());
        if let Some((scenario, violation)) = so_far.violations.get(shown.load(Relaxed)) {
            shown.fetch_add(1, Relaxed);
            say(sweep::failure(scenario, violation));
        }
        if runs % PROGRESS_SEEDS == 0 {
            say(format!("{runs} of {seeds} seeds, {violations} violations"));
        }
    });
    let shortfalls = swept.shortfalls();
    let Swept { violations, counts, long_runs, .. } = swept;
    writeln!(out, "covered: {counts:?}, {} long runs", long_runs.0)?;
    for shortfall in &shortfalls {
        writeln!(out, "too little: {shortfall}")?;
    }
    writeln!(
        out,
        "simulator: swept {seeds} seeds, {} violations",
        violations.len()
    )?;
    Ok(if violations.is_empty() && shortfalls.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Prints the run in which a panic happened, even if the panic cannot be caught because the release profile aborts.
fn announce_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        before(panic);
        if let Some(scenario) = sweep::current() {
            let line = format!("  reproduce: {}\n", scenario.reproduce());
            // Ignore the error, because no reader is left if stderr is closed.
            let _ = io::stderr().write_all(line.as_bytes());
        }
    }));
}

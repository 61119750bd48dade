//! The command line: the seeds, the length of a sequence, and the scripts.

use std::path::PathBuf;

use crate::rng;

/// The usage text.
pub const USAGE: &str = "\
usage: witan-differ v2|v3|watch|lease|auth [--seeds N] [--seed S]... [--steps N]
       witan-differ v2|v3 --compare FILE...

  --seeds N   run N fresh seeds (1), each printed
  --seed S    run this seed; may be given several times
  --steps N   requests in each sequence (3000)
  --compare   send the requests of these scripts to both servers
";

/// The names of the dialects on the command line.
pub const DIALECTS: [&str; 5] = ["v2", "v3", "watch", "lease", "auth"];

/// The sequences or scripts to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The dialect, one of [`DIALECTS`].
    pub dialect: String,
    /// The seeds. Each one defines a sequence.
    pub seeds: Vec<u64>,
    /// Number of requests in a sequence.
    pub steps: usize,
    /// Scripts to run on both servers instead of seeds.
    pub compare: Vec<PathBuf>,
}

impl Plan {
    /// Parses a command line without the program's name. Fails if it is invalid.
    pub fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let dialect = args.next().unwrap_or_default();
        if !DIALECTS.contains(&dialect.as_str()) {
            return Err(format!("{dialect:?} is not one of {DIALECTS:?}"));
        }
        let mut plan = Self { dialect, steps: 3000, ..Self::default() };
        let mut fresh = None;
        while let Some(flag) = args.next() {
            if flag == "--compare" {
                plan.compare = args.by_ref().map(PathBuf::from).collect();
                break;
            }
            let value = args.next().ok_or_else(|| format!("{flag} needs a value"))?;
            let number: u64 = value
                .parse()
                .map_err(|error| format!("{flag} {value}: {error}"))?;
            match flag.as_str() {
                "--seeds" => fresh = Some(number),
                "--seed" => plan.seeds.push(number),
                "--steps" => plan.steps = usize::try_from(number).unwrap_or(usize::MAX),
                other => return Err(format!("unknown argument: {other}")),
            }
        }
        let fresh = fresh.unwrap_or(u64::from(plan.seeds.is_empty()));
        plan.seeds.extend((0..fresh).map(|_| rng::fresh_seed()));
        Ok(plan)
    }
}

//! Calls of the JSON gateway beside etcd 3.6: leases, and users with what they may do.
//!
//! What does *not* live here: the key space by itself (`v3`), watches.
//!
//! Reading order: `step` (a call as a line) → `leases`, `users` (calls by chance) → `side` (one
//! server) → this file (both servers).

mod leases;
mod side;
mod step;
mod users;

use witan_e2e::Kind;

use crate::{
    engine::{Dialect, Profile},
    report::{Report, Stop},
};
use side::Side;
use step::Call;

/// The groups of calls that a sequence consists of.
#[derive(Clone, Copy, Debug)]
pub enum Calls {
    /// Leases come and go, and keys with them.
    Leases,
    /// Users and roles change, and users read and write.
    Users,
}

impl Dialect for Calls {
    type Step = Call;

    fn profile(&self) -> Profile {
        let (name, table) = match self {
            Self::Leases => ("lease", leases::TABLE),
            Self::Users => ("auth", users::TABLE),
        };
        Profile { name, etcd: Kind::Etcd37, table }
    }

    fn sequence(&self, seed: u64, count: usize) -> Vec<Call> {
        match self {
            Self::Leases => leases::sequence(seed, count),
            Self::Users => users::sequence(seed, count),
        }
    }

    async fn run(&self, calls: &[Call], report: &mut Report) -> Result<(), Stop> {
        let [mut witan, mut etcd] = [Kind::Witan, Kind::Etcd37].map(Side::start);
        for (at, call) in calls.iter().enumerate() {
            let (ours, theirs) = (witan.answer(call), etcd.answer(call));
            // the one difference that is meant: everybody may ask, whatever token comes along
            let is_public = call.path == "auth/status" && theirs.contains("invalid auth token");
            if ours != theirs && !is_public {
                report.differ(Stop::differs(at, call, &theirs, &ours))?;
            }
            let code = side::code(&theirs);
            let done = if code == "ok" { code } else { "refused" };
            report.coverage.hit(&call.path, done);
            if call.caller.is_some() {
                let rows = [users::RIGHTS_ROW, users::KEYS_ROW];
                let row = rows[usize::from(call.path.starts_with("kv/"))];
                report.coverage.hit(row, code);
            }
        }
        Ok(())
    }

    fn parse(&self, line: &str) -> Result<Call, String> {
        Call::parse(line)
    }
}

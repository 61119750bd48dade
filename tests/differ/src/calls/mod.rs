//! Compares responses of the JSON gateway with etcd 3.7's: for leases, and for users and their permissions.
//!
//! `v3` compares the key space, and `watch` compares watches.
//!
//! Reading order: `step` (a call as a line) → `leases`, `users` (random calls) → `side` (one server) → this file (both
//! servers).

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

/// The kinds of calls in a sequence.
#[derive(Clone, Copy, Debug)]
pub enum Calls {
    /// Grants and revokes leases with keys.
    Leases,
    /// Changes users and roles, and reads and writes as users.
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
            // The only deliberate difference: any caller may read the status, even if its token is invalid.
            let is_public = call.path == "auth/status" && theirs.contains("invalid auth token");
            if ours != theirs && !is_public {
                return Err(Stop::differs(at, call, &theirs, &ours));
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
}

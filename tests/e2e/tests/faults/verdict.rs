//! The guarantees after all faults. No acknowledged write is lost, and every history is linearizable. Every watch received every
//! change once and in order. Leases have ended, and all members have the same state.

use std::{
    collections::{BTreeSet, HashSet},
    fmt::Write as _,
    time::{Duration, Instant},
};

use serde_json::Value;
use tonic::transport::Channel;
use witan_e2e::{
    cluster, grpc, http,
    linear::{Batch, Call, Change, Input, Output, checker, record},
    wait,
};

use crate::{
    leases,
    load::Load,
    probes::{self, Acknowledged},
    stage::{RECOVERY_MAX, Stage},
    tree,
    tree_watch::{self, TreeWatch},
};

const STATES_AGAIN: Duration = Duration::from_millis(200);

#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    pub(crate) leases: usize,
    pub(crate) calls: Vec<Call>,
    pub(crate) tree_calls: Vec<Call>,
    pub(crate) tree_watches: Vec<TreeWatch>,
    pub(crate) watches: Vec<Vec<Batch>>,
    /// The responses to a watch that started after the run.
    pub(crate) fresh: Vec<Batch>,
}

impl Told {
    pub(crate) fn history(&self) -> String {
        let mut text = String::new();
        for (title, calls) in [("v3", &self.calls), ("v2", &self.tree_calls)] {
            for call in calls {
                let _ = writeln!(text, "{title} {call:?}");
            }
        }
        for (at, watch) in self.watches.iter().chain([&self.fresh]).enumerate() {
            for batch in watch {
                let _ = writeln!(text, "watch {at} {batch:?}");
            }
        }
        for (at, watch) in self.tree_watches.iter().enumerate() {
            let _ = writeln!(text, "v2 watch {at} cleared {:?}", watch.cleared);
            for change in &watch.changes {
                let _ = writeln!(text, "v2 watch {at} {change:?}");
            }
        }
        text
    }

    pub(crate) fn judge(&self) -> Result<(), String> {
        CHECKS.iter().try_for_each(|(_, check)| check(self))
    }
}

type Check = fn(&Told) -> Result<(), String>;

pub(crate) const CHECKS: [(&str, Check); 6] = [
    ("watches", watches),
    ("record", recorded),
    ("v3", linearizable_v3),
    ("v2", linearizable_v2),
    ("indices", indices),
    ("v2 watches", tree_watches),
];

fn record(told: &Told) -> Result<Vec<Change>, String> {
    record::orderly(&told.fresh).map_err(|wrong| format!("a watch: {wrong}"))
}

fn watches(told: &Told) -> Result<(), String> {
    let record = record(told)?;
    told.watches.iter().try_for_each(|watch| {
        let seen = record::orderly(watch);
        let judged = seen.and_then(|seen| record::complete(&record, &seen, |_| true));
        judged.map_err(|wrong| format!("a watch: {wrong}"))
    })
}

fn recorded(told: &Told) -> Result<(), String> {
    let agreed = record::agree(&record(told)?, &told.calls);
    agreed.map_err(|wrong| format!("differs from the record: {wrong}"))
}

fn linearizable_v3(told: &Told) -> Result<(), String> {
    linearizable("v3", &with_effect(&told.calls, &written(&record(told)?)))
}

fn linearizable_v2(told: &Told) -> Result<(), String> {
    let calls = &told.tree_calls;
    linearizable("v2", &with_effect(calls, &observed(calls)))
}

fn indices(told: &Told) -> Result<(), String> {
    let writes = told.tree_calls.iter().filter(|call| call.input.writes());
    let mut done = writes.filter(|call| call.told.is_some_and(|t| t.output == Output::Written));
    let mut seen = HashSet::new();
    let shared = done.find(|call| !seen.insert(call.revision()));
    shared.map_or(Ok(()), |call| {
        Err(format!("{call:?} shares its index with another write"))
    })
}

fn tree_watches(told: &Told) -> Result<(), String> {
    match told.tree_watches.is_empty() {
        true => Ok(()),
        false => tree_watch::judge(&told.tree_calls, &told.tree_watches),
    }
}

fn written(record: &[Change]) -> HashSet<u64> {
    record.iter().map(|change| change.value).collect()
}

/// Returns the values that a response contains or that a successful comparison found.
fn observed(calls: &[Call]) -> HashSet<u64> {
    let mut values = HashSet::new();
    for call in calls {
        match (call.told.map(|told| told.output), call.input) {
            (Some(Output::Value(value)), _)
            | (Some(Output::Written), Input::Cas { old: value, .. }) => {
                values.insert(value);
            }
            (Some(Output::Both(both)), _) => values.extend(both),
            (Some(Output::Written | Output::Deleted(_)) | None, _) => {}
        }
    }
    values
}

/// Returns the calls, except for unanswered calls whose values never occur. Such calls had no visible effect, and trying them
/// at all positions takes a long time.
fn with_effect(calls: &[Call], values: &HashSet<u64>) -> Vec<Call> {
    let had = |call: &&Call| match (call.told, call.input) {
        (None, Input::Put(_, new) | Input::Cas { new, .. }) => values.contains(&new),
        (None, Input::CasBoth { new, .. }) => new.iter().all(|new| values.contains(new)),
        (None, Input::Get(_) | Input::GetBoth) => false,
        (None, Input::Delete(_)) | (Some(_), _) => true,
    };
    calls.iter().filter(had).copied().collect()
}

fn linearizable(title: &str, calls: &[Call]) -> Result<(), String> {
    checker::check(calls).map_err(|refusal| format!("{title}: {refusal}"))
}

/// Waits until the members' states are equal and all leases have ended. Fails with the difference at the deadline. Fails
/// immediately if a member lacks an acknowledged probe.
pub(crate) fn judge_states(stage: &Stage, load: &Load, v2: bool) -> Result<(), String> {
    let runtime = grpc::runtime();
    let _context = runtime.enter();
    let keys = |channel: &Channel, prefix: &str, end: &str| {
        let there = runtime.block_on(grpc::keys(channel, prefix, end));
        let keys = there.kvs.into_iter().map(|kv| kv.key.to_vec());
        keys.collect::<BTreeSet<Vec<u8>>>()
    };
    let channels = load.channels();
    let acknowledged = load.acknowledged().clone();
    for (at, channel) in channels.iter().enumerate() {
        let there = keys(channel, probes::PREFIX, probes::PREFIX_END);
        none_lost(&acknowledged, &there).map_err(|wrong| format!("member {at} {wrong}"))?;
    }
    let deadline = Instant::now() + RECOVERY_MAX;
    loop {
        let members = stage.cluster.members().iter();
        let leased = |channel| keys(channel, leases::PREFIX, leases::PREFIX_END).len();
        let states = States {
            hashes: members.map(cluster::hash).collect(),
            leased: channels.iter().map(leased).collect(),
            trees: load.addresses.iter().map(|at| tree(at)).collect(),
            v2,
        };
        match states.judge() {
            Err(wrong) if Instant::now() > deadline => return Err(wrong),
            Err(_) => wait::wall_time(STATES_AGAIN),
            Ok(()) => return Ok(()),
        }
    }
}

pub(crate) fn none_lost(
    acknowledged: &[Acknowledged],
    there: &BTreeSet<Vec<u8>>,
) -> Result<(), String> {
    let lost = lost(acknowledged, there);
    match lost.is_empty() {
        true => Ok(()),
        false => Err(format!("has lost acknowledged writes: {lost:?}")),
    }
}

pub(crate) fn lost<'a>(
    acknowledged: &'a [Acknowledged],
    there: &BTreeSet<Vec<u8>>,
) -> Vec<&'a String> {
    let keys = acknowledged.iter().map(|one| &one.key);
    keys.filter(|key| !there.contains(key.as_bytes())).collect()
}

/// The states of all members. A value is `None` if the member does not answer.
#[derive(Clone, Debug)]
pub(crate) struct States {
    pub(crate) hashes: Vec<Option<String>>,
    pub(crate) leased: Vec<usize>,
    pub(crate) trees: Vec<Option<Value>>,
    pub(crate) v2: bool,
}

impl States {
    pub(crate) fn judge(&self) -> Result<(), String> {
        if self.leased.iter().any(|count| *count > 0) {
            return Err(format!(
                "leases have not ended: their keys are {:?}",
                self.leased
            ));
        }
        if !all_same(&self.hashes) {
            return Err(format!("the members' hashes differ: {:?}", self.hashes));
        }
        if self.v2 && !all_same(&self.trees) {
            return Err(format!("the members' v2 keys differ: {:?}", self.trees));
        }
        Ok(())
    }
}

fn all_same<T: PartialEq>(all: &[Option<T>]) -> bool {
    all[0].is_some() && all.iter().all(|one| *one == all[0])
}

fn tree(address: &str) -> Option<Value> {
    let target = format!("{}?recursive=true&sorted=true", tree::FOLDER);
    let answer = http::try_once(address, "GET", &target, &[], b"").ok()?;
    (answer.status == 200).then(|| answer.json())
}

//! What must be true when all faults are healed: nothing acknowledged is lost, every history has an order, every
//! watch saw every change once and in order, leases have ended, and all members have the same state.

use std::{
    collections::{BTreeSet, HashSet},
    fmt::Write as _,
};

use serde_json::Value;
use tonic::transport::Channel;
use witan_api::v3::etcdserverpb::{RangeRequest, RangeResponse, kv_client::KvClient};
use witan_e2e::{
    grpc, http,
    linear::{Batch, Call, Change, Input, Output, checker, record},
    wait,
};

use crate::{leases, load::Load, probes, stage::Stage, tree};

/// A range answer with all keys is larger than tonic's default.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Calls before the place of a failure that its message names.
const SHOWN: usize = 20;

/// Everything that the clients of a run say.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// How many were granted.
    pub(crate) leases: usize,
    pub(crate) calls: Vec<Call>,
    pub(crate) tree_calls: Vec<Call>,
    pub(crate) watches: Vec<Vec<Batch>>,
    /// A watch that began when all was over.
    pub(crate) fresh: Vec<Batch>,
}

impl Told {
    /// As text, to be read when something is wrong.
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
        text
    }

    /// What is wrong with it.
    pub(crate) fn judge(&self) -> Result<(), String> {
        let record = record::orderly(&self.fresh).map_err(|wrong| format!("a watch: {wrong}"))?;
        for watch in &self.watches {
            let seen = record::orderly(watch).map_err(|wrong| format!("a watch: {wrong}"))?;
            record::complete(&record, &seen, |_| true)
                .map_err(|wrong| format!("a watch: {wrong}"))?;
        }
        record::agree(&record, &self.calls).map_err(|wrong| format!("not as recorded: {wrong}"))?;
        linearizable("v3", &with_effect(&self.calls, &written(&record)))?;
        linearizable(
            "v2",
            &with_effect(&self.tree_calls, &observed(&self.tree_calls)),
        )?;
        let indices = self.tree_calls.iter().filter(|call| call.input.writes());
        let indices = indices.filter(|call| call.told.is_some_and(|t| t.output == Output::Written));
        let mut seen = HashSet::new();
        for call in indices {
            if !seen.insert(call.revision()) {
                return Err(format!("{call:?} shares its index with another write"));
            }
        }
        Ok(())
    }
}

/// Values that the record has.
fn written(record: &[Change]) -> HashSet<u64> {
    record.iter().map(|change| change.value).collect()
}

/// Values that an answer names, or that a successful comparison found.
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

/// Without calls that nobody answered and whose values do not occur: they had no effect that anybody saw, and a
/// search that tries them everywhere takes long.
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
    checker::check(calls).map_err(|refusal| {
        let from = refusal.reached.len().saturating_sub(SHOWN);
        format!(
            "{title}: pair {} is not linearizable: after {:#?}\nnone of {:#?} fits",
            refusal.pair,
            &refusal.reached[from..],
            refusal.stuck
        )
    })
}

/// What is wrong with the members' states.
pub(crate) fn judge_states(stage: &Stage, load: &Load, v2: bool) -> Result<(), String> {
    stage.cluster.wait_equal();
    let runtime = grpc::runtime();
    let _context = runtime.enter();
    for (at, channel) in load.channels().into_iter().enumerate() {
        let there = runtime.block_on(range(channel.clone(), probes::PREFIX, probes::PREFIX_END));
        let there: BTreeSet<Vec<u8>> = there.kvs.into_iter().map(|kv| kv.key.to_vec()).collect();
        let acknowledged = load.acknowledged();
        let lost = acknowledged
            .iter()
            .filter(|one| !there.contains(one.key.as_bytes()));
        let lost: Vec<&String> = lost.map(|one| &one.key).collect();
        if !lost.is_empty() {
            return Err(format!(
                "member {at} has lost acknowledged writes: {lost:?}"
            ));
        }
    }
    for channel in load.channels() {
        wait::until_true("all leases end", || {
            let read = range(channel.clone(), leases::PREFIX, leases::PREFIX_END);
            runtime.block_on(read).kvs.is_empty()
        });
    }
    if v2 {
        wait::until_true("all members have the same v2 keys", || {
            let mut trees = load.addresses.iter().map(|address| tree(address));
            let first = trees.next().flatten();
            first.is_some() && trees.all(|tree| tree == first)
        });
    }
    Ok(())
}

async fn range(channel: Channel, from: &str, to: &str) -> RangeResponse {
    let request = RangeRequest {
        key: from.to_owned().into(),
        range_end: to.to_owned().into(),
        keys_only: true,
        ..RangeRequest::default()
    };
    let mut client = KvClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX);
    let answer = client.range(request).await;
    answer.expect("a linearizable read").into_inner()
}

fn tree(address: &str) -> Option<Value> {
    let target = format!("{}?recursive=true&sorted=true", tree::FOLDER);
    let answer = http::try_once(address, "GET", &target, &[], b"").ok()?;
    (answer.status == 200).then(|| answer.json())
}

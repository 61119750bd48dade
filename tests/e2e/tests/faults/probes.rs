//! Sends puts to every member at a steady rate, independent of the results. The puts show which writes are acknowledged, and
//! for how long no write is acknowledged.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};
use witan_api::v3::etcdserverpb::kv_client::KvClient;
use witan_e2e::requests;

use crate::load::{CALL_TIMEOUT, Load};

pub(crate) const PREFIX: &str = "probe/";
pub(crate) const PREFIX_END: &str = "probe0";
const INTERVAL: Duration = Duration::from_millis(40);
const WAITING_MAX: usize = 100;

#[derive(Clone, Debug)]
pub(crate) struct Acknowledged {
    pub(crate) at: Instant,
    pub(crate) member: usize,
    pub(crate) key: String,
}

/// Puts new keys to a member until the load stops. Skips a put while [`WAITING_MAX`] puts are unanswered.
pub(crate) async fn probe(load: Arc<Load>, member: usize) {
    let channel = load.channels().swap_remove(member);
    let mut waiting = JoinSet::new();
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut count = 0;
    while !load.is_stopped() {
        load.late(ticks.tick().await.elapsed());
        while waiting.try_join_next().is_some() {}
        if waiting.len() >= WAITING_MAX {
            continue;
        }
        count += 1;
        let key = format!("{PREFIX}{member}/{count}");
        let put = requests::put(key.clone(), "v");
        let (load, mut kv) = (load.clone(), KvClient::new(channel.clone()));
        waiting.spawn(async move {
            let answer = timeout(CALL_TIMEOUT, kv.put(put)).await;
            if answer.is_ok_and(|answer| answer.is_ok()) {
                let at = Instant::now();
                load.acknowledged().push(Acknowledged { at, member, key });
            }
        });
    }
    waiting.join_all().await;
}

/// Returns the longest time without an acknowledged put between `from` and `to`.
pub(crate) fn longest_pause(load: &Load, from: Instant, to: Instant) -> Duration {
    let all = load.acknowledged();
    let mut moments: Vec<Instant> = all.iter().map(|one| one.at).collect();
    moments.retain(|at| (from..=to).contains(at));
    moments.extend([from, to]);
    moments.sort_unstable();
    let pauses = moments.windows(2).map(|pair| pair[1] - pair[0]);
    pauses.max().unwrap_or_default()
}

/// Returns whether every member has acknowledged a write since `since`.
pub(crate) fn all_serve(load: &Load, since: Instant) -> bool {
    let all = load.acknowledged();
    let recent = || all.iter().rev().take_while(|one| one.at >= since);
    (0..load.addresses.len()).all(|member| recent().any(|one| one.member == member))
}

//! Joins a running cluster (`--initial-cluster-state=existing`) and refuses to start a member that has lost its data. In both
//! cases, queries the members in `--initial-cluster`.

use std::{collections::BTreeSet, time::Duration};

use futures_util::future::join_all;
use tokio::time::{Instant, sleep};
use witan_api::peer::Member;
use witan_config::{ClusterState, Config, Url};
use witan_machine::{
    levels::{self, Level},
    member::MemberId,
    view::View,
};
use witan_peer::{
    PeerDialer,
    query::{self, RemoteCluster},
};
use witan_snapshot as snapshot;
use witan_storage::DataIdentity;
use witan_transport::error_text;

use super::{
    FirstState,
    etcd::{self, EtcdMember},
};

/// Time for which a joining member retries while no other member answers. etcd also waits this long for a response, but gives
/// up immediately if a connection is refused.
const JOIN_PATIENCE: Duration = Duration::from_secs(10);

const JOIN_RETRY: Duration = Duration::from_millis(250);

/// The reason why a member did not join. The messages begin like etcd's messages.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the Display texts describe the variants")]
pub enum JoinError {
    #[error(
        "cannot fetch cluster info from peer urls: could not retrieve cluster information from the given \
         URLs: {0}. The members of --initial-cluster must be running and reachable from this member"
    )]
    Unreachable(String),
    #[error(
        "cannot fetch cluster info from peer urls: could not retrieve cluster information from the given \
         URLs: --initial-cluster names no other member, and this member has no data. If its data is lost, remove it from \
         the cluster (member remove), add it again, and name all members in --initial-cluster"
    )]
    Alone,
    #[error(
        "error validating peerURLs {known}: member count is unequal: --initial-cluster names {given} \
         members. It must name this member and all members of the cluster"
    )]
    Count { known: String, given: usize },
    #[error(
        "error validating peerURLs {known}: unmatched member while checking PeerURLs ({urls}). Add this \
         member to the cluster first (member add), and name the same URLs in --initial-cluster"
    )]
    Unmatched { known: String, urls: String },
    #[error(
        "member {0} has already been bootstrapped. If its data is lost, remove it from the cluster \
         (member remove), add it again, and start it with --initial-cluster-state=existing"
    )]
    Bootstrapped(MemberId),
    #[error(
        "--force-new-cluster would remove the members running at {0}. Nothing was removed. Stop these members first, or start \
         without the flag. A process with which the TLS handshake fails is treated as a running member"
    )]
    OthersRun(String),
    #[error(
        "the cluster has feature level {0}, but this release has feature level {own}; start a release with feature level {0}",
        own = levels::OWN
    )]
    Level(Level),
    #[error(transparent)]
    Etcd(#[from] EtcdMember),
}

/// Queries the other members of `--initial-cluster`. Returns the first state of a member that joins their cluster, or `None` if
/// this member starts a new cluster. Fails if another member runs etcd, or knows that this member has already run. A member
/// that joins also fails if no other member is named or answers. It also fails if the members do not match or the feature level
/// is too high. For a new cluster, ignores members that do not answer.
pub async fn query_members(
    config: &Config,
    dialer: &PeerDialer,
) -> Result<Option<FirstState>, JoinError> {
    let others = config.initial_cluster.iter();
    let others = others.filter(|(name, _)| *name != config.name);
    let urls: Vec<&Url> = others.flat_map(|(_, urls)| urls).collect();
    match config.initial_cluster_state {
        ClusterState::New => {
            let asked = tokio::join!(ask_all(&urls, dialer), etcd::refuse(&urls, dialer));
            let ((clusters, _), of_etcd) = asked;
            of_etcd?;
            check_not_started(super::own_id(config), &clusters).map(|()| None)
        }
        // Only a member that had data starts with such flags, because no member can join alone.
        ClusterState::Existing if urls.is_empty() => Err(JoinError::Alone),
        ClusterState::Existing => {
            let cluster = fetch_clusters_with_retry(&urls, dialer).await;
            let cluster = cluster.map_err(JoinError::Unreachable)?;
            etcd::refuse(&urls, dialer).await?;
            let asked = urls.iter().map(|url| query::cluster_level(url, dialer));
            let levels: Vec<_> = join_all(asked).await.into_iter().flatten().collect();
            check_level(&levels)?;
            joined(config, &cluster).map(Some)
        }
    }
}

/// Queries the members at these URLs for up to [`JOIN_PATIENCE`] until one answers. Returns all responses of that round, or the
/// error of each member in the last round. Logs a warning before the first retry.
async fn fetch_clusters_with_retry(
    urls: &[&Url],
    dialer: &PeerDialer,
) -> Result<Vec<RemoteCluster>, String> {
    let until = Instant::now() + JOIN_PATIENCE;
    let mut warned = false;
    loop {
        let (clusters, failures) = ask_all(urls, dialer).await;
        if !clusters.is_empty() {
            return Ok(clusters);
        }
        if Instant::now() + JOIN_RETRY > until {
            return Err(failures.join(", "));
        }
        if !std::mem::replace(&mut warned, true) {
            let failures = failures.join(", ");
            tracing::warn!(failures, "no member of the cluster answers; retrying");
        }
        sleep(JOIN_RETRY).await;
    }
}

/// Queries the members at these URLs at the same time. Returns the responses, and an error message for each URL without one.
async fn ask_all(urls: &[&Url], dialer: &PeerDialer) -> (Vec<RemoteCluster>, Vec<String>) {
    let answers = join_all(urls.iter().map(|url| query::cluster(url, dialer))).await;
    let mut failures = Vec::new();
    let mut clusters = Vec::new();
    for (url, answer) in urls.iter().zip(answers) {
        match answer {
            Ok(cluster) => clusters.push(cluster),
            Err(error) => failures.push(format!("{url}: {}", error_text(&error))),
        }
    }
    (clusters, failures)
}

/// Fails if this release does not support the cluster's feature level, because the other members would refuse its streams. Uses
/// the highest of `levels`, because a member that is still applying its log may report a lower level.
fn check_level(levels: &[Level]) -> Result<(), JoinError> {
    match levels.iter().max() {
        Some(level) if *level > levels::OWN => Err(JoinError::Level(*level)),
        Some(_) | None => Ok(()),
    }
}

/// Fails if a member of the cluster may run at one of these peer URLs. Without this check, `--force-new-cluster` could create a
/// second cluster with the same id. Ignores invalid URLs.
pub async fn refuse_running(
    cluster_id: u64,
    peer_urls: &BTreeSet<String>,
    dialer: &PeerDialer,
) -> Result<(), JoinError> {
    let urls: Vec<Url> = peer_urls
        .iter()
        .filter_map(|url| url.parse().ok())
        .collect();
    let asked = join_all(
        urls.iter()
            .map(|url| query::may_run(url, dialer, cluster_id)),
    );
    let answered = urls.iter().zip(asked.await);
    let running = answered.filter(|(_, may_run)| *may_run);
    let running: Vec<String> = running.map(|(url, _)| url.to_string()).collect();
    match running.is_empty() {
        true => Ok(()),
        false => Err(JoinError::OthersRun(running.join(", "))),
    }
}

/// Fails if another member knows this member's client URLs, which only a member with data publishes. Without its data, this
/// member could vote twice in a term or vote for a candidate without entries that this member has acknowledged.
fn check_not_started(own: MemberId, clusters: &[RemoteCluster]) -> Result<(), JoinError> {
    match started_members(clusters).any(|member| MemberId(member.id) == own) {
        true => Err(JoinError::Bootstrapped(own)),
        false => Ok(()),
    }
}

/// Iterates over the members that have published client URLs, in all responses.
fn started_members(clusters: &[RemoteCluster]) -> impl Iterator<Item = &Member> {
    let members = clusters.iter().flat_map(|cluster| &cluster.members);
    members.filter(|member| !member.client_urls.is_empty())
}

/// Returns the first state of this member from the first response that matches `--initial-cluster`: the cluster's members, an
/// empty log position and no voters. Checks all responses, because a member that is still applying its log might not know the
/// latest members. If no response matches, fails with the error of the first response. Also fails if the member has already
/// started, because members may have been added or removed since. `clusters` must not be empty.
fn joined(config: &Config, clusters: &[RemoteCluster]) -> Result<FirstState, JoinError> {
    let fits = |cluster| own_id_in(config, cluster).map(|id| (cluster, id));
    let later = |error| {
        let mut fitting = clusters[1..]
            .iter()
            .filter_map(|cluster| fits(cluster).ok());
        fitting.next().ok_or(error)
    };
    let fitting = fits(&clusters[0]).or_else(later);
    let (cluster, own_id) =
        fitting.map_err(|error| match started_at_own_urls(config, clusters) {
            Some(id) => JoinError::Bootstrapped(id),
            None => error,
        })?;
    check_not_started(own_id, clusters)?;
    let mut state = Box::<View>::default();
    let members = &mut state.machine.members;
    members.cluster_id = cluster.id;
    for shown in cluster.members.iter().cloned() {
        let member = snapshot::known_member(shown);
        members.by_id.insert(member.member_id(), member);
    }
    Ok((DataIdentity::new(cluster.id, own_id), state))
}

/// Returns the id of a member that has this member's peer URLs and has published its client URLs. Returns `None` if there is no
/// such member.
fn started_at_own_urls(config: &Config, clusters: &[RemoteCluster]) -> Option<MemberId> {
    let mut named = config.initial_cluster.iter();
    let (_, own_urls) = named.find(|(name, _)| *name == config.name)?;
    let started = started_members(clusters).find(|member| has_urls(&member.peer_urls, own_urls));
    started.map(|member| MemberId(member.id))
}

/// Matches the members of `--initial-cluster` with the members of `cluster` by their peer URLs and returns this member's id.
/// Fails if the numbers of members differ, or if a member has no match.
fn own_id_in(config: &Config, cluster: &RemoteCluster) -> Result<MemberId, JoinError> {
    let known = || {
        let members = cluster.members.iter();
        let urls = members.map(|member| member.peer_urls.join(","));
        urls.collect::<Vec<_>>().join(",")
    };
    if cluster.members.len() != config.initial_cluster.len() {
        let given = config.initial_cluster.len();
        return Err(JoinError::Count { known: known(), given });
    }
    let mut own_id = MemberId::NONE;
    for (name, urls) in &config.initial_cluster {
        let found = cluster
            .members
            .iter()
            .find(|member| has_urls(&member.peer_urls, urls));
        let found = found.ok_or_else(|| JoinError::Unmatched {
            known: known(),
            urls: format!("{name}={}", text(urls)),
        })?;
        if *name == config.name {
            own_id = MemberId(found.id);
        }
    }
    Ok(own_id)
}

/// Returns whether both lists name the same endpoints, in any order. Returns `false` if a known URL is invalid.
fn has_urls(known: &[String], given: &[Url]) -> bool {
    let parsed: Result<Vec<Url>, _> = known.iter().map(|url| url.parse()).collect();
    parsed.is_ok_and(|parsed| Url::same_endpoints(&parsed, given))
}

/// Formats URLs as a comma-separated list, for an error.
fn text(urls: &[Url]) -> String {
    let urls = urls.iter().map(ToString::to_string);
    urls.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use witan_api::peer;
    use witan_replica::{
        host::Recovered,
        replica::{ForceError, Replica},
    };

    use super::*;

    /// Returns the configuration of the member `b` in a cluster of `a` and `b`.
    fn config(state: ClusterState) -> Config {
        let url = |text: &str| vec![text.parse().expect("a URL")];
        Config {
            name: "b".into(),
            initial_cluster: vec![
                ("a".into(), url("http://127.0.0.1:1")),
                ("b".into(), url("http://127.0.0.1:2")),
            ],
            initial_cluster_state: state,
            ..Config::default()
        }
    }

    /// Returns a cluster with these member ids and peer URLs. All members except the last one have published a client URL.
    fn cluster(urls: &[(u64, &str)]) -> RemoteCluster {
        let last = urls.last().map(|(id, _)| *id);
        let client_urls = |id| match Some(id) == last {
            true => Vec::new(),
            false => vec!["http://127.0.0.1:9".to_owned()],
        };
        let member = |(id, url): &(u64, &str)| peer::Member {
            id: *id,
            peer_urls: vec![(*url).to_owned()],
            client_urls: client_urls(*id),
            ..peer::Member::default()
        };
        RemoteCluster { id: 0xC1, members: urls.iter().map(member).collect() }
    }

    /// An operator can restart a member whose disk was replaced by an empty one.
    #[tokio::test]
    async fn a_member_without_data_does_not_join_alone() {
        let mut alone = config(ClusterState::Existing);
        alone.initial_cluster.remove(0);
        let refusal = query_members(&alone, &PeerDialer::default()).await;
        assert!(matches!(refusal, Err(JoinError::Alone)), "{refusal:?}");
    }

    #[test]
    fn a_joining_member_finds_its_id_by_its_urls() {
        let config = config(ClusterState::Existing);
        let two = cluster(&[(7, "http://127.0.0.1:1"), (8, "http://localhost:2")]);
        let (identity, state) = joined(&config, &[two]).expect("a matching cluster");
        assert_eq!(identity, DataIdentity::new(0xC1, MemberId(8)));
        assert_eq!(state.machine.members.by_id.len(), 2);
        assert!(state.position.index == 0 && state.position.voters.is_empty());
        let mut recovered = Recovered { checkpoint: Some(*state), ..Recovered::default() };
        assert_eq!(
            Replica::force_new_cluster(&mut recovered, MemberId(8), levels::OWN),
            Err(ForceError::NoState)
        );

        let one = cluster(&[(7, "http://127.0.0.1:1")]);
        let latest = cluster(&[(7, "http://127.0.0.1:1"), (8, "http://127.0.0.1:2")]);
        assert!(
            joined(&config, &[one.clone(), latest]).is_ok(),
            "the first member may still be applying its log"
        );
        let refusal = joined(&config, &[one])
            .expect_err("the member is missing")
            .to_string();
        assert!(refusal.contains("member count is unequal"), "{refusal}");
        let other = cluster(&[(7, "http://127.0.0.1:1"), (8, "http://127.0.0.1:3")]);
        let refusal = joined(&config, &[other])
            .expect_err("another URL")
            .to_string();
        assert!(refusal.contains("unmatched member"), "{refusal}");
        // The cluster has grown since the member started.
        let urls = [7, 8, 9].map(|id| (id, format!("http://127.0.0.1:{}", id - 6)));
        let grown = cluster(&urls.each_ref().map(|(id, url)| (*id, url.as_str())));
        let refusal = joined(&config, &[grown]).expect_err("the member has no data");
        assert!(
            matches!(refusal, JoinError::Bootstrapped(MemberId(8))),
            "{refusal:?}"
        );
    }

    #[test]
    fn a_cluster_above_the_level_of_this_release_is_not_joined() {
        let own = levels::OWN;
        assert!(check_level(&[]).is_ok() && check_level(&[own]).is_ok());
        let refused = check_level(&[own, own + 1]).expect_err("one member knows the level");
        let expected = format!("start a release with feature level {}", own + 1);
        assert!(refused.to_string().ends_with(&expected), "{refused}");
    }

    #[test]
    fn a_member_that_was_started_before_does_not_bootstrap_again() {
        let joins = config(ClusterState::Existing);
        let behind = cluster(&[(7, "http://127.0.0.1:1"), (8, "http://127.0.0.1:2")]);
        assert!(
            check_not_started(MemberId(8), std::slice::from_ref(&behind)).is_ok(),
            "the member never started"
        );
        assert!(
            joined(&joins, std::slice::from_ref(&behind)).is_ok(),
            "the member never started"
        );
        let mut known = behind.clone();
        known.members[1].client_urls = known.members[0].client_urls.clone();
        let refusals = [
            check_not_started(MemberId(8), &[known.clone()]).expect_err("the member was started"),
            joined(&joins, &[known.clone()]).expect_err("the member was started"),
            joined(&joins, &[behind, known]).expect_err("a member knows the URLs"),
        ];
        for refusal in refusals.map(|refusal| refusal.to_string()) {
            assert!(
                refusal.contains("member 8 has already been bootstrapped"),
                "{refusal}"
            );
        }
    }
}

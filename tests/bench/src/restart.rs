//! Fills a server, kills it and restarts it, and optionally adds a learner. Measures memory, disk and durations by the amount
//! of data.

use std::time::{Duration, Instant};

use witan_api::v3::etcdserverpb::{MemberAddRequest, cluster_client::ClusterClient};
use witan_e2e::{Cluster, Server, cluster, grpc, process, wait};

use crate::{
    load::{self, FILLERS, SETTLE},
    program::Program,
    table,
    verb::VALUE_BYTES,
    watched::{Clock, SizedPut},
};

/// Maximum time for a restart, or until a learner has the state.
const BACK_MAX: Duration = Duration::from_secs(1800);

/// Quota of a server, as a multiple of the values' size, and the minimum quota in bytes.
const QUOTA_TIMES: u64 = 4;
const QUOTA_MIN: u64 = 8 << 30;

/// The amounts of data and the actions to measure.
#[derive(Clone, Debug, clap::Args)]
pub struct Scale {
    /// Numbers of keys to measure, in this order: each server is filled, killed and restarted.
    #[arg(long, value_delimiter = ',')]
    pub keys: Vec<u64>,
    /// Size of each value in bytes.
    #[arg(long, default_value_t = VALUE_BYTES)]
    pub value_bytes: usize,
    /// Number of restarts or of measurements of a load.
    #[arg(long, default_value_t = 2)]
    pub rounds: usize,
    /// Also adds a learner, which receives the state.
    #[arg(long)]
    pub rebuild: bool,
}

/// Measures each number of keys on a new server of each program and prints a table. Must run in a `LocalSet`. Panics if a
/// server refuses a request.
pub async fn measure(programs: &[Program], scale: &Scale) {
    println!(
        "keys of 16 bytes, values of {}\n\n{}",
        scale.value_bytes,
        table::FILL_HEAD
    );
    for &keys in &scale.keys {
        for program in programs {
            println!(
                "| {keys} | {} | {}",
                program.name,
                one(program, keys, scale).await
            );
        }
    }
}

/// Returns the table cells of a program. A cell of a restart shows the minimum duration or the minimum CPU time of all rounds.
async fn one(program: &Program, keys: u64, scale: &Scale) -> String {
    let quota = quota(keys, scale);
    let mut cluster = Cluster::prepare_of(&program.launch().arg(&quota), "http", 1);
    cluster.start_all();
    let server = cluster.member(0);
    let before = process::cpu(server.pid());
    let put = SizedPut { clock: Clock::start(), value_bytes: scale.value_bytes };
    load::fill_by(&server.address(), || put, keys, FILLERS).await;
    tokio::time::sleep(SETTLE).await;
    let spent = process::cpu(server.pid()).saturating_sub(before);
    let resident = process::resident_bytes(server.pid()) >> 20;
    let disk = process::folder_bytes(server.dir()) >> 20;
    let written = process::written_bytes(server.pid()) >> 20;
    let (mut restart, mut start_cpu) = (Duration::MAX, Duration::MAX);
    // Use the minimum of all rounds, because other work on the machine only adds time.
    for _ in 0..scale.rounds {
        let server = cluster.member_mut(0);
        server.kill9();
        let took = start_again(server);
        let took = took.unwrap_or_else(|| panic!("it ended: {}", server.tail()));
        restart = restart.min(took);
        start_cpu = start_cpu.min(process::cpu(server.pid()));
    }
    let again = process::resident_bytes(cluster.member(0).pid()) >> 20;
    let rebuild = match scale.rebuild {
        true => format!(
            "{:.1}",
            rebuild(&mut cluster, program, &quota).await.as_secs_f64()
        ),
        false => String::new(),
    };
    format!(
        "{resident} | {disk} | {written} | {:.1} | {:.1} | {:.1} | {again} | {rebuild} |",
        spent.as_secs_f64(),
        restart.as_secs_f64(),
        start_cpu.as_secs_f64(),
    )
}

/// Returns the argument for a quota that `keys` keys do not reach.
pub(crate) fn quota(keys: u64, scale: &Scale) -> String {
    let bytes = QUOTA_MIN.max(keys * scale.value_bytes as u64 * QUOTA_TIMES);
    format!("--quota-backend-bytes={bytes}")
}

/// Starts a killed server. Returns the time until it serves, or `None` if the server exits before it serves. Panics after
/// `BACK_MAX`.
pub(crate) fn start_again(server: &mut Server) -> Option<Duration> {
    let begun = Instant::now();
    server.start_unready_again();
    wait::within(BACK_MAX, "the server serves again, or ends", || {
        if !server.runs() {
            return Some(None);
        }
        server.is_healthy().then(|| Some(begun.elapsed()))
    })
}

/// Adds a learner. Returns the time from its start until it has applied the entries that the leader had applied before. Puts a
/// key at each check.
async fn rebuild(cluster: &mut Cluster, program: &Program, quota: &str) -> Duration {
    let launch = program.launch().arg(quota);
    let learner = cluster.prepare_joining_of(&launch, "http", &[0]);
    let channel = grpc::connect(&cluster.member(0).address()).await;
    let add = MemberAddRequest {
        peer_urls: vec![cluster.member(learner).peer_url()],
        is_learner: true,
    };
    let added = ClusterClient::new(channel).member_add(add).await;
    added.expect("a learner can be added");
    let applied = |at| Some(cluster::status(cluster.member(at))?.applied);
    let wanted = wait::until("the leader answers", || applied(0));
    let begun = Instant::now();
    cluster.member_mut(learner).start_unready_again();
    wait::within(BACK_MAX, "the learner has the state", || {
        // After a snapshot, etcd's learner refuses its own requests with "too many requests" until the next entry.
        let written = cluster
            .member(0)
            .v3("kv/put", r#"{"key":"YQ==","value":"YQ=="}"#);
        assert!(written["header"].is_object(), "{written}");
        let applied = cluster::status(cluster.member(learner))?.applied;
        (applied >= wanted).then_some(())
    });
    begun.elapsed()
}

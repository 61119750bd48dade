//! Small puts with `ignore_value` on a large value. Each put stores the value again.

use witan_api::v3::etcdserverpb::PutRequest;
use witan_e2e::{Launch, Server};

use crate::{
    h2,
    shares::ask,
    stage::{SLACK_BYTES, load_on, patiently},
};

const VALUE_BYTES: usize = 1_000_000;

/// Number of puts that keep the value. Together they write 40 times the quota.
const KEPT: u32 = 2_560;

const QUOTA_BYTES: u64 = 64 << 20;

/// Maximum size in bytes of commands in flight when the quota is used up (`Resource::Proposals`).
const IN_FLIGHT_BYTES: u64 = 64 << 20;

/// Memory in bytes of the request and the value, which exist in several forms.
const DATA_BYTES: u64 = 32 << 20;

fn puts_handled(server: &Server) -> f64 {
    let metrics = server.http("GET", "/metrics", "").text();
    let puts = metrics
        .lines()
        .filter(|line| line.starts_with("grpc_server_handled_total") && line.contains("\"Put\""));
    let counts = puts.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    counts.sum()
}

#[test]
fn a_kept_value_counts_like_a_sent_one() {
    let launch = Launch::witan().arg(format!("--quota-backend-bytes={QUOTA_BYTES}"));
    // Each kept value is in memory until a checkpoint contains it.
    let bound = SLACK_BYTES + DATA_BYTES + QUOTA_BYTES;
    load_on(launch, "kept values", bound, |server| {
        let value = "djc3".repeat(VALUE_BYTES / 3);
        let body = format!(r#"{{"key":"a2V5","value":"{value}"}}"#);
        server.v3("kv/put", &body);
        let mut client = h2::open(server, Some((1 << 31) - 1));
        let put = PutRequest { key: "key".into(), ignore_value: true, ..Default::default() };
        assert!(ask(&mut client, KEPT, "/etcdserverpb.KV/Put", &put));
        patiently("all answers", || puts_handled(server) >= f64::from(KEPT));
        let status = server.v3("maintenance/status", "{}");
        let size = status["dbSize"].as_str().expect("a size");
        let size: u64 = size.parse().expect("a number");
        let bound = QUOTA_BYTES + IN_FLIGHT_BYTES + DATA_BYTES;
        assert!(size <= bound, "{size} bytes");
        format!(
            "{KEPT} x {VALUE_BYTES} bytes kept: {} MiB stored | no others",
            size >> 20
        )
    });
}

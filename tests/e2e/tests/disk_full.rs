//! A disk that becomes full, through another file and through the data itself. Acknowledged writes stay, and reads and watches
//! continue. Requests that free space are accepted. Once there is space, all writes are accepted.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use witan_e2e::{Disk, Launch, Server, disk, http, wait};

const DISK_MIB: usize = 64;
const VALUE_BYTES: usize = 48 << 10;

/// Time after which a member on a full disk no longer writes a checkpoint that would free space.
const SETTLED: Duration = Duration::from_secs(1);

/// Enough values to fill the disk.
const VALUES: usize = 2000;

fn on_a_small_disk(test: &str, case: fn(&Disk)) {
    disk::on_a_small_disk(test, DISK_MIB, case);
}

fn start(disk: &Disk) -> Server {
    Launch::witan().dir(disk.path().join("witan")).start()
}

/// Puts a value of `bytes` bytes and returns the response. Keys and values consist of base64 letters.
fn put(server: &Server, key: usize, bytes: usize) -> (u16, Value) {
    let body = json!({ "key": format!("k{key:07}"), "value": "v".repeat(bytes) });
    server.try_v3("kv/put", &body)
}

fn count(server: &Server) -> String {
    let all = json!({ "key": "AA==", "range_end": "AA==", "count_only": true });
    let (status, answer) = server.try_v3("kv/range", &all);
    assert_eq!(status, 200, "{answer}");
    answer["count"].as_str().unwrap_or("0").to_owned()
}

fn assert_refused((status, answer): (u16, Value)) {
    assert_eq!(status, 429, "{answer}");
    let text = answer["message"].as_str().or(answer["error"].as_str());
    assert_eq!(text, Some("etcdserver: mvcc: database space exceeded"));
}

fn assert_full(server: &Server) {
    assert_refused(put(server, 0, 8));
    assert_refused(server.try_v3("lease/grant", &json!({ "TTL": "60" })));
    let v2 = server.http("PUT", "/v2/keys/grows", "value=x");
    assert_eq!((v2.status, &v2.json()["errorCode"]), (507, &json!(302)));
    let v1 = server.http("POST", "/v1/keys/grows", "value=x");
    assert_eq!((v1.status, &v1.json()["errorCode"]), (500, &json!(300)));
    let listed = server.try_v3("maintenance/alarm", &json!({})).1;
    assert_eq!(listed["alarms"][0]["alarm"], "NOSPACE", "{listed}");
    let health = server.answers(503, "GET", "/health", "");
    assert!(health.text().contains("ALARM NOSPACE"), "{}", health.text());
    server.answers(200, "GET", "/livez", "");
    server.answers(200, "GET", "/readyz", "");
}

/// Writes until no write is accepted for [`SETTLED`]. Returns the number of accepted writes. After the first refusal, a
/// checkpoint can still delete its part of the log, so that more writes are accepted.
fn fill_with_values(server: &Server) -> usize {
    let mut accepted = 0;
    let mut refused_since = Instant::now();
    while refused_since.elapsed() < SETTLED {
        assert!(accepted < VALUES, "the values exceed the disk");
        match put(server, accepted, VALUE_BYTES).0 {
            200 => {
                accepted += 1;
                refused_since = Instant::now();
            }
            _ => wait::wall_time(SETTLED / 50),
        }
    }
    accepted
}

fn until_room(server: &Server) {
    wait::until_true("writes are accepted again", || put(server, 0, 8).0 == 200);
    let listed = server.try_v3("maintenance/alarm", &json!({})).1;
    assert!(listed.get("alarms").is_none(), "{listed}");
    server.answers(200, "GET", "/health", "");
}

fn metric(server: &Server, name: &str) -> f64 {
    server.metric(name).expect("the series is there")
}

/// The data directory has space, but the log in `--wal-dir` has none.
#[test]
fn a_full_disk_of_the_log_alone_refuses_writes() {
    let test = "a_full_disk_of_the_log_alone_refuses_writes";
    on_a_small_disk(test, |disk| {
        let wal = disk.path().join("wal");
        let mut server = Launch::witan()
            .arg(format!("--wal-dir={}", wal.display()))
            .start();
        assert_eq!(put(&server, 0, VALUE_BYTES).0, 200);
        assert!(wal.join("log/ballast").exists());
        // Stop the member, so that it does not delete its ballast before the disk is full.
        server.signal("STOP");
        disk.fill();
        server.signal("CONT");
        wait::until_true("the full disk is detected", || put(&server, 0, 8).0 == 429);
        assert_full(&server);
        server.kill9();
        server.start_unhealthy_again();
        assert_eq!(count(&server), "1");
        disk.make_room();
        until_room(&server);
    });
}

#[test]
fn a_disk_filled_by_others_refuses_writes_until_there_is_space() {
    let test = "a_disk_filled_by_others_refuses_writes_until_there_is_space";
    on_a_small_disk(test, |disk| {
        let mut server = start(disk);
        for key in 0..10 {
            assert_eq!(put(&server, key, VALUE_BYTES).0, 200);
        }
        server.http("PUT", "/v2/keys/watched", "value=x");
        assert!(metric(&server, "witan_disk_ballast_bytes") > 0.0);
        // Stop the member, so that it does not delete its ballast before the disk is full.
        server.signal("STOP");
        disk.fill();
        server.signal("CONT");
        wait::until_true("it is noticed", || put(&server, 0, 8).0 != 200);
        assert_full(&server);
        assert_eq!(count(&server), "10");
        wait::until_true("the ballast is deleted", || {
            metric(&server, "witan_disk_ballast_bytes") == 0.0
        });

        // Watches continue, and requests that free space are accepted.
        let address = server.address();
        let watcher = thread::spawn(move || {
            http::once(&address, "GET", "/v2/keys/watched?wait=true", "").json()
        });
        wait::until_true("somebody watches", || {
            metric(&server, "etcd_debugging_store_watchers") > 0.0
        });
        server.answers(200, "DELETE", "/v2/keys/watched", "");
        let event = watcher.join().expect("the watch gets an event");
        assert_eq!(event["action"], "delete", "{event}");
        let one = json!({ "key": "k0000009" });
        assert_eq!(server.try_v3("kv/deleterange", &one).0, 200);

        // Without the ballast's space, no write is accepted, and no member exits.
        disk.fill();
        wait::until_true("no write is accepted", || {
            server.try_v3("kv/deleterange", &one).0 == 429
        });
        assert_eq!(count(&server), "9");
        assert!(server.runs(), "{}", server.tail());
        disk.make_room();
        until_room(&server);
        wait::until_true("the ballast exists again", || {
            metric(&server, "witan_disk_ballast_bytes") > 0.0
        });

        // A start on a full disk uses the ballast.
        server.kill9();
        disk.fill();
        server.start_unhealthy_again();
        assert_full(&server);
        assert_eq!(count(&server), "9");
        server.kill9();
        server.start_unhealthy_again();
        assert_full(&server);
        disk.make_room();
        until_room(&server);
        assert_eq!(count(&server), "9");
    });
}

#[test]
fn a_disk_filled_by_own_data_can_free_space() {
    let test = "a_disk_filled_by_own_data_can_free_space";
    on_a_small_disk(test, |disk| {
        let mut server = start(disk);
        let acknowledged = fill_with_values(&server);
        assert!(acknowledged > 100, "{acknowledged}");
        assert_full(&server);
        assert_eq!(count(&server), acknowledged.to_string());
        server.kill9();
        server.start_unhealthy_again();
        assert_eq!(count(&server), acknowledged.to_string(), "none is lost");

        let all = json!({ "key": "AA==", "range_end": "AA==" });
        let (status, deleted) = server.try_v3("kv/deleterange", &all);
        assert_eq!(status, 200, "{deleted}");
        let revision = &deleted["header"]["revision"];
        let compact = json!({ "revision": revision, "physical": true });
        assert_eq!(server.try_v3("kv/compaction", &compact).0, 200);
        let (status, done) = server.try_v3("maintenance/defragment", &json!({}));
        assert_eq!(status, 200, "{done}");
        until_room(&server);
        server.kill9();
        server.start_unhealthy_again();
        assert_eq!(count(&server), "1");
    });
}

#[test]
fn reserve_and_ballast_have_the_configured_sizes() {
    let asked = Launch::witan()
        .arg("--disk-reserve-bytes=1000000")
        .arg("--disk-ballast-bytes=200000")
        .start();
    let ballast = |server: &Server| server.dir().join("data/member/ballast");
    assert_eq!(metric(&asked, "witan_disk_reserve_bytes"), 1e6);
    assert_eq!(metric(&asked, "witan_disk_ballast_bytes"), 2e5);
    let file = fs::metadata(ballast(&asked)).expect("the ballast exists");
    assert_eq!(file.len(), 200_000);
    let none = Launch::witan().arg("--disk-reserve-bytes=-1").start();
    assert_eq!(metric(&none, "witan_disk_reserve_bytes"), 0.0);
    assert!(!ballast(&none).exists());
}

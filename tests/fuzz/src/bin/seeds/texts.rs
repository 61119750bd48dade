//! Configuration, small files, and values for Go's textual forms.

use super::Corpus;

const CONFIGS: &[(&str, &str)] = &[
    (
        "etcd-sample",
        "# This is the configuration file for the etcd server.\nname: 'default'\ndata-dir:\nwal-dir:\nsnapshot-count: 10000\nheartbeat-interval: 100\nelection-timeout: 1000\nquota-backend-bytes: 0\nlisten-peer-urls: http://localhost:2380\nlisten-client-urls: http://localhost:2379\nmax-snapshots: 5\nmax-wals: 5\ncors:\ninitial-advertise-peer-urls: http://localhost:2380\nadvertise-client-urls: http://localhost:2379\ninitial-cluster:\ninitial-cluster-token: 'etcd-cluster'\ninitial-cluster-state: 'new'\nstrict-reconfig-check: false\nenable-pprof: true\nproxy: 'off'\nclient-transport-security:\n  cert-file:\n  key-file:\n  client-cert-auth: false\n  trusted-ca-file:\n  auto-tls: false\nlog-level: debug\nlogger: zap\nlog-outputs: [stderr]\nforce-new-cluster: false\nauto-compaction-mode: periodic\nauto-compaction-retention: \"1\"\n",
    ),
    (
        "three-members",
        "name: m1\ninitial-cluster: m1=http://127.0.0.1:2380,m2=http://127.0.0.1:2381,m3=http://127.0.0.1:2382\ninitial-advertise-peer-urls: http://127.0.0.1:2380\ninitial-cluster-state: existing\nlisten-client-urls: http://127.0.0.1:2379,unix://w.sock:1\nadvertise-client-urls: http://127.0.0.1:2379\n",
    ),
    (
        "log-and-limits",
        "log-outputs: [stdout, /tmp/w.log]\nlog-level: warn\nenable-log-rotation: true\nlog-rotation-config-json: '{\"maxsize\": 10, \"maxage\": 0, \"maxbackups\": 3, \"compress\": false}'\nmax-request-bytes: 10485761\nmax-txn-ops: 1024\nquota-backend-bytes: -1\ngrpc-keepalive-interval: 2h0m0s\ngrpc-keepalive-timeout: 20s\nwarning-apply-duration: 250000000\nmax-concurrent-streams: 100\nunsafe-no-fsync: true\nhost-whitelist: a,b\ncors: http://a:1\n",
    ),
    (
        "anchors",
        "a: &x {name: m1}\n<<: *x\nname: &n 'q'\ninitial-cluster-token: *n\n",
    ),
    ("nothing", ""),
    (
        "sections",
        "client-transport-security: {auto-tls: true, allowed-hostname: [a, b]}\nnonsense: 1\n",
    ),
    (
        "tls",
        "listen-client-urls: https://127.0.0.1:2379\nadvertise-client-urls: https://a:1\nclient-transport-security:\n  cert-file: /c\n  key-file: /k\n",
    ),
    ("no-mapping", "[1, 2]"),
];

const LINES: &[(&str, &str)] = &[
    ("none", ""),
    (
        "usual",
        "--name\nm1\n--data-dir=/tmp/d\n--listen-client-urls\nhttp://127.0.0.1:2379\n-advertise-client-urls=http://127.0.0.1:2379\n--unsafe-no-fsync",
    ),
    (
        "environment",
        "ETCD_NAME=m1\nETCD_LISTEN_PEER_URLS=http://0.0.0.0:2380\nETCD_UNKNOWN=1\n--log-level\ndebug",
    ),
    (
        "cluster",
        "--initial-cluster\nm1=http://127.0.0.1:2380\n--name=m1\n--initial-advertise-peer-urls=http://127.0.0.1:2380\n--initial-cluster-state=existing\n--heartbeat-interval=50\n--election-timeout=500",
    ),
    ("help", "-h"),
    ("version", "--version"),
    (
        "negative",
        "--quota-backend-bytes\n-1\n--max-request-bytes=0\n--max-txn-ops=-5",
    ),
    (
        "old-names",
        "-addr=127.0.0.1:4001\n-peer-addr=127.0.0.1:7001\n--peers=a:1",
    ),
    (
        "durations",
        "--grpc-keepalive-interval=2h45m\n--grpc-keepalive-timeout=1.5s\n--grpc-keepalive-min-time=300us\n--warning-apply-duration=.5s\n--warning-unary-request-duration=99999h",
    ),
    (
        "rotation",
        "--enable-log-rotation\n--log-outputs=/tmp/w.log\n--log-rotation-config-json={\"maxsize\":1,\"localtime\":true}\n--log-format=json",
    ),
    (
        "two-ways",
        "--initial-cluster=a=http://a:1\n--discovery=http://d",
    ),
    ("shadowed", "ETCD_NAME=a\n--name=b"),
    ("odd", "---x\n-\nname\n--=1\n--name"),
];

const SMALL: &[(&str, &str)] = &[
    (
        "identity",
        "format 4\ncluster cdf818194e3a8c32\nmember 8e9e05c52164694d\nstore 5f0e3b7a91c2d468\ncopy-of 1122334455667788 99aabbccddeeff00\ninode 1835012 1795622400123456789\n",
    ),
    (
        "owner",
        "cluster cdf818194e3a8c32\nmember 8e9e05c52164694d\ninode 1835013 1795622400123456789\nlink /data/member/log\n",
    ),
    ("newer", "format 9\nanything\n"),
    (
        "current",
        "witan checkpoint 3\nchain\nlink\nrun 3 9 1048576 000000ff 6b61\nrun 4 1 2 00000001 \nlink\nrun 5 0 0 00000000 ff\nbefore\nlink\n",
    ),
    ("half", "format 4\ncluster cdf8"),
    (
        "line",
        "\u{1}\0\0\0\0\0\0\0\u{9}\0\0\0\0\0\0\0\u{9}\0\0\0\0\0\0\0",
    ),
];

const VALUES: &[(&str, &[u8])] = &[
    ("empty", b""),
    ("html", b"/a<b>&\"\\\n\r\t\x01\x7f"),
    (
        "separators",
        "\u{2028}\u{2029}\u{2030}世界\u{85}".as_bytes(),
    ),
    ("no-utf8", b"\xff\xfe\0a\xe4\xbd\xed\xa0\x80"),
    ("one", &1.0_f64.to_le_bytes()),
    ("small", &1e-7_f64.to_le_bytes()),
    ("large", &1e21_f64.to_le_bytes()),
    ("minute", &61_500_000_000_i64.to_le_bytes()),
    ("first", &i64::MIN.to_le_bytes()),
    ("last", &i64::MAX.to_le_bytes()),
    ("micros", &1_500_i64.to_le_bytes()),
    ("leap-day", &951_782_400_500_000_000_i64.to_le_bytes()),
];

const PATHS: &[(&str, &str)] = &[
    ("escapes", "/v2/keys/sp%20ace%2Bplus+p%2F%ff"),
    ("dots", "/v2/keys//./x/../..a/.b/"),
    ("bad-escape", "/v2/keys/%zz"),
    ("gateway", "/v3beta/kv/range"),
    ("former", "/v3alpha/lease/grant"),
    ("nothing", ""),
    ("star", "*"),
    (
        "long",
        "/v2/keys/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a",
    ),
];

const BODIES: &[(&str, &str)] = &[
    (
        "odd-urls",
        "{\"peerURLs\":[\"http://[::1]:1\",\"unix://a:1\",\"http://u:p@a:1\",\" http://a:1?x=1#f \",\"http://%41:1\",\"a:b:c\"]}",
    ),
    ("zone", "http://[fe80::1%25en0]:80"),
    (
        "deep",
        "[[[[[[[[[[[[{\"a\":[1,-0.5e+3,\"\\u00e9\\n\",true,false,null]}]]]]]]]]]]]]",
    ),
    ("not-json", "{\"peerURLs\":[\"a\" 'b'"),
];

/// The dialect of etcd 0.1, of which there are no recorded pairs.
const V1: &[(&str, &str)] = &[
    ("set", "POST /v1/keys/message\nvalue=Hello"),
    ("get", "GET /v1/keys/message"),
    ("put-ttl", "PUT /v1/keys/foo\nvalue=bar&ttl=5"),
    ("delete", "DELETE /v1/keys/message"),
    ("swap", "POST /v1/keys/foo\nprevValue=one&value=two"),
    ("create", "POST /v1/keys/foo\nprevValue=&value=two;ttl=-1"),
    ("list", "GET /v1/keys/foo/"),
    ("root", "GET /v1/keys"),
    ("watch", "GET /v1/watch/foo"),
    ("watch-index", "POST /v1/watch/foo\nindex=7"),
    ("keyword", "PUT /v1/keys/_etcd/machines/x\nvalue=1"),
    ("records", "GET /v1/keys/_etcd/machines/m1"),
    ("leader", "GET /v1/leader"),
    ("machines", "GET /v1/machines"),
    ("stats", "GET /v1/stats/store"),
    ("no-value", "PUT /v1/keys/foo?value=%zz"),
    ("bad-ttl", "PUT /v1/keys/foo\nvalue=1&ttl=x"),
];

pub(super) fn add(corpus: &mut Corpus) {
    let mut put = |target: &'static str, name: &str, bytes: &[u8]| {
        corpus.insert((target, name.to_owned()), bytes.to_vec());
    };
    for (name, text) in CONFIGS {
        put("config", name, text.as_bytes());
    }
    for (name, text) in LINES {
        put("arguments", name, text.as_bytes());
    }
    for (name, text) in SMALL {
        put("identity", name, text.as_bytes());
    }
    for (name, text) in V1 {
        put("v1", name, text.as_bytes());
    }
    for (name, bytes) in VALUES {
        put("go", name, bytes);
    }
    for (name, text) in PATHS {
        put("path", name, text.as_bytes());
    }
    for (name, text) in BODIES {
        put("members", name, text.as_bytes());
    }
}

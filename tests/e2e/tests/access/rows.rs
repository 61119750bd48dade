//! The rows: every method of HTTP/1 paths, of gRPC, and of the gateway over POST and over a WebSocket. A row sends its request
//! and reports whether the response refuses the caller.

use std::{fmt, io, time::Duration};

use witan_api::{
    access::{Access, GRPC, GrpcRoute, HTTP, gateway_paths},
    top,
};
use witan_e2e::{
    wait,
    websocket::{Frame, Socket},
};

use crate::{
    calls,
    samples::{Sample, lower_alarm, sample},
    stage::{CallerKind, Shown, Stage},
};

const REFUSALS: [&str; 3] = [
    "etcdserver: user name is empty",
    "etcdserver: permission denied",
    "etcdserver: invalid auth token",
];

/// The gateway's response for an unknown path.
const UNSERVED: &str = r#""Not Found""#;

pub(crate) const TOKEN: &str = "e77afb997af5a84983baa98fd42cf12f";
const ALARM: &str = "/etcdserverpb.Maintenance/Alarm";
const PREFIXES: [&str; 3] = ["v3", "v3beta", "v3alpha"];

/// Time to wait for an event of a watch before the next write.
const LOOK: Duration = Duration::from_millis(20);

/// A method or path of one dialect, with its sample request and the access it requires.
pub(crate) struct Row {
    dialect: Dialect,
    name: String,
    sample: Sample,
    access: Access,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    Http(&'static str),
    Grpc,
    Gateway,
    WebSocket,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (dialect, access) = (&self.dialect, self.access.name());
        write!(f, "{dialect:?} {} ({access})", self.name)
    }
}

pub(crate) fn all() -> Vec<Row> {
    let mut rows = Vec::new();
    for route in HTTP {
        for (method, access) in route.methods {
            rows.push(Row {
                dialect: Dialect::Http(method),
                name: path(route.path, method),
                sample: Sample::default(),
                access: *access,
            });
        }
    }
    for route in GRPC {
        rows.extend(of_v3(Dialect::Grpc, route.method, route.method));
    }
    for (called, route) in gateway_paths() {
        for prefix in PREFIXES {
            let path = format!("/{prefix}/{called}");
            rows.extend(of_v3(Dialect::Gateway, &path, route.method));
        }
        let path = format!("/v3/{called}");
        rows.extend(of_v3(Dialect::WebSocket, &path, route.method));
    }
    rows
}

/// Returns the rows for a method in one dialect. The alarm method has two rows, because changing alarms requires more
/// permissions than listing them.
fn of_v3(dialect: Dialect, name: &str, method: &str) -> Vec<Row> {
    let row = |name: String, sample, access| Row { dialect, name, sample, access };
    let access = GrpcRoute::of(method).unwrap().access;
    let mut rows = vec![row(name.to_owned(), sample(method), access)];
    if method == ALARM {
        rows.push(row(name.to_owned(), lower_alarm(), Access::Root));
    }
    rows
}

/// Returns a path to request: `path`, or a path below it where the method needs one. Some paths get a query.
fn path(path: &str, method: &str) -> String {
    match (path, method) {
        ("/v2/keys" | "/v1/keys" | "/v1/watch", _) => format!("{path}/secret"),
        ("/v2/members", "PUT" | "DELETE") => format!("{path}/1"),
        // The token does not exist. Every caller may learn that.
        ("/<token>", "PUT" | "DELETE") => format!("/{TOKEN}/1"),
        ("/<token>", _) => format!("/{TOKEN}"),
        // Use the shortest duration.
        (top::PATH, _) => format!("{path}?seconds=1"),
        ("/v2/auth/users", "GET") => format!("{path}/root"),
        ("/v2/auth/users" | "/v2/auth/roles", "PUT" | "DELETE") => format!("{path}/somebody"),
        _ => path.to_owned(),
    }
}

fn body(path: &str, method: &str) -> &'static str {
    match (path, method) {
        ("/v2/auth/users/somebody", "PUT") => r#"{"user":"somebody","password":"p"}"#,
        ("/v2/auth/roles/somebody", "PUT") => r#"{"role":"somebody"}"#,
        ("/config/local/log", "PUT") => r#"{"Level":"INFO"}"#,
        ("/v1/watch/secret", "POST") => "index=1",
        (_, "PUT" | "POST") => "value=1",
        _ => "",
    }
}

fn refuses(text: &str) -> bool {
    REFUSALS.iter().any(|refusal| text.contains(refusal))
}

impl Row {
    pub(crate) fn access(&self) -> Access {
        self.access
    }

    /// Sends the row's request and returns whether the caller is admitted. Undoes the effects of the call.
    pub(crate) fn ask(&self, stage: &mut Stage, who: CallerKind) -> bool {
        let shown = stage.shown(who);
        let admitted = match self.dialect {
            Dialect::Http(method) => self.over_http(stage, method, &shown),
            Dialect::Grpc => self.over_grpc(stage, &shown),
            Dialect::Gateway => self.over_gateway(stage, &shown),
            Dialect::WebSocket => self.over_websocket(stage, &shown),
        };
        if admitted && self.turns() {
            stage.restore();
        } else if admitted && self.takes() {
            stage.restock();
        }
        admitted
    }

    /// Returns whether the call can enable or disable auth.
    fn turns(&self) -> bool {
        let name = self.name.to_ascii_lowercase();
        ["enable", "disable"].iter().any(|end| name.ends_with(end))
            && self.dialect != Dialect::Http("GET")
    }

    /// Returns whether the call can remove data that other rows need.
    fn takes(&self) -> bool {
        let name = self.name.to_ascii_lowercase();
        let takes = ["revoke", "deleterange", "unlock", "resign", "proclaim"];
        takes.iter().any(|end| name.ends_with(end))
    }

    /// Returns whether the call waits for a write.
    pub(crate) fn is_woken(&self) -> bool {
        self.name.starts_with("/v1/watch")
    }

    /// Returns whether the response is not a 401. Panics if the path is not served.
    fn over_http(&self, stage: &Stage, method: &str, shown: &Shown) -> bool {
        let mut connection = stage.server.connect();
        let header = shown.authorization.as_deref();
        let header = header.map(|value| ("Authorization", value));
        let body = body(&self.name, method).as_bytes();
        let sent = connection.send(method, &self.name, header.as_slice(), body);
        sent.unwrap();
        if self.is_woken() {
            wait::until_true("the watch answers", || {
                stage.v2("PUT", "/v2/keys/secret", "value=1");
                connection.ready(LOOK).unwrap()
            });
        }
        let response = connection.response(method).unwrap();
        let text = response.text();
        let unserved = response.status == 404 && text.starts_with("404 page");
        assert!(!unserved, "{self} is not served");
        response.status != 401
    }

    fn over_grpc(&self, stage: &Stage, shown: &Shown) -> bool {
        let (channel, token) = (stage.channel.clone(), shown.token.as_deref());
        let call = calls::first(channel, &self.name, self.sample.bytes.clone(), token);
        let said = match stage.runtime.block_on(call) {
            // The first message of a watch may be a refusal.
            Ok(message) => String::from_utf8_lossy(&message).into_owned(),
            Err(status) => status.message().to_owned(),
        };
        assert!(!said.contains("unknown method"), "{self}: {said}");
        !refuses(&said)
    }

    fn over_gateway(&self, stage: &Stage, shown: &Shown) -> bool {
        let mut connection = stage.server.connect();
        let header = shown.token.as_deref();
        let header = header.map(|token| ("Authorization", token));
        let body = self.sample.json.as_bytes();
        let sent = connection.send("POST", &self.name, header.as_slice(), body);
        sent.unwrap();
        connection.head("POST").unwrap();
        // A stream continues, but its first message may be a refusal.
        let piece = connection.chunk().unwrap().unwrap_or_default();
        let text = String::from_utf8_lossy(&piece);
        assert!(!text.contains(UNSERVED), "{self} is not served");
        !refuses(&text)
    }

    /// Returns whether the first message is not a refusal. A closed socket is not a refusal.
    fn over_websocket(&self, stage: &Stage, shown: &Shown) -> bool {
        let protocol = shown.token.as_ref();
        let protocol = protocol.map(|token| format!("Sec-WebSocket-Protocol: Bearer, {token}"));
        let headers: Vec<&str> = protocol.iter().map(String::as_str).collect();
        let mut socket = Socket::open(&stage.server.address(), &self.name, &headers);
        let message = match self.sample.json.as_str() {
            "" => "{}",
            json => json,
        };
        // The server may close the socket of a refused caller before it reads the message.
        let _: io::Result<()> = socket.send(message);
        match socket.receive().unwrap() {
            Frame::Text(text) => !refuses(&text),
            Frame::Close(_) | Frame::Pong(_) => true,
        }
    }
}

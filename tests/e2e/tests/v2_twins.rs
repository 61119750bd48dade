//! Random requests on `/v2/keys`, the same ones to witan and to etcd 3.4: every answer must be the
//! same in status, headers and bytes. What both see is a function of the seed, which the failure
//! names. Times, seconds and the order of a listing are not compared.

use serde_json::Value;
use witan_e2e::{Kind, Launch, Server, http::Connection};

const REQUESTS: usize = 1500;
const SEEDS: [u64; 2] = [3, 4];
const HEADERS: [&str; 4] = ["X-Etcd-Index", "Content-Type", "Allow", "Transfer-Encoding"];
const FORM: &str = "application/x-www-form-urlencoded";

/// A small generator: the same requests on every machine.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(high).expect("31 bits fit") % bound
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }
}

#[derive(Debug)]
struct Request {
    method: &'static str,
    target: String,
    form: Option<String>,
    content_type: &'static str,
}

/// Names, values and how often, in percent, a parameter is given.
const PARAMETERS: &[(&str, &[&str], usize)] = &[
    (
        "recursive",
        &["true", "true", "true", "false", "1", "bogus"],
        25,
    ),
    ("dir", &["true", "true", "true", "false", "T", ""], 20),
    ("sorted", &["true", "x"], 5),
    ("quorum", &["true", "false"], 8),
    (
        "prevExist",
        &["true", "false", "true", "false", "", "yes"],
        20,
    ),
    ("prevValue", &["1", "2", "", "a%26b"], 15),
    ("ttl", &["1000", "", "500", "abc", "-1", "77"], 15),
    ("refresh", &["true", "false", "z"], 7),
    ("noValueOnSuccess", &["true", "false", "q"], 5),
    ("waitIndex", &["1", "x"], 2),
    ("unknown", &["1"], 2),
];

fn request(dice: &mut Dice, index: u64) -> Request {
    let method = dice.pick(&[
        "GET", "GET", "GET", "PUT", "PUT", "PUT", "PUT", "PUT", "POST", "DELETE", "DELETE", "HEAD",
    ]);
    let mut target = String::from("/v2/keys");
    for _ in 0..dice
        .pick(&["0", "1", "1", "1", "2", "2", "3"])
        .parse()
        .expect("a digit")
    {
        target.push('/');
        target.push_str(match dice.percent(90) {
            true => dice.pick(&["a", "b", "_h", "c"]),
            false => dice.pick(&["d%20e", "x%2Fy", "%C3%A9", "%ff", "0", "+", "%3C"]),
        });
    }
    let (mut query, mut form) = (Vec::new(), Vec::new());
    let mut give = |dice: &mut Dice, parameter: String| match dice.percent(30) {
        true => form.push(parameter),
        false => query.push(parameter),
    };
    for (name, values, chance) in PARAMETERS {
        if dice.percent(*chance) {
            let value = dice.pick(values);
            give(dice, format!("{name}={value}"));
        }
    }
    if dice.percent(12) {
        let wanted = index.saturating_sub(dice.below(8) as u64);
        give(dice, format!("prevIndex={wanted}"));
    }
    if dice.percent(80) {
        let value = dice.pick(&["1", "2", "", "a%26b", "%3C", "%ff", "a+b", "%zz"]);
        form.push(format!("value={value}"));
    }
    if !query.is_empty() {
        target.push('?');
        target.push_str(&query.join("&"));
    }
    let formed = matches!(method, "PUT" | "POST") && dice.percent(95);
    let content_type = if dice.percent(95) { FORM } else { "text/plain" };
    Request {
        method,
        target,
        form: formed.then(|| form.join("&")),
        content_type,
    }
}

fn ask(connection: &mut Connection, request: &Request) -> (u16, Vec<Option<String>>, Value) {
    let body = request.form.clone().unwrap_or_default();
    let headers = [("Content-Type", request.content_type)];
    connection
        .send(request.method, &request.target, &headers, body.as_bytes())
        .expect("the connection lives");
    let answer = connection.response(request.method).expect("an answer");
    let headers = HEADERS.map(|name| answer.header(name).map(str::to_owned));
    let mut event =
        serde_json::from_slice(&answer.body).unwrap_or_else(|_| Value::String(answer.text()));
    timeless(&mut event);
    (answer.status, headers.to_vec(), event)
}

/// Blanks what depends on the clock and sorts what has no order. The order of fields stays.
fn timeless(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields.iter_mut() {
                if matches!(name.as_str(), "expiration" | "ttl") {
                    *field = Value::Null;
                }
                timeless(field);
            }
        }
        Value::Array(items) => {
            items.iter_mut().for_each(timeless);
            items.sort_by_key(|item| item["key"].to_string());
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn index(headers: &[Option<String>]) -> u64 {
    headers[0]
        .as_deref()
        .and_then(|text| text.parse().ok())
        .unwrap_or_default()
}

fn open(server: &Server) -> Connection {
    Connection::open(&server.address()).expect("the server listens")
}

#[test]
fn random_requests_are_answered_as_etcd_answers_them() {
    for seed in SEEDS {
        let (witan, etcd) = (Launch::witan().start(), Launch::new(Kind::Etcd34).start());
        let (mut ours, mut theirs) = (open(&witan), open(&etcd));
        let mut dice = Dice(seed);
        let (mut now, mut writes) = (0, 0);
        for number in 0..REQUESTS {
            let request = request(&mut dice, now);
            let expect = ask(&mut theirs, &request);
            let given = ask(&mut ours, &request);
            let shown = |value: &Value| value.to_string();
            assert_eq!(
                (given.0, &given.1, shown(&given.2)),
                (expect.0, &expect.1, shown(&expect.2)),
                "seed {seed}, request {number}: {request:?}"
            );
            let after = index(&given.1).max(now);
            writes += u64::from(after > now);
            now = after;
        }
        assert!(
            writes > 100,
            "only {writes} of {REQUESTS} requests wrote: too few to tell"
        );
    }
}

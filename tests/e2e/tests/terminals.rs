//! Sessions of etcdctl 3.6 at one or two terminals: the commands of seed 003 and the pages
//! about users and operation, the interactive ones included. The same walk goes to Witan and to
//! etcd 3.6, and the output of the terminals is compared.

use std::collections::BTreeMap;

use witan_e2e::{
    Kind, Launch, Server, Tool,
    tool::{Following, Said},
    wait,
};

/// A number of at least so many hexadecimal digits is an id: etcd's have 16, of which the first may be zeros.
const ID_DIGITS_MIN: usize = 12;

/// One user's terminals in front of one server, and what they showed, with ids by their order.
struct Desk {
    server: Server,
    login: Option<&'static str>,
    ids: BTreeMap<String, usize>,
    shown: Vec<String>,
}

impl Desk {
    fn sit_down(kind: Kind) -> Self {
        Self {
            server: Launch::new(kind).start(),
            login: None,
            ids: BTreeMap::new(),
            shown: Vec::new(),
        }
    }

    fn args<'a>(&self, line: &'a str) -> Vec<&'a str> {
        let mut args: Vec<&str> = line.split(' ').collect();
        if let Some(login) = self.login {
            args.extend(["--user", login]);
        }
        args
    }

    fn run(&self, line: &str, input: &str) -> Said {
        Tool::Etcdctl36.run_with_input(&self.server.url(), &self.args(line), input)
    }

    /// Runs a command to its end; what it says goes into the record.
    fn say(&mut self, line: &str) -> String {
        self.type_into(line, "")
    }

    fn type_into(&mut self, line: &str, input: &str) -> String {
        let said = self.run(line, input);
        self.note(&format!("$ {line}\nexit {:?}\n{}", said.code, said.stdout));
        for complaint in said.stderr.lines() {
            // the client's own log names times and addresses
            if let Some(error) = complaint.strip_prefix("Error: ") {
                self.note(error);
            }
        }
        said.stdout
    }

    /// Opens a second terminal.
    fn open(&self, line: &str) -> Following {
        let server = self.server.url();
        Tool::Etcdctl36.follow(&server, &self.args(line))
    }

    /// Reads so many lines of a terminal into the record.
    fn read(&mut self, terminal: &mut Following, lines: usize) -> Vec<String> {
        (0..lines)
            .map(|_| {
                let line = terminal.line().expect("the tool goes on");
                self.note(&line);
                line
            })
            .collect()
    }

    /// Ids of leases, and what is made of them, get the numbers in which they appear.
    fn note(&mut self, text: &str) {
        let (address, peer) = (self.server.address(), self.server.peer_url());
        let text = text.replace(&address, "SERVER").replace(&peer, "PEER");
        // how long something took
        let text = text.split(" took ").next().unwrap_or_default();
        let mut out = String::new();
        for word in text.split_inclusive(is_limit) {
            let (id, rest) = word.split_at(word.trim_end_matches(is_limit).len());
            if id.len() >= ID_DIGITS_MIN && id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                let next = self.ids.len();
                let number = *self.ids.entry(id.to_owned()).or_insert(next);
                out += &format!("id-{number}");
            } else {
                out += id;
            }
            out += rest;
        }
        self.shown.push(out);
    }
}

fn is_limit(c: char) -> bool {
    !c.is_ascii_alphanumeric()
}

/// Plays it on both and compares line by line.
fn both(walk: fn(&mut Desk)) {
    let [ours, theirs] = [Kind::Witan, Kind::Etcd36].map(|kind| {
        let mut desk = Desk::sit_down(kind);
        walk(&mut desk);
        desk.shown
    });
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours, theirs, "left: Witan, right: etcd");
    }
    assert_eq!(ours.len(), theirs.len());
}

#[test]
fn keys_and_transactions() {
    both(|desk| {
        desk.say("version");
        desk.say("put /message Hello");
        desk.say("get /message");
        desk.say("get /mess --prefix");
        desk.say("del /message");
        desk.say("del /mess --prefix");
        desk.say("put foo bar");
        let asked = "value(\"foo\") = \"bar\"\n\nget foo\n\nput foo bar\n\n";
        let said = desk.type_into("txn --interactive", asked);
        assert!(said.contains("SUCCESS\n\nfoo\nbar"), "{said}");
        desk.type_into(
            "txn",
            "mod(\"foo\") > \"99\"\n\nget foo\n\nput foo two\ndel x\n\n",
        );
        desk.type_into("txn", "value(\"foo\") ~ \"bar\"\n\n\n\n");
        desk.say("get foo -w fields");
        desk.say("compaction 3");
        desk.say("get foo --rev=2");
    });
}

#[test]
fn a_watch_that_is_typed() {
    both(|desk| {
        let mut watch = desk.open("watch -i");
        watch.type_line("watch a z");
        watch.type_line("watch /other --prefix --prev-kv");
        wait::until_true("both watches are there", || {
            desk.server.metric("etcd_debugging_mvcc_watcher_total") == Some(2.0)
        });
        for line in ["put b 1", "put /other/c 2", "put /other/c 3", "del b"] {
            desk.say(line);
            let lines = match line {
                "put /other/c 3" => 5,
                _ => 3,
            };
            // a deletion has an empty value, an event with the value before it two more lines
            desk.read(&mut watch, lines);
        }
    });
}

#[test]
fn leases() {
    both(|desk| {
        let granted = desk.say("lease grant 100");
        let id = granted.split(' ').nth(1).expect("an id").to_owned();
        desk.say(&format!("put foo13 bar --lease={id}"));
        desk.say("lease list");
        let mut alive = desk.open(&format!("lease keep-alive {id}"));
        desk.read(&mut alive, 1);
        desk.say(&format!("lease keep-alive --once {id}"));
        desk.say(&format!("lease revoke {id}"));
        desk.say("get foo13");
        desk.say(&format!("lease timetolive {id}"));
        desk.say(&format!("lease keep-alive --once {id}"));
        desk.say("put foo13 bar --lease=1234567890abcdef");
    });
}

#[test]
fn a_lock_at_two_terminals() {
    both(|desk| {
        let mut first = desk.open("lock my_mutex1");
        let held = desk.read(&mut first, 1).remove(0);
        assert!(held.starts_with("my_mutex1/"), "{held}");
        let mut second = desk.open("lock my_mutex1");
        wait::until("the second one waits in line", || {
            let keys = desk.run("get my_mutex1/ --prefix --count-only -w fields", "");
            keys.stdout.contains("\"Count\" : 2").then_some(())
        });
        first.interrupt();
        desk.read(&mut second, 1);
        let (code, rest) = first.end();
        desk.note(&format!("{code:?} {rest:?}"));
        second.interrupt();
        second.end();
        desk.say("get my_mutex1/ --prefix --keys-only");
    });
}

#[test]
fn an_election_at_two_terminals() {
    both(|desk| {
        let mut first = desk.open("elect my_server p1");
        desk.read(&mut first, 2);
        let mut second = desk.open("elect my_server p2");
        let mut observer = desk.open("elect -l my_server");
        desk.read(&mut observer, 2);
        wait::until("the second one stands for election", || {
            let keys = desk.run("get my_server/ --prefix --count-only -w fields", "");
            keys.stdout.contains("\"Count\" : 2").then_some(())
        });
        first.interrupt();
        desk.read(&mut second, 2);
        desk.read(&mut observer, 2);
        second.interrupt();
        second.end();
        desk.say("get my_server/ --prefix --keys-only");
    });
}

#[test]
fn users_and_roles() {
    both(|desk| {
        desk.say("user add root:secret");
        desk.say("user add alice:pw");
        desk.say("user add guest --no-password");
        desk.say("role add reader");
        desk.say("role grant-permission reader read app/ --prefix=true");
        desk.say("role grant-permission reader readwrite own");
        desk.say("user grant-role alice reader");
        desk.say("auth enable");
        desk.say("user grant-role root root");
        desk.say("auth enable");
        desk.say("get app/1");
        desk.login = Some("root:secret");
        desk.say("auth status");
        desk.say("put app/1 v");
        desk.say("user get alice --detail");
        desk.say("role list");
        desk.login = Some("alice:pw");
        desk.say("get app/1");
        desk.say("get app/ --prefix --keys-only");
        desk.say("put app/1 w");
        desk.say("put own w");
        desk.say("get a b");
        desk.say("user add eve:x");
        desk.say("member list");
        desk.login = Some("alice:wrong");
        desk.say("get app/1");
        desk.login = Some("root:secret");
        desk.say("role revoke-permission reader own");
        desk.say("auth disable");
        desk.login = None;
        desk.say("put own x");
        desk.say("user delete alice");
        desk.say("user list");
    });
}

#[test]
fn operation() {
    both(|desk| {
        for key in 0..20 {
            desk.say(&format!("put key{key} value"));
        }
        desk.say("del key7");
        desk.say("compaction 5");
        desk.say("alarm list");
        desk.say("alarm disarm");
        desk.say("endpoint hashkv");
        desk.say("move-leader 1234");
        desk.say("defrag");
        desk.say("downgrade validate 3.5");
        let file = desk.server.dir().join("backup.db");
        let file = file.display();
        let saved = desk.run(&format!("snapshot save {file}"), "");
        assert_eq!(saved.code, Some(0), "{}", saved.all());
        let status =
            Tool::Etcdutl36.run_with_input("", &["snapshot", "status", &file.to_string()], "");
        assert_eq!(status.code, Some(0), "{}", status.all());
        desk.say("member list -w fields");
    });
}

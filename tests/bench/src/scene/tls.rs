//! Measures the cost of TLS: the same puts on both ports of a server, and connections that serve one request each.

use std::{
    cell::Cell,
    fs,
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;
use witan_e2e::{Launch, ports};

use crate::{
    dial::HTTPS,
    h2::Grpc,
    load::{self, Measured},
    subject::Subject,
    verb::Verb,
    wire,
};

const CLIENTS: usize = 64;

pub(super) async fn play(launch: Launch, length: Duration) -> String {
    let mut server = launch.prepare();
    let address = format!("{HTTPS}127.0.0.1:{}", ports::free());
    let urls = format!("{},{address}", server.url());
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a key");
    let [cert, key] = ["cert", "key"].map(|name| server.dir().join(name).display().to_string());
    fs::write(&cert, own.cert.pem()).expect("the folder is there");
    fs::write(&key, own.signing_key.serialize_pem()).expect("the folder is there");
    server.add_args(["--cert-file", &cert, "--key-file", &key]);
    server.add_args(["--listen-client-urls", &urls]);
    server.start_again();
    let plain = Subject::one(&server);
    let secured = Subject::one_at(&server, address.clone());
    load::fill(plain.address(), Verb::Put, load::KEYS).await;
    let (mut clear, mut inside) = (Measured::default(), Measured::default());
    for _ in 0..2 {
        clear.add(load::run(&plain, Verb::Put, CLIENTS, length / 2).await);
        inside.add(load::run(&secured, Verb::Put, CLIENTS, length / 2).await);
    }
    let (before, begun) = (secured.cpu(), Instant::now());
    let connections = reconnect_until(&address, begun + length).await;
    let elapsed = begun.elapsed().as_secs_f64();
    let each = (secured.cpu() - before).as_secs_f64() * 1e6 / f64::from(connections);
    let us = |load: &Measured| load.server_cpu.as_secs_f64() * 1e6 / load.requests as f64;
    let rate = |load: &Measured| load.requests as f64 / load.elapsed.as_secs_f64();
    format!(
        "{:.0} | {:.1} | {:.0} | {:.1} | x{:.2} | {:.0} | {each:.0} |",
        rate(&clear),
        us(&clear),
        rate(&inside),
        us(&inside),
        us(&inside) / us(&clear),
        f64::from(connections) / elapsed,
    )
}

/// Clients repeatedly connect, read one key and disconnect until `end`. Returns the number of connections.
async fn reconnect_until(address: &str, end: Instant) -> u32 {
    let connections = Rc::new(Cell::new(0));
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (address, connections) = (address.to_owned(), Rc::clone(&connections));
        clients.spawn_local(async move {
            while Instant::now() < end {
                let mut once = Some(0);
                let wire = Grpc::new(Verb::SerializableGet, &address, 1);
                wire::drive(&address, wire, 1, |_| once.take(), |_| {}).await;
                connections.set(connections.get() + 1);
            }
        });
    }
    clients.join_all().await;
    connections.get()
}

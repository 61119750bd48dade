//! Many watch streams at all members, which receive a few large events each.

use tokio::task::JoinSet;

use super::{MEMBERS, Options};
use crate::{
    paced,
    program::{Program, turns},
    subject::Subject,
    table,
    watched::{Received, SizedPut, Watched},
};

const STREAMS_PER_CONNECTION: usize = 100;

pub(super) async fn measure(options: &Options) {
    println!(
        "{} watch streams at three members, {} puts/s of {} bytes\n\n{}",
        options.streams,
        options.puts,
        options.value_bytes,
        table::WIDE_WATCHES_HEAD
    );
    for turn in turns(options.programs.len(), options.rounds) {
        let program = &options.programs[turn];
        println!("| {} | {}", program.name, one(program, options).await);
    }
    println!();
}

/// Returns the table cells of a program. Every stream watches all keys.
async fn one(program: &Program, options: &Options) -> String {
    let cluster = program.cluster(MEMBERS);
    let received = Received::new();
    let mut watchers = JoinSet::new();
    let addresses = cluster.addresses();
    let firsts = (0..options.streams).step_by(STREAMS_PER_CONNECTION);
    for (first, address) in firsts.zip(addresses.iter().cycle()) {
        let streams = STREAMS_PER_CONNECTION.min(options.streams - first);
        let watched = vec![Watched::prefix("key-"); streams];
        received.watch(address, &watched, 1, &mut watchers).await;
    }
    let subject = Subject::all_of(&cluster);
    let put = SizedPut { clock: received.clock, value_bytes: options.value_bytes };
    let measured = paced::run(&subject, || put, options.puts, options.length).await;
    let streams = options.streams as u64;
    let missing = received.missing(measured.answers * streams).await;
    let delays = received.take_delays();
    table::wide_watches_line(
        &measured,
        (streams, options.value_bytes),
        (&delays, missing),
        subject.resident_bytes(),
    )
}

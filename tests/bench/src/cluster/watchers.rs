//! Events to 10,000 watchers, spread over all members, while clients write at the leader.
#![expect(clippy::print_stdout, reason = "a program that prints tables")]

use super::{MEMBERS, Options};
use crate::{program::turns, scene::watch, subject::Subject};

pub(super) async fn measure(options: &Options) {
    for (name, many) in [
        ("one key, 10,000 watchers at three members", false),
        ("10,000 keys with a watcher each, 64 writers", true),
    ] {
        println!(
            "{name}\n\n| server | events/s | delay p50 ms | p99 ms | servers us an event |\n|---|--:|--:|--:|--:|"
        );
        for turn in turns(options.programs.len(), options.rounds) {
            let program = &options.programs[turn];
            let mut cluster = program.cluster(MEMBERS);
            cluster.start_all();
            let readers = cluster.addresses();
            let subject = Subject::cluster(&cluster, cluster.leader());
            let line = match many {
                true => watch::many(&subject, &readers, options.length).await,
                false => watch::one(&subject, &readers, options.length).await,
            };
            println!("| {} | {line}", program.name);
        }
        println!();
    }
}

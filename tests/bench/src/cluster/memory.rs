//! Puts distinct keys to the leader and measures the memory of all members.

use super::{MEMBERS, Options};
use crate::{load, subject::Subject, verb::Verb};

pub(super) async fn measure(options: &Options) {
    let keys = options.keys;
    println!("{keys} keys, three members together\n");
    println!(
        "| server | memory MiB | on disk MiB | written MiB | CPU s | peer bytes per put |\n|---|--:|--:|--:|--:|--:|"
    );
    for program in &options.programs {
        let cluster = program.cluster(MEMBERS);
        let subject = Subject::cluster(&cluster, cluster.leader());
        let (cpu, sent) = (subject.cpu(), subject.sent_bytes());
        load::fill(subject.address(), Verb::Put, keys).await;
        tokio::time::sleep(load::SETTLE).await;
        println!(
            "| {} | {} | {} | {} | {:.1} | {} |",
            program.name,
            subject.resident_bytes() >> 20,
            subject.disk_bytes() >> 20,
            subject.written_bytes() >> 20,
            subject.cpu().saturating_sub(cpu).as_secs_f64(),
            (subject.sent_bytes() - sent) / keys.max(1),
        );
    }
    println!();
}

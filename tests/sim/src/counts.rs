//! The counts of a run's events.

macro_rules! counts {
    ($($count:ident,)*) => {
        /// The counts of a run's events. They show the coverage of a sweep. `forced` counts clusters that continued with one
        /// member, `forced_interrupted` their startups that a power cut interrupted, and `forced_lost` the entries that this
        /// member lacked.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[expect(missing_docs, reason = "the names describe the counts")]
        pub struct Counts {
            $(pub $count: u64,)*
        }

        impl Counts {
            /// Adds the counts of another run.
            pub fn add(&mut self, other: &Self) {
                $(self.$count += other.$count;)*
            }
        }
    };
}

counts! {
    acknowledged,
    reads,
    refused,
    denied,
    crashes,
    installs,
    renewed,
    expired,
    checkpoints,
    dropped,
    terms,
    asked,
    snapshots,
    interrupted,
    trims,
    added,
    promoted,
    removed,
    ended,
    lost_disks,
    survived_flips,
    transfers,
    stalls,
    full_disks,
    clock_jumps,
    releases,
    raised,
    mistakes,
    rebuilds,
    older_disks,
    moved_disks,
    emptied_disks,
    refused_disks,
    forked,
    settled_copies,
    failed_syncs,
    lease_times,
    forced,
    forced_interrupted,
    forced_lost,
    cold_reads,
    read_back,
    damaged,
}

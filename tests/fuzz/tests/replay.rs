//! Runs each target with its corpus and with a fixed number of seeded mutations.

use std::panic::{AssertUnwindSafe, catch_unwind};

use witan_fuzz::{TARGETS, Target, corpus, mutate::mutated};

/// Number of mutations per target, unless `WITAN_FUZZ_MUTATIONS` is set.
const MUTATIONS: u64 = 3000;

fn inputs(target: &Target) -> Vec<(String, Vec<u8>)> {
    corpus::read(target.name).unwrap_or_else(|error| panic!("corpus/{}: {error}", target.name))
}

/// Runs one input. Writes a failing input to a file that reproduces the failure.
fn tried(target: &Target, name: &str, bytes: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| (target.run)(bytes))).is_err() {
        let file = std::env::temp_dir().join(format!("witan-fuzz-{}", target.name));
        std::fs::write(&file, bytes).expect("the temporary folder is writable");
        panic!(
            "{} fails with {name}, kept as {}",
            target.name,
            file.display()
        );
    }
}

#[test]
fn the_corpus_passes() {
    for target in TARGETS {
        let inputs = inputs(target);
        assert!(!inputs.is_empty(), "{} has a corpus", target.name);
        for (name, bytes) in inputs {
            assert!(bytes.len() <= target.bytes_max, "{}/{name}", target.name);
            tried(target, &name, &bytes);
        }
    }
}

#[test]
fn seeded_mutations_pass() {
    let mutations = std::env::var("WITAN_FUZZ_MUTATIONS")
        .map_or(MUTATIONS, |count| count.parse().expect("a number"));
    for target in TARGETS {
        let corpus: Vec<Vec<u8>> = inputs(target).into_iter().map(|(_, bytes)| bytes).collect();
        for seed in 0..mutations / target.cost {
            let bytes = mutated(seed, &corpus, target.bytes_max);
            tried(target, &format!("mutation {seed}"), &bytes);
        }
    }
}

#[test]
fn each_folder_is_a_targets() {
    let folders = std::fs::read_dir(corpus::folder("")).unwrap();
    for folder in folders {
        let name = folder.unwrap().file_name().into_string().unwrap();
        assert!(witan_fuzz::find(&name).is_some(), "{name}");
    }
}

//! A bounded number of sequences, and the scripts that were kept.

use witan_differ::{
    plan::Plan,
    rng, script,
    v2::{self, answers},
};
use witan_e2e::Kind;

/// Sequences that are the same in every run.
const SEEDS: [u64; 2] = [1, 2];
/// Their length: long enough that each of them fills the history.
const STEPS: usize = 800;

#[tokio::test]
async fn random_sequences_are_answered_as_etcd_answers_them() {
    let plan = Plan {
        dialect: "v2".into(),
        seeds: SEEDS.into_iter().chain(rng::fresh_seeds()).collect(),
        steps: STEPS,
        survey: false,
        record: Vec::new(),
        compare: Vec::new(),
    };
    let mut said = Vec::new();
    let passed = v2::sweep(&plan, &mut said).await.expect("memory takes all");
    let said = String::from_utf8_lossy(&said);
    println!("{said}");
    assert!(passed, "something differs or was not reached, see above");
}

/// Replays every kept script on a server of this kind.
fn replay(kind: Kind) {
    for (path, script) in script::kept("v2") {
        let given = answers(kind, &script.requests, &script.answers).expect("a script of steps");
        for ((request, given), expect) in script.requests.iter().zip(&given).zip(&script.answers) {
            assert_eq!(given, expect, "{request} of {}", path.display());
        }
    }
}

#[test]
fn kept_scripts_are_answered_as_recorded() {
    replay(Kind::Witan);
}

#[test]
fn etcd_still_answers_as_recorded() {
    replay(Kind::Etcd34);
}

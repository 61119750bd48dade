//! An adoption that is killed at any moment can be repeated.

use std::{
    env,
    process::{Command, Stdio},
    time::Instant,
};

use witan_e2e::{Kind, Launch, Writers, folder::copy, wait, writers};

use super::{adopt, become_witan, data};

/// Number of kills, spread over the duration of an adoption, unless `WITAN_E2E_ROUNDS` is set.
const KILLS: u32 = 20;

#[test]
fn a_killed_adoption_starts_again() {
    let kills = env::var("WITAN_E2E_ROUNDS").map_or(KILLS, |text| text.parse().expect("number"));
    let mut etcd = Launch::new(Kind::Etcd36).without_fsync().start();
    let writers = Writers::start(32, &[etcd.address()]);
    writers.wait_more(5000);
    etcd.kill9();
    let written = writers.stop();
    let saved = etcd.dir().join("saved");
    copy(&data(&etcd), &saved);
    let begun = Instant::now();
    adopt(&etcd);
    let whole = begun.elapsed();
    let mut killed = 0;
    for kill in 0..kills {
        std::fs::remove_dir_all(data(&etcd)).expect("a folder");
        copy(&saved, &data(&etcd));
        let mut adopting = Command::new(Kind::Witan.binary())
            .args(["adopt", "--data-dir"])
            .arg(data(&etcd))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        wait::wall_time(whole * kill / kills);
        adopting.kill().expect("an own child can be killed");
        adopting.wait().expect("a child can be waited for");
        // The identity is written last. If it exists, the kill was too late.
        if !data(&etcd).join("member/identity").exists() {
            killed += 1;
            adopt(&etcd);
        }
    }
    assert!(
        killed > 0,
        "each of {kills} ended within {whole:?}, before it was killed"
    );
    become_witan(&mut etcd);
    etcd.start_again();
    writers::assert_all_there(&etcd, &written);
}

//! Tests that the harness leaves no process or file of a server behind.

use witan_e2e::{Kind, Launch, http, wait};

#[test]
fn a_dropped_server_leaves_nothing_behind() {
    let etcd = Launch::new(Kind::Etcd37).start();
    let (address, dir) = (etcd.address(), etcd.dir().to_path_buf());
    drop(etcd);
    wait::until_true("nobody listens", || {
        http::Connection::open(&address).is_err()
    });
    assert!(!dir.exists());
}

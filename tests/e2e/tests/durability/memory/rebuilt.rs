//! Three members have more data than memory, and one member loses its disk.

use std::{fs, time::Duration};

use serde_json::json;
use witan_api::v3::etcdserverpb::kv_client::KvClient;
use witan_e2e::{Cluster, Launch, grpc, wait};

use super::{Data, assert_within};

const LIMIT_BYTES: u64 = 420 << 20;

/// 360 MiB of values.
const DATA: Data = Data { keys: 92_160, overwritten: 0 };

/// Maximum time until a member without data has the state, on a busy disk.
const REBUILT_WITHIN: Duration = Duration::from_secs(120);

const RECEIVED: &str = "etcd_network_snapshot_receive_success";

/// Kills a member, wipes its disk, removes it from the cluster and adds it again. Does not wait until it is ready.
fn lose_disk(cluster: &mut Cluster, lost: usize, through: usize) {
    let id = cluster.member(lost).status().id;
    cluster.member_mut(lost).kill9();
    let data = cluster.member(lost).dir().join("data");
    fs::remove_dir_all(data).expect("it has data");
    let through = cluster.member(through);
    through.change_members("remove", &json!({ "ID": id.to_string() }));
    let urls = [cluster.member(lost).peer_url()];
    through.change_members("add", &json!({ "peerURLs": urls }));
    let member = cluster.member_mut(lost);
    member.add_args(["--initial-cluster-state", "existing"]);
    member.start_unready_again();
}

#[test]
fn a_member_that_lost_its_disk_is_rebuilt_from_more_data_than_memory() {
    let launch = Launch::witan().memory_limit(LIMIT_BYTES);
    let mut cluster = Cluster::prepare_of(&launch, "http", 3);
    cluster.start_all();
    let runtime = grpc::runtime();
    let leader = cluster.leader();
    runtime.block_on(async {
        let address = cluster.member(leader).address();
        DATA.put(&KvClient::new(grpc::connect(&address).await))
            .await;
    });
    let lost = (leader + 1) % 3;
    lose_disk(&mut cluster, lost, leader);
    wait::within(REBUILT_WITHIN, "the member serves again", || {
        let member = cluster.member_mut(lost);
        assert!(member.runs(), "it has ended:\n{}", member.tail());
        member.is_healthy().then_some(())
    });
    assert!(cluster.member(lost).metric(RECEIVED) >= Some(1.0));
    cluster.wait_equal();
    runtime.block_on(async {
        let channel = grpc::connect(&cluster.member(lost).address()).await;
        DATA.check_random(&mut KvClient::new(channel), 1).await;
    });
    for at in 0..3 {
        assert_within(cluster.member_mut(at), LIMIT_BYTES);
    }
}

//! The changes that the removal of a member requests from the other members.

use std::sync::Mutex;

use serde_json::json;
use witan_api::backup::KeysHash;
use witan_crd::EtcdClusterStatus;
use witan_members::{Address, Answer, CallError, Change, Members};
use witan_plan::model::{MemberSeen, Membership, Removal, Step};

use super::Actor;
use crate::{
    observe::{Objects, Secrets, observe},
    testing::{NoMembers, api::FakeApi, named},
};

/// Members that accept and record each change.
#[derive(Default)]
struct AcceptingMembers(Mutex<Vec<Change>>);

impl Members for AcceptingMembers {
    async fn survey(&self, _: &[Address]) -> Vec<Answer> {
        Vec::new()
    }

    async fn change(&self, _: &[Address], change: &Change) -> Result<(), CallError> {
        self.0.lock().unwrap().push(change.clone());
        Ok(())
    }

    async fn keys_hash(&self, _: &Address, _: i64) -> Result<KeysHash, CallError> {
        Err(CallError::NoMember)
    }
}

/// After the removal, an id with both alarms could also be the fence of a cut-over.
#[tokio::test]
async fn the_corrupt_alarm_of_a_removed_member_is_disarmed() {
    let fake = FakeApi::with_cluster(&json!({}));
    let (client, cluster) = (fake.client(), named(&json!({})));
    let objects = Objects::from_api_server(&client, &cluster).await;
    let secrets = Secrets::default().of(&client, &cluster, true).await;
    let (objects, secrets) = (objects.expect("objects"), secrets.expect("secrets"));
    let mut observation = observe(&cluster, objects, secrets, &NoMembers).await;
    let member = MemberSeen {
        id: 5,
        corrupt: true,
        no_space: true,
        ..MemberSeen::default()
    };
    let members = vec![member];
    observation.seen.membership = Some(Membership { members, ..Membership::default() });
    let members = AcceptingMembers::default();
    let actor = Actor {
        client: &client,
        members: &members,
        cluster: &cluster,
        observation: &observation,
    };
    let step = Step::RemoveMember { id: 5, reason: Removal::Corrupt };
    let mut status = EtcdClusterStatus::default();
    actor.act(&step, &mut status).await.expect("it is removed");
    let changes = members.0.lock().unwrap().clone();
    assert_eq!(changes, [Change::Remove(5), Change::DisarmCorrupt(5)]);
}

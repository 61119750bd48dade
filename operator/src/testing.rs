//! Helpers of tests of the parts around `plan`.

pub(crate) mod api;

use witan_members::{Address, Answer, CallError, Change, KeysHash, Members};

use crate::options::Environment;

/// Members none of which answers.
pub(crate) struct NoMembers;

impl Members for NoMembers {
    async fn survey(&self, of: &[Address]) -> Vec<Answer> {
        let answer =
            |to: &Address| Answer { member: to.member.clone(), report: Err(CallError::NoMember) };
        of.iter().map(answer).collect()
    }
    async fn change(&self, _: &[Address], _: &Change) -> Result<(), CallError> {
        Err(CallError::NoMember)
    }
    async fn keys_hash(&self, _: &Address, _: i64) -> Result<KeysHash, CallError> {
        Err(CallError::NoMember)
    }
}

pub(crate) fn environment(member_image: &str) -> Environment {
    Environment {
        member_image: member_image.to_owned(),
        backup_image: "witan-operator:1.0.0".to_owned(),
        discovery_service_url: None,
        member_image_pull_secrets: Vec::new(),
    }
}

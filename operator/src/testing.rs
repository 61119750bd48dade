//! Helpers of tests of the parts around `plan`.

pub(crate) mod api;

use crate::members::{Address, Answer, CallError, Login, Members, RaisedAlarm};

/// Members none of which answers.
pub(crate) struct NoMembers;

impl Members for NoMembers {
    async fn survey(&self, of: &[Address]) -> Vec<Answer> {
        let answer =
            |to: &Address| Answer { member: to.member.clone(), report: Err(CallError::NoMember) };
        of.iter().map(answer).collect()
    }
    async fn add_learner(&self, _: &[Address], _: &[String]) -> Result<u64, CallError> {
        Err(CallError::NoMember)
    }
    async fn promote(&self, _: &[Address], _: u64) -> Result<(), CallError> {
        Err(CallError::NoMember)
    }
    async fn remove(&self, _: &[Address], _: u64) -> Result<(), CallError> {
        Err(CallError::NoMember)
    }
    async fn update(&self, _: &[Address], _: u64, _: &[String]) -> Result<(), CallError> {
        Err(CallError::NoMember)
    }
    async fn move_leader(&self, _: &Address, _: u64) -> Result<(), CallError> {
        Err(CallError::NoMember)
    }
    async fn disarm(&self, _: &[Address], _: RaisedAlarm) -> Result<(), CallError> {
        Err(CallError::NoMember)
    }
    async fn enable_auth(&self, _: &[Address], _: &Login) -> Result<(), CallError> {
        Err(CallError::NoMember)
    }
    async fn disable_auth(&self, _: &[Address]) -> Result<(), CallError> {
        Err(CallError::NoMember)
    }
}

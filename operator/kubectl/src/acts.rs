//! `move-leader`, `replace`, `recover` and `restart`: what a person asks of a cluster.

use k8s_openapi::jiff::Timestamp;
use witan_crd::{EtcdCluster, MemberStatus, RECOVER_QUORUM, REPLACE_MEMBER, RESTARTED_AT, quorum};
use witan_members::{Answer, Change, Members as _, Report};

use super::{
    PluginError,
    command::MemberFlags,
    output::{confirmed, print},
    reach::Reach,
    table::{Table, UNKNOWN, clipped, or_unknown, yes},
    target::Target,
};

/// Widest cell of an error in a table.
const ERROR_MAX: usize = 100;

/// Hands leadership over to a voter.
pub(super) async fn move_leader(
    target: &Target,
    cluster: &str,
    member: &str,
    flags: &MemberFlags,
) -> Result<(), PluginError> {
    let resource = target.cluster(cluster).await?;
    let reach = Reach::open(target, &resource, flags).await?;
    let (leader, report) = reach.leader(&reach.survey().await)?;
    let to = voter(&report, cluster, member)?;
    if to == report.leader_id {
        return print(&format!("{member} leads already\n"));
    }
    reach
        .members
        .change(&[leader], &Change::MoveLeader(to))
        .await?;
    print(&format!("{member} leads\n"))
}

/// Returns the id of a voter by its name.
fn voter(report: &Report, cluster: &str, member: &str) -> Result<u64, PluginError> {
    let voters = || report.members.iter().filter(|entry| !entry.learner);
    let found = voters()
        .find(|entry| entry.name == member)
        .map(|entry| entry.id);
    found.ok_or_else(|| {
        let names: Vec<_> = voters().map(|entry| entry.name.as_str()).collect();
        let names = names.join(", ");
        PluginError::Words(format!(
            "{member} is no voter of {cluster}; its voters: {names}"
        ))
    })
}

/// Asks the operator to replace a member.
pub(super) async fn replace(
    target: &Target,
    cluster: &str,
    member: &str,
) -> Result<(), PluginError> {
    let resource = target.cluster(cluster).await?;
    let id = id(&resource, cluster, member)?;
    target.annotate(cluster, REPLACE_MEMBER, &id).await?;
    print(&format!(
        "{member} (id {id}) is replaced with its disk once a quorum of the others serves; see kubectl witan status {cluster}\n"
    ))
}

/// Returns the id of a member by the status of its cluster.
fn id(resource: &EtcdCluster, cluster: &str, member: &str) -> Result<String, PluginError> {
    let found = known(resource, cluster, member)?;
    let none = || PluginError::Words(format!("{member} has no id: it is not in the cluster"));
    found.id.ok_or_else(none)
}

fn known(resource: &EtcdCluster, cluster: &str, member: &str) -> Result<MemberStatus, PluginError> {
    let all = resource.status.clone().unwrap_or_default().members;
    let names: Vec<_> = all.iter().map(|known| known.name.clone()).collect();
    let found = all.into_iter().find(|known| known.name == member);
    found.ok_or_else(|| {
        let names = names.join(", ");
        PluginError::Words(format!(
            "{cluster} has no member {member}; its members: {names}"
        ))
    })
}

/// Asks the operator to restart all members.
pub(super) async fn restart(target: &Target, cluster: &str) -> Result<(), PluginError> {
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    target.annotate(cluster, RESTARTED_AT, &now).await?;
    print(&format!(
        "the members of {cluster} restart one at a time, the leader last; see kubectl witan status {cluster}\n"
    ))
}

/// Asks the operator to go on with one member, after the user has seen who answers.
pub(super) async fn recover(
    target: &Target,
    (cluster, member): (&str, &str),
    yes: bool,
    flags: &MemberFlags,
) -> Result<(), PluginError> {
    let resource = target.cluster(cluster).await?;
    known(&resource, cluster, member)?;
    // without any running pod nobody can be asked, and the disk of the survivor still counts
    let answers = match Reach::open(target, &resource, flags).await {
        Ok(reach) => {
            let answers = reach.survey().await;
            print(&survey(&answers, |answer| match &answer.report {
                Ok(_) => String::new(),
                Err(error) => reach.why(&answer.member, error),
            }))?;
            answers
        }
        Err(error) => {
            print(&format!("no member can be asked: {error}\n"))?;
            Vec::new()
        }
    };
    if serves(&answers) {
        let text = "a quorum serves: there is nothing to recover, and a lost member is replaced without it";
        return Err(PluginError::words(text));
    }
    print(&warning(&resource, &answers, member))?;
    if !yes && !confirmed(cluster)? {
        return Err(PluginError::words("nothing was done"));
    }
    target.annotate(cluster, RECOVER_QUORUM, member).await?;
    print(&format!(
        "{member} goes on alone; see kubectl witan status {cluster}\n"
    ))
}

/// Returns who answers, and what they know.
fn survey(answers: &[Answer], why: impl Fn(&Answer) -> String) -> String {
    let heading = [
        "MEMBER",
        "ANSWERS",
        "QUORUM",
        "RAFT INDEX",
        "REVISION",
        "WHY NOT",
    ];
    let mut table = Table::new(heading);
    for answer in answers {
        let report = answer.report.as_ref().ok();
        table.row([
            answer.member.clone(),
            yes(report.is_some()),
            report.map_or_else(|| UNKNOWN.to_owned(), |report| yes(report.linearizable)),
            or_unknown(report.map(|report| report.raft_index.to_string())),
            or_unknown(report.map(|report| report.revision.to_string())),
            clipped(&why(answer), ERROR_MAX),
        ]);
    }
    table.to_string()
}

/// Whether a quorum has confirmed a read of a member.
fn serves(answers: &[Answer]) -> bool {
    let mut reports = answers
        .iter()
        .filter_map(|answer| answer.report.as_ref().ok());
    reports.any(|report| report.linearizable)
}

/// Returns what the user has to know before.
fn warning(resource: &EtcdCluster, answers: &[Answer], member: &str) -> String {
    let status = resource.status.clone().unwrap_or_default();
    let voters = status
        .members
        .iter()
        .filter(|known| known.id.is_some() && !known.is_learner);
    let voters = voters.count();
    let mut text = format!(
        "\nNo quorum of {} of the {voters} voters serves. {member} would go on alone: writes that only the others have are \
         lost, and their disks are not started again.\n",
        quorum(voters.max(1)),
    );
    let index = |answer: &Answer| answer.report.as_ref().ok().map(|report| report.raft_index);
    let own = answers
        .iter()
        .find(|answer| answer.member == member)
        .and_then(index);
    let ahead = answers.iter().filter(|answer| index(answer) > own);
    let best = ahead.max_by_key(|answer| index(answer));
    if let Some(best) = best {
        let (name, index) = (&best.member, index(best).unwrap_or_default());
        let own = own.map_or_else(
            || "does not answer".to_owned(),
            |own| format!("is at {own}"),
        );
        text.push_str(&format!(
            "{name} is at raft index {index} and {member} {own}: {name} would lose less.\n"
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use witan_members::{CallError, MemberEntry};

    use super::{
        super::testing::{facts, golden},
        *,
    };

    fn report(raft_index: u64, linearizable: bool) -> Report {
        let entry = |id, name: &str, learner| MemberEntry {
            id,
            name: name.to_owned(),
            peer_urls: vec![],
            client_urls: vec![],
            learner,
        };
        Report {
            cluster_id: 1,
            member_id: 1,
            leader_id: 0,
            version: "1.0.0".to_owned(),
            db_size: 0,
            quota: None,
            revision: 7,
            raft_index,
            raft_applied_index: raft_index,
            linearizable,
            members: vec![entry(1, "orders-0", false), entry(2, "orders-1", true)],
            alarms: vec![],
            users: None,
        }
    }

    fn answer(member: &str, report: Result<Report, CallError>) -> Answer {
        Answer { member: member.to_owned(), report }
    }

    #[test]
    fn who_recovers_sees_who_answers() {
        let lost = facts("lost.yaml").cluster;
        let answers = [
            answer("orders-0", Ok(report(90, false))),
            answer("orders-1", Ok(report(95, false))),
            answer("orders-2", Err(CallError::NoMember)),
        ];
        let why = |answer: &Answer| match &answer.report {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        };
        let text = survey(&answers, why) + &warning(&lost, &answers, "orders-0");
        golden("recover.txt", &text);
        assert!(!serves(&answers));
        assert!(serves(&[answer("orders-0", Ok(report(1, true)))]));
        assert!(!warning(&lost, &answers, "orders-1").contains("would lose less"));
    }

    #[test]
    fn members_have_names() {
        let cluster = facts("healthy.yaml").cluster;
        assert_eq!(id(&cluster, "orders", "orders-1").unwrap(), "b2");
        let error = id(&cluster, "orders", "orders-9").unwrap_err().to_string();
        assert!(
            error.ends_with("its members: orders-0, orders-1, orders-2"),
            "{error}"
        );
        let report = report(1, true);
        assert_eq!(voter(&report, "orders", "orders-0").unwrap(), 1);
        assert!(
            voter(&report, "orders", "orders-1").is_err(),
            "a learner cannot lead"
        );
    }
}

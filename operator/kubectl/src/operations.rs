//! Implements `move-leader`, `replace`, `recover` and `restart`, and the creation of EtcdOperations for all commands.

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use witan_crd::{
    EtcdCluster, EtcdOperation, EtcdOperationSpec, OperationPhase, RecoverQuorum, quorum,
};
use witan_members::Answer;

use super::{
    command::MemberFlags,
    error::PluginError,
    follow::{Stage, follow},
    output::{confirmed, print},
    reach::Reach,
    table::{MESSAGE_CHARS, Table, UNKNOWN, clipped, or_unknown, yes},
    target::Target,
};

/// Creates an operation for a cluster. The operation's name contains the verb. Fails if the cluster does not exist, because
/// the operation would wait for it. With `wait`, follows the operation until it ends.
pub(super) async fn create_for_cluster(
    target: &Target,
    (cluster, verb): (&str, &str),
    spec: EtcdOperationSpec,
    wait: bool,
) -> Result<(), PluginError> {
    let cluster = target.cluster(cluster).await?;
    let made = operation((&cluster, verb), spec, Timestamp::now());
    create_operation(target, &made, wait).await
}

/// Returns an operation that is bound to a cluster by name and UID. The operation's name contains the verb and the time.
pub(super) fn operation(
    (cluster, verb): (&EtcdCluster, &str),
    spec: EtcdOperationSpec,
    now: Timestamp,
) -> EtcdOperation {
    let (cluster_name, cluster_uid) = (cluster.name_any(), cluster.uid());
    let name = format!("{cluster_name}-{verb}-{}", now.strftime("%Y%m%d-%H%M%S"));
    let spec = EtcdOperationSpec { cluster_name, cluster_uid, ..spec };
    EtcdOperation::new(&name, spec)
}

/// Creates the operation and prints its name. With `wait`, follows it until it ends, and fails if the operation fails.
pub(super) async fn create_operation(
    target: &Target,
    made: &EtcdOperation,
    wait: bool,
) -> Result<(), PluginError> {
    target.create(made).await?;
    let name = made.name_any();
    print(&format!(
        "etcdoperation/{name} created; see kubectl get etcdop {name} -o wide\n"
    ))?;
    if wait {
        follow(target, &name, stage).await?;
    }
    Ok(())
}

/// Returns the stage of an operation: `Runs` if its phase is missing or unknown.
fn stage(operation: EtcdOperation) -> Stage {
    let status = operation.status.unwrap_or_default();
    let message = status.message.unwrap_or_default();
    match status.phase {
        Some(OperationPhase::Succeeded) => Stage::Succeeded(message),
        Some(OperationPhase::Failed) => Stage::Failed(message),
        Some(OperationPhase::Running) => Stage::Runs(status.progress.unwrap_or_default()),
        Some(OperationPhase::Pending) => Stage::Runs(format!("Pending {message}")),
        Some(OperationPhase::Unknown(phase)) => Stage::Runs(format!("{phase} {message}")),
        None => Stage::Runs(String::new()),
    }
}

/// Requests a forced new cluster from one member. First shows which members answer and asks for confirmation, unless `yes` is
/// set. Fails while a quorum serves, or if the user does not confirm. If no member can be reached, continues, because the
/// survivor may still have its disk. With `wait`, follows the operation until it ends, and fails if the operation fails.
pub(super) async fn recover(
    target: &Target,
    (cluster, survivor): (&str, String),
    (yes, wait): (bool, bool),
    flags: &MemberFlags,
) -> Result<(), PluginError> {
    let resource = target.cluster(cluster).await?;
    check_member(&resource, &survivor)?;
    let answers = match Reach::open(target, &resource, flags).await {
        Ok(reach) => {
            let answers = reach.survey().await;
            print(&survey_table(&answers, |answer| match &answer.report {
                Ok(_) => String::new(),
                Err(error) => reach.why(&answer.member, error),
            }))?;
            answers
        }
        Err(error) => {
            print(&format!("cannot reach any member: {error}\n"))?;
            Vec::new()
        }
    };
    if serves(&answers) {
        return Err(words!(
            "a quorum serves, so there is nothing to recover; use kubectl witan replace to replace a lost member"
        ));
    }
    print(&warning(&resource, &answers, &survivor))?;
    if !yes && !confirmed(target, cluster)? {
        return Err(words!("canceled: nothing was changed"));
    }
    let recover_quorum = Some(RecoverQuorum { survivor });
    let spec = EtcdOperationSpec { recover_quorum, ..EtcdOperationSpec::default() };
    let made = operation((&resource, "recover"), spec, Timestamp::now());
    create_operation(target, &made, wait).await
}

/// Fails unless the status of the cluster lists the member. The error names all members.
fn check_member(resource: &EtcdCluster, member: &str) -> Result<(), PluginError> {
    let all = resource.status.clone().unwrap_or_default().members;
    let names: Vec<_> = all.into_iter().map(|known| known.name).collect();
    if names.iter().any(|name| name == member) {
        return Ok(());
    }
    let (cluster, names) = (resource.name_any(), names.join(", "));
    Err(words!(
        "{cluster} has no member {member}; its members are {names}"
    ))
}

/// Returns a table of the members' answers. `why` explains why a member did not answer.
fn survey_table(answers: &[Answer], why: impl Fn(&Answer) -> String) -> String {
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
            or_unknown(report.map(|report| report.raft_index)),
            or_unknown(report.map(|report| report.revision)),
            clipped(&why(answer), MESSAGE_CHARS),
        ]);
    }
    table.to_string()
}

/// Returns whether any member answered a linearizable read, which needs a quorum.
fn serves(answers: &[Answer]) -> bool {
    let mut reports = answers
        .iter()
        .filter_map(|answer| answer.report.as_ref().ok());
    reports.any(|report| report.linearizable)
}

/// Returns the warning to show before a recovery. If `member` does not answer or is behind, the warning names the member with
/// the highest Raft index. A recovery from that member probably loses fewer writes, but only the members' logs are exact.
fn warning(resource: &EtcdCluster, answers: &[Answer], member: &str) -> String {
    let status = resource.status.clone().unwrap_or_default();
    let voters = status
        .members
        .iter()
        .filter(|known| known.id.is_some() && !known.is_learner);
    let voters = voters.count();
    let mut text = format!(
        "\nA quorum needs {} of the {voters} voters, but too few serve. This operation forces a new cluster from {member}: writes that only \
         the other members have are lost, and their disks are not used again.\n",
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
            "{name} is at Raft index {index}, and {member} {own}: a recovery from {name} probably loses fewer writes.\n"
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use witan_crd::EtcdOperationStatus;
    use witan_members::{CallError, Report};

    use super::{
        super::testing::{facts, golden, now},
        *,
    };

    fn report(raft_index: u64, linearizable: bool) -> Report {
        Report { revision: 7, raft_index, linearizable, ..Report::default() }
    }

    fn answer(member: &str, report: Result<Report, CallError>) -> Answer {
        Answer { member: member.to_owned(), report }
    }

    #[test]
    fn recover_lists_answering_members() {
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
        let text = survey_table(&answers, why) + &warning(&lost, &answers, "orders-0");
        golden("recover.txt", &text);
        assert!(!serves(&answers));
        assert!(serves(&[answer("orders-0", Ok(report(1, true)))]));
        assert!(!warning(&lost, &answers, "orders-1").contains("loses fewer writes"));
    }

    #[test]
    fn a_survivor_is_a_member() {
        let cluster = facts("healthy.yaml").cluster;
        assert!(check_member(&cluster, "orders-1").is_ok());
        let error = check_member(&cluster, "orders-9").unwrap_err().to_string();
        let all = "its members are orders-0, orders-1, orders-2";
        assert!(error.ends_with(all), "{error}");
    }

    #[test]
    fn an_operation_is_followed_to_its_end() {
        let stage_of = |status| {
            let spec = EtcdOperationSpec::default();
            let mut made = operation((&facts("healthy.yaml").cluster, "restart"), spec, now());
            let status: EtcdOperationStatus = serde_json::from_value(status).unwrap();
            made.status = Some(status);
            stage(made)
        };
        let pending = stage_of(json!({"phase": "Pending", "message": "waits for a"}));
        assert_eq!(pending, Stage::Runs("Pending waits for a".to_owned()));
        let runs = stage_of(json!({"phase": "Running", "progress": "stops", "message": "old"}));
        assert_eq!(runs, Stage::Runs("stops".to_owned()));
        let failed = stage_of(json!({"phase": "Failed", "message": "no"}));
        assert_eq!(failed, Stage::Failed("no".to_owned()));
        let succeeded = stage_of(json!({"phase": "Succeeded", "message": "it serves"}));
        assert_eq!(succeeded, Stage::Succeeded("it serves".to_owned()));
    }
}

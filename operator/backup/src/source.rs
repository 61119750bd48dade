//! Defines the source of a snapshot and the order in which members are tried. `snapshots` implements it over gRPC.

use bytes::Bytes;
use futures_util::stream::BoxStream;
use witan_api::backup::KeysHash;
use witan_members::RunningRelease;

use crate::reason::{BackupError, Reason};

/// Number of log entries by which a follower may lag before it is tried after the leader, because its snapshot would be old.
const FAR_BEHIND_ENTRIES: u64 = 1000;

pub(crate) trait Source {
    /// Queries the status of all members and makes a linearizable read at each voter. Returns the responses in order of
    /// arrival.
    async fn survey(&self) -> Vec<Result<Report, BackupError>>;

    /// Returns the digest of all changes at the member's reported revision; `None` if that revision was compacted or is the
    /// first revision.
    async fn revision_digest(&self, member: &Report) -> Result<Option<String>, BackupError>;

    /// Requests a snapshot of a member and waits for its first piece.
    async fn snapshot(&self, endpoint: &str) -> Result<Snapshot, BackupError>;

    /// Returns a member's hash of the key space at its reported revision. Fails if the member has compacted that revision.
    async fn keys_hash(&self, member: &Report) -> Result<KeysHash, BackupError>;
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) endpoint: String,
    pub(crate) is_leader: bool,
    /// Whether the member is a learner, which cannot send a snapshot.
    pub(crate) is_learner: bool,
    pub(crate) cluster_id: u64,
    /// The revision of the member. A later snapshot has at least this revision.
    pub(crate) revision: i64,
    pub(crate) applied: u64,
    /// Size of the member's data in bytes.
    pub(crate) db_bytes: u64,
    pub(crate) version: String,
    pub(crate) running: RunningRelease,
    /// The reason why a snapshot of the member would be unconfirmed. Either a voter did not answer a linearizable read, so it
    /// may be out of date, or the CORRUPT alarm is raised. `None` if neither applies.
    pub(crate) cut_off: Option<String>,
}

/// A snapshot whose stream has begun.
pub(crate) struct Snapshot {
    /// Size of the file in bytes, including its digest.
    pub(crate) total: u64,
    /// The pieces of the file. An error means that the stream broke.
    pub(crate) pieces: BoxStream<'static, Result<Bytes, BackupError>>,
}

/// Returns the voters that answered, in the order to try them: followers, the leader, and followers that are far behind. The
/// members that are cut off from a quorum or have the CORRUPT alarm come last.
///
/// # Errors
/// Returns an error if no voter answered, or if two voters belong to different clusters.
pub(crate) fn in_order(
    answers: Vec<Result<Report, BackupError>>,
) -> Result<Vec<Report>, BackupError> {
    let (mut reports, mut errors) = (Vec::new(), Vec::new());
    for answer in answers {
        match answer {
            Ok(member) if member.is_learner => errors.push(BackupError::new(
                Reason::SourceRefused,
                format!(
                    "{}: the member is a learner, which cannot send a snapshot",
                    member.endpoint
                ),
            )),
            Ok(member) => reports.push(member),
            Err(error) => errors.push(error),
        }
    }
    if let Some(first) = reports.first()
        && let Some(other) = reports
            .iter()
            .find(|member| member.cluster_id != first.cluster_id)
    {
        let message = format!(
            "{} and {} are members of different clusters: --endpoints must contain only members of one cluster",
            first.endpoint, other.endpoint
        );
        return Err(BackupError::new(Reason::SourceRefused, message));
    }
    if reports.is_empty() {
        let refused = errors
            .iter()
            .any(|error| error.reason == Reason::SourceRefused);
        let reason = if refused {
            Reason::SourceRefused
        } else {
            Reason::SourceUnreachable
        };
        let messages: Vec<_> = errors.into_iter().map(|error| error.message).collect();
        return Err(BackupError::new(reason, messages.join("; ")));
    }
    for error in errors {
        tracing::warn!(%error, "skipping a member");
    }
    let newest = reports
        .iter()
        .map(|member| member.applied)
        .max()
        .unwrap_or(0);
    // The sort is stable, so the order of arrival is kept.
    reports.sort_by_key(|member| {
        let is_far_behind = newest - member.applied > FAR_BEHIND_ENTRIES;
        (member.cut_off.is_some(), is_far_behind, member.is_leader)
    });
    Ok(reports)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::report;

    #[test]
    fn the_leader_is_tried_after_up_to_date_followers() {
        let leader = Report { is_leader: true, applied: 5000, ..report("leader") };
        let near = |name| Report { applied: 4000, ..report(name) };
        let far = Report { applied: 3999, ..report("far") };
        let learner = Report { is_learner: true, ..report("learner") };
        let cut_off = Report { cut_off: Some("no leader".to_owned()), ..report("cut off") };
        let answers = [cut_off, far, learner, leader, near("b"), near("a")].map(Ok);
        let gone = Err(BackupError::new(Reason::SourceUnreachable, "gone"));
        let order = in_order(answers.into_iter().chain([gone]).collect()).unwrap();
        let names: Vec<_> = order
            .iter()
            .map(|member| member.endpoint.as_str())
            .collect();
        assert_eq!(names, ["b", "a", "leader", "far", "cut off"]);
    }

    #[test]
    fn without_a_usable_member_the_error_has_all_answers() {
        let gone = || Err(BackupError::new(Reason::SourceUnreachable, "a: gone"));
        let refused = || Err(BackupError::new(Reason::SourceRefused, "b: no such user"));
        let error = in_order(vec![gone(), gone()]).unwrap_err();
        assert_eq!(error.reason, Reason::SourceUnreachable);
        let error = in_order(vec![gone(), refused()]).unwrap_err();
        assert_eq!(
            error,
            BackupError::new(Reason::SourceRefused, "a: gone; b: no such user")
        );
    }

    #[test]
    fn endpoints_of_two_clusters_are_refused() {
        let other = Report { cluster_id: 8, ..report("b") };
        let error = in_order(vec![Ok(report("a")), Ok(other)]).unwrap_err();
        assert_eq!(error.reason, Reason::SourceRefused);
    }
}

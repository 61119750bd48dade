//! Finds the membership changes that etcd has logged but refused.

use witan_etcd::BackendMeta;
use witan_machine::{
    command::{ChangeMembers, Command},
    member::MemberRegistry,
};
use witan_snapshot::v2_store::V2Store;

use super::AdoptError;

/// Returns the members from the store in which etcd keeps them: the v2 store up to etcd 3.5, the backend in later versions.
/// `in_backend` contains the backend's members after the entries that were applied.
pub(super) fn current_members(
    backend: &BackendMeta,
    v2: &V2Store,
    in_backend: &MemberRegistry,
) -> Result<MemberRegistry, AdoptError> {
    match backend.storage_version {
        None => Ok(v2.members()?),
        Some(_) => Ok(in_backend.clone()),
    }
}

/// Returns whether etcd has refused the membership change in the entry `index`. etcd logs a change before it checks the peer
/// URLs and the number of learners. `current` contains the members before the change, or the later members that the backend
/// contains. From etcd 3.6, the backend contains the ids of all members that etcd has added up to its index.
pub(super) fn is_refused(
    command: &Command,
    index: u64,
    backend: &BackendMeta,
    current: &MemberRegistry,
) -> bool {
    let are_taken = |urls: &[String], id: u64| {
        let mut others = current.by_id.values().filter(|member| member.id != id);
        others.any(|other| other.peer_urls.iter().any(|url| urls.contains(url)))
    };
    if let Command::Members(ChangeMembers { add: Some(added), .. }) = command {
        let known = backend.members.iter().map(|member| member.id);
        let mut known = known.chain(backend.removed.iter().copied());
        let is_known = known.any(|id| id == added.id);
        match backend.storage_version {
            Some(_) if index <= backend.consistent_index => !is_known,
            // Up to etcd 3.5, a cluster has at most one learner.
            None if added.learner && current.by_id.values().any(|one| one.learner) => !is_known,
            None | Some(_) => are_taken(&added.peer_urls, added.id),
        }
    } else if let Command::PeerUrls(change) = command {
        are_taken(&change.peer_urls, change.id)
    } else {
        false
    }
}

#[cfg(test)]
mod tests {
    use witan_api::peer;
    use witan_machine::{
        command::UpdatePeerUrls,
        member::{Member, MemberId},
    };

    use super::{super::state::registry, *};

    fn add(id: u64, url: &str, learner: bool) -> Command {
        let peer_urls = vec![url.to_owned()];
        let added = Member { id, peer_urls, learner, ..Member::default() };
        Command::Members(ChangeMembers { add: Some(added), ..ChangeMembers::default() })
    }

    fn update(id: u64, url: &str) -> Command {
        Command::PeerUrls(UpdatePeerUrls { id, peer_urls: vec![url.to_owned()] })
    }

    #[test]
    fn membership_changes_that_etcd_has_refused_are_found() {
        let member = |id, url: &str| peer::Member {
            id,
            peer_urls: vec![url.to_owned()],
            ..peer::Member::default()
        };
        let learner = peer::Member { is_learner: true, ..member(4, "http://d:1") };
        let backend = BackendMeta {
            consistent_index: 20,
            members: vec![member(1, "http://a:1"), member(2, "http://b:1"), learner],
            removed: vec![3],
            ..BackendMeta::default()
        };
        let storage_version = Some("3.6.0".to_owned());
        let later = BackendMeta { storage_version, ..backend.clone() };
        let mut current = registry(&backend);
        let remove = ChangeMembers { remove: 9, ..ChangeMembers::default() };
        for (command, index, refused) in [
            (add(9, "http://a:1", false), 20, [true; 2]),
            (add(9, "http://a:1", false), 21, [true; 2]),
            // The member with this peer URL may have been removed since.
            (add(9, "http://c:1", false), 20, [false, true]),
            (add(9, "http://c:1", false), 21, [false; 2]),
            (add(2, "http://b:1", false), 20, [false; 2]),
            (add(3, "http://b:1", false), 20, [true, false]),
            (add(9, "http://c:1", true), 20, [true; 2]),
            (add(9, "http://c:1", true), 21, [true, false]),
            (update(1, "http://b:1"), 20, [true; 2]),
            (update(1, "http://a:1"), 20, [false; 2]),
            (Command::Members(remove), 20, [false; 2]),
        ] {
            let is_refused = |backend| is_refused(&command, index, backend, &current);
            let found = [&backend, &later].map(is_refused);
            assert_eq!(found, refused, "{command:?} {index}");
        }
        current.by_id.remove(&MemberId(4));
        let first_learner = add(9, "http://c:1", true);
        assert!(!is_refused(&first_learner, 20, &backend, &current));
    }

    /// An earlier entry may have freed the peer URL of an added member.
    #[test]
    fn the_current_members_of_etcd_3_6_include_applied_changes() {
        let storage_version = Some("3.6.0".to_owned());
        let backend = BackendMeta { storage_version, ..BackendMeta::default() };
        let mut applied = registry(&backend);
        applied.by_id.insert(MemberId(9), Member::default());
        let current = current_members(&backend, &V2Store::default(), &applied).unwrap();
        assert!(current.by_id.contains_key(&MemberId(9)));
    }
}

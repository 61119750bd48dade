//! Compares the keys of all members at one revision.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use witan_api::backup::KeysHash;
use witan_crd::MemberHash;
use witan_members::{Address, Members};

/// The result of reading the hashes of all members' keys.
#[derive(Debug, PartialEq)]
pub(super) enum Compared {
    /// The members have compacted during the comparison or at different revisions, so the comparison must be repeated.
    Again(String),
    /// A member cannot be reached, or a call to it failed; the message says why.
    Silent(String),
    /// The revision, and each member's hash at this revision.
    Hashes(i64, Vec<MemberHash>),
}

/// Reads the hashes of all members' keys at the lowest of their revisions. If a call to any member fails, returns no hashes:
/// `Again` if the member has compacted that revision, otherwise `Silent`. Also returns `Again` if the members have compacted at
/// different revisions.
pub(super) async fn compare<M: Members>(members: &M, of: &[Address]) -> Compared {
    let answers = members.survey(of).await;
    let mut revision = i64::MAX;
    for answer in &answers {
        match &answer.report {
            Ok(report) => revision = revision.min(report.revision),
            Err(error) => return Compared::Silent(error.to_string()),
        }
    }
    let hashes = join_all(of.iter().map(|member| members.keys_hash(member, revision))).await;
    let mut found = Vec::new();
    for (member, hash) in of.iter().zip(hashes) {
        match hash {
            Ok(hash) => found.push((member.member.clone(), hash)),
            Err(error) if error.says("required revision has been compacted") => {
                return Compared::Again(error.to_string());
            }
            Err(error) => return Compared::Silent(error.to_string()),
        }
    }
    check_compactions(revision, found)
}

/// Returns the members' hashes at `revision`. Returns `Again` if the members have compacted at different revisions, because
/// their hashes then cannot be compared.
fn check_compactions(revision: i64, found: Vec<(String, KeysHash)>) -> Compared {
    let compacted = found.first().map(|(_, hash)| hash.compact_revision);
    let mut others = found.iter();
    if others.any(|(_, hash)| Some(hash.compact_revision) != compacted) {
        let text = "the members have compacted at different revisions; comparing again";
        return Compared::Again(text.to_owned());
    }
    let text = |(member, keys): (String, KeysHash)| {
        let hash = format!("{:08x}", keys.hash);
        MemberHash { member, hash }
    };
    Compared::Hashes(revision, found.into_iter().map(text).collect())
}

/// Returns a message that the members' key hashes agree, otherwise an error. The error names the members that differ from the
/// majority, or all groups if there is no majority.
pub(super) fn verdict(revision: i64, hashes: &[MemberHash]) -> Result<String, String> {
    let mut groups = BTreeMap::<&str, Vec<&str>>::new();
    for of in hashes {
        groups.entry(&of.hash).or_default().push(&of.member);
    }
    let most = groups.values().map(Vec::len).max().unwrap_or_default();
    let mut groups: Vec<_> = groups.into_values().collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.len()));
    let names = |group: &[&str]| group.join(", ");
    match groups.as_slice() {
        [] | [_] => Ok(format!(
            "the key spaces of all {most} members are equal at revision {revision}"
        )),
        [agree, others @ ..] if most * 2 > hashes.len() => Err(format!(
            "at revision {revision}, the key spaces of {} differ from those of {}",
            names(&others.concat()),
            names(agree)
        )),
        _ => {
            let groups: Vec<_> = groups.iter().map(|group| names(group)).collect();
            Err(format!(
                "at revision {revision}, no majority of the members has the same key space: {}",
                groups.join(" | ")
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashes(of: &[(&str, &str)]) -> Vec<MemberHash> {
        let hash = |(member, hash): &(&str, &str)| MemberHash {
            member: (*member).to_owned(),
            hash: (*hash).to_owned(),
        };
        of.iter().map(hash).collect()
    }

    #[test]
    fn the_members_that_differ_are_named() {
        let equal = hashes(&[("a-0", "1"), ("a-1", "1"), ("a-2", "1")]);
        assert!(verdict(7, &equal).unwrap().contains("all 3 members"));
        let one = hashes(&[("a-0", "2"), ("a-1", "1"), ("a-2", "1")]);
        assert_eq!(
            verdict(7, &one).unwrap_err(),
            "at revision 7, the key spaces of a-0 differ from those of a-1, a-2"
        );
        let tie = hashes(&[("a-0", "1"), ("a-1", "2")]);
        assert!(verdict(7, &tie).unwrap_err().contains("no majority"));
    }

    #[test]
    fn hashes_after_different_compactions_are_inconclusive() {
        let at = |compact_revision| KeysHash { hash: 1, compact_revision };
        let of = |second| vec![("a-0".to_owned(), at(3)), ("a-1".to_owned(), at(second))];
        assert!(matches!(check_compactions(9, of(4)), Compared::Again(_)));
        assert!(matches!(
            check_compactions(9, of(3)),
            Compared::Hashes(9, _)
        ));
    }
}

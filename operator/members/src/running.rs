//! Reads a member's release and feature levels from its page `/version`.

use std::time::Duration;

use serde::Deserialize;

use super::{
    Address,
    page::{self, PAGE_BYTES_MAX},
};

/// The fields of a member's page `/version` that etcd lacks: the release and the feature levels.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RunningRelease {
    /// The release of Witan.
    #[serde(rename = "witan")]
    pub release: Option<String>,
    /// The highest feature level that the member supports.
    pub level: Option<u32>,
    /// The cluster's feature level that the member has applied.
    pub cluster_level: Option<u32>,
}

/// Reads the page of a member. If that fails, all fields are `None`, because the rest of a report does not depend on them.
pub(super) async fn read(of: &Address, patience: Duration) -> RunningRelease {
    // The page is public. With a login, the member would verify the password for each request.
    let public = Address { login: None, ..of.clone() };
    let url = of.url("/version");
    let page = page::get(&url, Some(&public), patience, PAGE_BYTES_MAX).await;
    let read = page
        .ok()
        .and_then(|page| serde_json::from_slice(&page).ok());
    read.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::tests::{PATIENCE, address, serve};

    /// Serves one request with a page. Returns the fields read from it and the lines of the request.
    async fn served(page: &'static str) -> (RunningRelease, Vec<String>) {
        let (at, serving) = serve("200 OK", page, None);
        let found = read(&address(at, None, Some("p")), PATIENCE).await;
        (found, serving.join().unwrap())
    }

    #[tokio::test]
    async fn the_release_and_the_levels_are_read_without_a_password() {
        let page = r#"{"etcdserver":"3.7.3","etcdcluster":"3.7.0","storage":"3.7.0",
            "witan":"0.2.0","level":2,"clusterLevel":1,"later":[]}"#;
        let (found, lines) = served(page).await;
        let release = Some("0.2.0".to_owned());
        let expected = RunningRelease { release, level: Some(2), cluster_level: Some(1) };
        assert_eq!(found, expected);
        assert_eq!(lines[0], "GET /version HTTP/1.1");
        let login = lines.iter().find(|line| line.starts_with("authorization"));
        assert_eq!(login, None);
    }

    #[tokio::test]
    async fn a_member_without_these_fields_has_no_release() {
        for page in [r#"{"etcdserver":"3.5.21","etcdcluster":"3.5.0"}"#, "[]", ""] {
            let (found, _) = served(page).await;
            assert_eq!(found, RunningRelease::default(), "{page}");
        }
    }
}

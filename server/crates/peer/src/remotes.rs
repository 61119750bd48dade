//! Members whose addition this member has not applied yet, because it was down or partitioned. This member must still reach
//! them, because such a member may be the leader or need this member's vote. Until this member applies the addition, it accepts
//! their streams and opens streams to the URLs in their handshakes.
//!
//! Any process that knows the cluster id can impersonate a member; only certificates prevent that.

use witan_config::{Address, Url};
use witan_machine::member::MemberId;
use witan_replica::replica::Role;

use super::{
    Shared,
    handshake::{Handshake, Refusal},
    link_to,
};

/// Maximum number of unknown members with concurrent streams; further members are refused. Usually, fewer members are added
/// while a member is down.
const REMOTES_MAX: usize = 16;

/// Number of URLs to try for each unknown member.
const REMOTE_URLS_TRIED: usize = 8;

impl Shared {
    /// Checks whether a stream is accepted. Members other than the leader also accept up to [`REMOTES_MAX`] unknown members
    /// that announce TCP URLs.
    pub(super) fn check(&self, hello: &Handshake) -> Result<(), Refusal> {
        let own = self.node.identity();
        let checked = hello.check((own.member_id, &own.store), &self.members());
        if checked != Err(Refusal::Unknown) {
            return checked;
        }
        let leads = self.node.status().role == Role::Leader;
        let remotes = self.remotes.lock();
        let known = remotes.contains_key(&hello.from);
        let free = remotes.len() < REMOTES_MAX && !urls(hello).is_empty();
        match !leads && (known || free) {
            true => Ok(()),
            false => checked,
        }
    }

    /// Opens streams to an unknown member, for up to [`REMOTES_MAX`] such members. If streams to it are already open, only
    /// updates its URLs. Does nothing if the handshake has no URLs or the member list contains the member. Call this on the
    /// streams' thread.
    pub(super) fn connect_remote(self: &std::sync::Arc<Self>, hello: &Handshake) {
        // Lock in the same order as `update_members`, so that no member is missed between the two locks.
        let mut remotes = self.remotes.lock();
        let urls = urls(hello);
        if self.members().by_id.contains_key(&hello.from) || urls.is_empty() {
            return;
        }
        if let Some(link) = remotes.get(&hello.from) {
            link.peer.set_urls(urls);
        } else if remotes.len() < REMOTES_MAX {
            let remote_peer_id = hello.from.to_string();
            tracing::info!(
                remote_peer_id,
                "accepted a stream from a member whose addition is not applied here yet"
            );
            let runtime = tokio::runtime::Handle::current();
            let link = link_to(self, &runtime, hello.from, urls);
            remotes.insert(hello.from, link);
        }
    }

    /// Ends the streams that [`Self::connect_remote`] opened to a member and removes its metrics and statistics. Does nothing
    /// if there are no such streams. Call this when the last stream from that member has ended.
    pub(super) fn forget_remote(&self, id: MemberId) {
        if self.remotes.lock().remove(&id).is_some() {
            self.forget(id);
        }
    }
}

/// Returns the first [`REMOTE_URLS_TRIED`] TCP URLs in the opener's handshake.
fn urls(hello: &Handshake) -> Vec<Url> {
    let urls = hello.peer_urls.iter().filter_map(|url| url.parse().ok());
    // A path to a Unix socket on another machine means nothing here.
    let urls = urls.filter(|url: &Url| matches!(url.address(), Address::Tcp(..)));
    urls.take(REMOTE_URLS_TRIED).collect()
}

//! Members of which this one does not have the entry that adds them: it was stopped, or cut off, while they
//! came. One of them may lead, or need its vote, and those that it knows may be gone. Their streams are taken,
//! and answered at the URLs that their handshakes name, until the entry comes.
//!
//! Who knows the cluster's id can say that it is such a member, as it can say that it is a known one: only
//! certificates keep strangers out.

use std::collections::BTreeMap;

use witan_config::{Address, Url};
use witan_replica::replica::Role;

use super::{
    LinkTasks, Shared,
    handshake::{Handshake, Refusal},
    link_to,
};

/// How many there are at once: more come and go in no cluster while one of its members is away.
const REMOTES_MAX: usize = 16;

/// URLs of one of them that are called.
const REMOTE_URLS_MAX: usize = 8;

/// The streams to them.
#[derive(Debug, Default)]
pub(super) struct Remotes(pub(super) BTreeMap<u64, LinkTasks>);

impl Shared {
    /// Checks whether a stream is accepted: one of a member, or of a member that this one does not know yet.
    /// The leader knows all members.
    pub(super) fn check(&self, hello: &Handshake) -> Result<(), Refusal> {
        let checked = hello.check(self.own_id(), &self.members());
        if checked != Err(Refusal::Unknown) {
            return checked;
        }
        let leads = self.node.status().role == Role::Leader;
        let remotes = self.remotes();
        let known = remotes.0.contains_key(&hello.from);
        let room = remotes.0.len() < REMOTES_MAX && !urls(hello).is_empty();
        match !leads && (known || room) {
            true => Ok(()),
            false => checked,
        }
    }

    /// Opens streams to a member that has opened one and that this one does not know yet, [`REMOTES_MAX`] of
    /// them at most. Called on the thread of all streams.
    pub(super) fn answer_remote(self: &std::sync::Arc<Self>, hello: &Handshake) {
        // in this order, as in `follow`: a member is not forgotten between the two
        let mut remotes = self.remotes();
        let urls = urls(hello);
        if self.members().by_id.contains_key(&hello.from) || urls.is_empty() {
            return;
        }
        if let Some(link) = remotes.0.get(&hello.from) {
            link.peer.set_urls(urls);
        } else if remotes.0.len() < REMOTES_MAX {
            let remote_peer_id = format!("{:x}", hello.from);
            tracing::info!(
                remote_peer_id,
                "a member called that this one does not know yet"
            );
            let runtime = tokio::runtime::Handle::current();
            let link = link_to(self, &runtime, hello.from, urls);
            remotes.0.insert(hello.from, link);
        }
    }

    /// Ends the streams to an unknown member that has no stream left.
    pub(super) fn forget_remote(&self, id: u64) {
        if self.remotes().0.remove(&id).is_some() {
            self.forget(id);
        }
    }
}

/// Returns the TCP URLs at which the opener says that it listens, [`REMOTE_URLS_MAX`] of them at most.
fn urls(hello: &Handshake) -> Vec<Url> {
    let urls = hello.peer_urls.iter().filter_map(|url| url.parse().ok());
    // a path on another machine says nothing here
    let urls = urls.filter(|url: &Url| matches!(url.address(), Address::Tcp(..)));
    urls.take(REMOTE_URLS_MAX).collect()
}

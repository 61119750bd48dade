//! Simple tokens: whose each is, in memory alone. A token lives as long as it is used, and ends with
//! its user, with that user's password, with auth and with the process.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use witan_replica::machine::auth::Reply;

/// Tokens of one member; beyond, the one that would end first makes room.
const TOKENS_MAX: usize = 262_144;

/// See the module's description. Tokens are shown by no `Debug`.
pub struct Tokens {
    ttl: Duration,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    by_token: HashMap<String, Owner>,
    /// When what has ended is next swept away.
    sweep_at: Option<Instant>,
}

struct Owner {
    user: String,
    ends: Instant,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").finish_non_exhaustive()
    }
}

impl Tokens {
    /// Tokens that are not used for `ttl` end.
    pub(super) fn new(ttl: Duration) -> Self {
        Self {
            ttl,
            known: Mutex::default(),
        }
    }

    /// Whose token this is. That it was asked for lets it live on.
    pub fn user(&self, token: &str) -> Option<String> {
        let now = Instant::now();
        let mut known = self.known();
        let owner = known.by_token.get_mut(token)?;
        if owner.ends < now {
            known.by_token.remove(token);
            return None;
        }
        owner.ends = now + self.ttl;
        Some(owner.user.clone())
    }

    /// What an applied command about users means for tokens. `index` is its entry's; `own` says
    /// whether it was proposed here, in this life: who asked elsewhere uses its token there.
    pub(super) fn applied(&self, reply: &Reply, index: u64, own: bool) {
        match reply {
            Reply::Authenticated { user, prefix } if own && !prefix.0.is_empty() => {
                self.assign(format!("{}.{index}", prefix.0), user.clone());
            }
            Reply::Authenticated { .. } | Reply::Done => {}
            Reply::Expelled { user } => {
                self.known().by_token.retain(|_, owner| owner.user != *user)
            }
            Reply::Disabled => self.known().by_token.clear(),
            Reply::Paths(done) => {
                if let Some(user) = &done.expelled {
                    self.known().by_token.retain(|_, owner| owner.user != *user);
                }
            }
        }
    }

    fn assign(&self, token: String, user: String) {
        let now = Instant::now();
        let mut known = self.known();
        if known.sweep_at.is_none_or(|at| at <= now) || known.by_token.len() >= TOKENS_MAX {
            known.by_token.retain(|_, owner| owner.ends >= now);
            known.sweep_at = Some(now + self.ttl);
        }
        if known.by_token.len() >= TOKENS_MAX {
            let first = known.by_token.iter().min_by_key(|(_, owner)| owner.ends);
            if let Some(first) = first.map(|(token, _)| token.clone()) {
                known.by_token.remove(&first);
            }
        }
        let ends = now + self.ttl;
        known.by_token.insert(token, Owner { user, ends });
    }

    /// A panic of another thread while it held the map leaves it whole.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use witan_replica::machine::auth::Secret;

    use super::*;

    fn authenticated(user: &str, prefix: &str) -> Reply {
        Reply::Authenticated {
            user: user.into(),
            prefix: Secret(prefix.into()),
        }
    }

    #[test]
    fn a_token_ends_with_its_user_or_with_auth() {
        let tokens = Tokens::new(Duration::from_secs(300));
        tokens.applied(&authenticated("alice", "abc"), 7, true);
        tokens.applied(&authenticated("bob", "def"), 8, true);
        tokens.applied(&authenticated("eve", "ghi"), 9, false);
        assert_eq!(tokens.user("abc.7").as_deref(), Some("alice"));
        assert_eq!(tokens.user("abc.8"), None);
        assert_eq!(tokens.user("ghi.9"), None, "asked for elsewhere");
        let gone = Reply::Expelled {
            user: "alice".into(),
        };
        tokens.applied(&gone, 10, false);
        assert_eq!(tokens.user("abc.7"), None);
        assert_eq!(tokens.user("def.8").as_deref(), Some("bob"));
        tokens.applied(&Reply::Disabled, 11, false);
        assert_eq!(tokens.user("def.8"), None);
    }

    #[test]
    fn a_token_that_is_not_used_ends() {
        let tokens = Tokens::new(Duration::ZERO);
        tokens.applied(&authenticated("alice", "abc"), 7, true);
        let begun = Instant::now();
        while Instant::now() == begun {}
        assert_eq!(tokens.user("abc.7"), None);
    }

    #[test]
    fn no_debug_shows_a_token() {
        let tokens = Tokens::new(Duration::from_secs(300));
        let reply = authenticated("alice", "verysecret");
        tokens.applied(&reply, 7, true);
        assert!(!format!("{tokens:?} {reply:?}").contains("verysecret"));
    }
}

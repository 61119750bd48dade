//! Simple tokens in memory. The log entry of a login assigns the token on every member, and each member measures how long the
//! token has been unused. A token ends when its user is deleted or changes the password, when authentication is disabled, or
//! when the process ends. Entries in the log at startup assign no tokens, because the tokens may have expired. An entry that
//! later replaces such an entry assigns its token.
//!
//! At the limit, the user with the most tokens loses the least recently used one. The logins of one user therefore do not end
//! the tokens of other users. Logins run on the replica's thread, so no step visits all tokens.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use witan_base::sync::Mutex;
use witan_machine::auth::AuthReply;

/// Maximum number of simple tokens of one member; when it is exceeded, the user with the most tokens loses the least recently
/// used one.
const TOKENS_MAX: usize = 262_144;

/// Number of expired tokens that one login removes. It is higher than the number that a login adds.
const SWEPT_PER_LOGIN: usize = 4;

/// Divisor of a token's lifetime. The quotient is the minimum time between two moves of a used token to the end of the order.
const ORDER_PARTS: u32 = 64;

/// A member's simple tokens. `Debug` does not print them.
pub struct Tokens {
    ttl: Duration,
    known: Mutex<TokenTable>,
    /// Index up to which the log still contains the entries that it contained at startup.
    replayed: AtomicU64,
    /// Index up to which the tokens of all entries are assigned.
    assigned: AtomicU64,
}

#[derive(Default)]
struct TokenTable {
    by_token: HashMap<Arc<str>, TokenOwner>,
    /// All tokens by position. The least recently used token comes first.
    order: BTreeMap<u64, Arc<str>>,
    /// Positions of each user's tokens.
    by_user: HashMap<Arc<str>, BTreeSet<u64>>,
    next: u64,
}

struct TokenOwner {
    user: Arc<str>,
    ends: Instant,
    /// Position of the token in `TokenTable::order`.
    place: u64,
    /// Time at which the token got its position.
    placed: Instant,
}

impl TokenTable {
    /// Adds a token at the end of the order. The token expires after `ttl`.
    fn insert(&mut self, token: Arc<str>, user: Arc<str>, now: Instant, ttl: Duration) {
        // All tokens of a user share the user's name, which can be long.
        let known = self.by_user.get_key_value(&user);
        let user = known.map_or(user, |(known, _)| known.clone());
        let place = self.next;
        self.next += 1;
        let owner = TokenOwner { user: user.clone(), ends: now + ttl, place, placed: now };
        self.by_token.insert(token.clone(), owner);
        self.order.insert(place, token);
        self.by_user.entry(user).or_default().insert(place);
    }

    /// Removes a token and its position. Ignores an unknown token.
    fn remove(&mut self, token: &str) {
        let Some(owner) = self.by_token.remove(token) else {
            return;
        };
        self.order.remove(&owner.place);
        if let Some(places) = self.by_user.get_mut(&owner.user) {
            places.remove(&owner.place);
            if places.is_empty() {
                self.by_user.remove(&owner.user);
            }
        }
    }

    /// Removes all tokens of a user. Ignores an unknown user.
    fn remove_user(&mut self, user: &str) {
        for place in self.by_user.remove(user).unwrap_or_default() {
            if let Some(token) = self.order.remove(&place) {
                self.by_token.remove(&token);
            }
        }
    }

    /// Removes expired tokens from the start of the order, up to [`SWEPT_PER_LOGIN`].
    fn sweep(&mut self, now: Instant) {
        for _ in 0..SWEPT_PER_LOGIN {
            let first = self.order.values().next().cloned();
            match first {
                Some(token) if self.by_token[&token].ends < now => self.remove(&token),
                Some(_) | None => return,
            }
        }
    }

    /// Removes the least recently used token of the user with the most tokens. If no other user has more tokens than `user`,
    /// removes a token of `user`. The name decides a tie, so that all members choose the same user.
    fn evict(&mut self, user: &str) {
        let own = self.by_user.get(user);
        let own_count = own.map_or(0, BTreeSet::len);
        let counts = self.by_user.iter();
        let most = counts.max_by_key(|(user, places)| (places.len(), *user));
        let most = most.map(|(_, places)| places);
        let victim = most.filter(|places| places.len() > own_count).or(own);
        let oldest = victim.and_then(BTreeSet::first);
        let token = oldest.and_then(|place| self.order.get(place)).cloned();
        if let Some(token) = token {
            self.remove(&token);
        }
    }
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").finish_non_exhaustive()
    }
}

impl Tokens {
    /// Creates an empty set. A token expires after `ttl` without use. `replayed` is the last log index at startup.
    pub(super) fn new(ttl: Duration, replayed: u64) -> Self {
        Self {
            ttl,
            known: Mutex::default(),
            replayed: AtomicU64::new(replayed),
            assigned: AtomicU64::new(0),
        }
    }

    /// Returns whether this member might not have applied the entry that assigns a token. The text of a token ends with the
    /// index of its entry. Returns `false` for text that does not end with an index.
    pub fn is_ahead(&self, token: &str) -> bool {
        let index = token.rsplit_once('.').map(|(_, index)| index.parse());
        matches!(index, Some(Ok(index)) if self.assigned.load(Relaxed) < index)
    }

    /// Records that all entries up to `index` are applied and their tokens assigned.
    pub(super) fn assigned(&self, index: u64) {
        self.assigned.fetch_max(index, Relaxed);
    }

    /// Returns a token's user and renews the token, or returns `None` if the token is unknown or has expired.
    pub fn use_token(&self, token: &str) -> Option<String> {
        let now = Instant::now();
        let mut known = self.known.lock();
        let owner = known.by_token.get_mut(token)?;
        if owner.ends < now {
            known.remove(token);
            return None;
        }
        owner.ends = now + self.ttl;
        let user = owner.user.clone();
        if now - owner.placed > self.ttl / ORDER_PARTS {
            known.remove(token);
            known.insert(token.into(), user.clone(), now, self.ttl);
        }
        Some(String::from(&*user))
    }

    /// Records that an entry was appended to the log. If the entry replaces an entry from before startup, the new entry assigns
    /// its token.
    pub(super) fn appended(&self, index: u64) {
        self.replayed.fetch_min(index.saturating_sub(1), Relaxed);
    }

    /// Assigns or removes tokens after an applied auth command. `index` is the index of its entry. A command that is replayed
    /// at startup, or has an empty prefix, assigns no token.
    pub(super) fn applied(&self, reply: &AuthReply, index: u64) {
        match reply {
            AuthReply::Authenticated { user, prefix }
                if index > self.replayed.load(Relaxed) && !prefix.0.is_empty() =>
            {
                self.assign(format!("{}.{index}", prefix.0), user.clone());
            }
            AuthReply::Authenticated { .. } | AuthReply::Done => {}
            AuthReply::TokensRevoked { user } => self.known.lock().remove_user(user),
            AuthReply::Disabled => self.end_all(),
            AuthReply::Paths(done) => {
                if let Some(user) = &done.tokens_revoked_of {
                    self.known.lock().remove_user(user);
                }
            }
        }
    }

    /// Ends the tokens of all users.
    pub(super) fn end_all(&self) {
        *self.known.lock() = TokenTable::default();
    }

    /// Adds a user's token after removing some expired tokens. If there are already [`TOKENS_MAX`] tokens, evicts a token
    /// first.
    fn assign(&self, token: String, user: String) {
        let now = Instant::now();
        let mut known = self.known.lock();
        known.sweep(now);
        if known.by_token.len() >= TOKENS_MAX {
            known.evict(&user);
        }
        known.insert(token.into(), user.into(), now, self.ttl);
    }
}

#[cfg(test)]
mod tests {
    use witan_machine::auth::Secret;

    use super::*;

    fn authenticated(user: &str, prefix: &str) -> AuthReply {
        AuthReply::Authenticated { user: user.into(), prefix: Secret(prefix.into()) }
    }

    #[test]
    fn a_token_ends_with_its_user_or_with_auth() {
        let tokens = Tokens::new(Duration::from_secs(300), 0);
        tokens.applied(&authenticated("alice", "abc"), 7);
        tokens.applied(&authenticated("bob", "def"), 8);
        assert_eq!(tokens.use_token("abc.7").as_deref(), Some("alice"));
        assert_eq!(tokens.use_token("abc.8"), None);
        let gone = AuthReply::TokensRevoked { user: "alice".into() };
        tokens.applied(&gone, 10);
        assert_eq!(tokens.use_token("abc.7"), None);
        assert_eq!(tokens.use_token("def.8").as_deref(), Some("bob"));
        tokens.applied(&AuthReply::Disabled, 11);
        assert_eq!(tokens.use_token("def.8"), None);
    }

    #[test]
    fn an_entry_from_before_the_start_assigns_no_token() {
        let tokens = Tokens::new(Duration::from_secs(300), 7);
        tokens.applied(&authenticated("alice", "abc"), 7);
        tokens.applied(&authenticated("alice", "abc"), 8);
        assert_eq!(tokens.use_token("abc.7"), None);
        assert_eq!(tokens.use_token("abc.8").as_deref(), Some("alice"));
    }

    /// Entries that were not committed before startup may be replaced by entries of another leader.
    #[test]
    fn an_entry_that_replaces_one_from_before_the_start_assigns_a_token() {
        let tokens = Tokens::new(Duration::from_secs(300), 8);
        tokens.appended(8);
        for index in 7..10 {
            tokens.applied(&authenticated("alice", "abc"), index);
        }
        assert_eq!(tokens.use_token("abc.7"), None);
        assert_eq!(tokens.use_token("abc.8").as_deref(), Some("alice"));
        tokens.appended(10);
        assert_eq!(tokens.use_token("abc.9").as_deref(), Some("alice"));
    }

    #[test]
    fn a_token_is_ahead_until_its_entry_is_applied() {
        let tokens = Tokens::new(Duration::from_secs(300), 0);
        tokens.assigned(7);
        assert!(tokens.is_ahead("abc.8") && !tokens.is_ahead("abc.7"));
        for none in ["", "8", "abc.x", "abc.99999999999999999999"] {
            assert!(!tokens.is_ahead(none), "{none}");
        }
        tokens.assigned(8);
        assert!(!tokens.is_ahead("abc.8"));
    }

    #[test]
    fn a_user_with_many_tokens_loses_its_own() {
        let tokens = Tokens::new(Duration::from_secs(300), 0);
        let log_in = |user: &str, index| {
            tokens.applied(&authenticated(user, user), index);
        };
        let timed = |indexes: std::ops::Range<u64>| {
            let begun = Instant::now();
            indexes.for_each(|index| log_in("bob", index));
            begun.elapsed()
        };
        log_in("alice", 1);
        timed(2..102);
        let few = timed(102..1102);
        timed(1102..TOKENS_MAX as u64 + 9);
        let many = timed(TOKENS_MAX as u64 + 9..TOKENS_MAX as u64 + 1009);
        assert!(
            many < few * 50,
            "a thousand log-ins: {few:?}, then {many:?}"
        );
        assert_eq!(tokens.use_token("alice.1").as_deref(), Some("alice"));
        assert_eq!(tokens.use_token("bob.2"), None, "the oldest token of bob");
        let last = format!("bob.{}", TOKENS_MAX + 1008);
        assert_eq!(tokens.use_token(&last).as_deref(), Some("bob"));
        // When a user with few tokens logs in, the user with the most tokens loses a token.
        log_in("alice", 2);
        assert!(tokens.use_token("alice.1").is_some() && tokens.use_token("alice.2").is_some());
        assert_eq!(tokens.known.lock().by_token.len(), TOKENS_MAX);
        let gone = AuthReply::TokensRevoked { user: "bob".into() };
        tokens.applied(&gone, 2);
        assert_eq!(tokens.use_token(&last), None);
        let known = tokens.known.lock();
        let sizes = (known.by_token.len(), known.order.len(), known.by_user.len());
        assert_eq!(sizes, (2, 2, 1));
    }

    #[test]
    fn tokens_share_the_name_of_their_user() {
        let tokens = Tokens::new(Duration::from_secs(300), 0);
        for index in 1..4 {
            tokens.applied(&authenticated("alice", "abc"), index);
        }
        let known = tokens.known.lock();
        let (name, _) = known.by_user.iter().next().unwrap();
        let mut owners = known.by_token.values();
        assert!(owners.all(|owner| Arc::ptr_eq(&owner.user, name)));
    }

    #[test]
    fn all_members_evict_a_token_of_the_same_user() {
        let users = ["alice", "bob", "carol", "dave", "erin", "frank"];
        for _ in 0..10 {
            let tokens = Tokens::new(Duration::from_secs(300), 0);
            for (index, user) in (1..).zip(users) {
                tokens.applied(&authenticated(user, user), index);
            }
            tokens.known.lock().evict("grace");
            assert_eq!(tokens.use_token("frank.6"), None);
        }
    }

    #[test]
    fn a_token_that_is_used_outlives_one_that_is_not() {
        let tokens = Tokens::new(Duration::from_secs(300), 0);
        for index in 1..4 {
            tokens.applied(&authenticated("alice", "abc"), index);
        }
        {
            // Pretend that the token was last used earlier.
            let mut known = tokens.known.lock();
            let early = Instant::now().checked_sub(Duration::from_secs(60)).unwrap();
            known.by_token.get_mut("abc.1").unwrap().placed = early;
        }
        assert!(tokens.use_token("abc.1").is_some());
        let mut known = tokens.known.lock();
        known.evict("alice");
        assert!(known.by_token.contains_key("abc.1") && !known.by_token.contains_key("abc.2"));
        let later = Instant::now() + Duration::from_secs(400);
        known.sweep(later);
        assert!(known.by_token.is_empty() && known.by_user.is_empty());
    }

    #[test]
    fn debug_does_not_print_tokens() {
        let tokens = Tokens::new(Duration::from_secs(300), 0);
        let reply = authenticated("alice", "verysecret");
        tokens.applied(&reply, 7);
        assert!(!format!("{tokens:?} {reply:?}").contains("verysecret"));
    }
}

//! Registers a member in etcd's order: check whether the cluster is full, register, wait until enough members have
//! registered. The first members to register become the members of the cluster.
//!
//! Retries forever if the registry is unreachable, because members may start before the registry. Logs each retry.

use std::time::Duration;

use witan_machine::member::MemberId;

use super::error::DiscoverError;

/// The first pause before a retry; it doubles with each retry.
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// The longest pause between two attempts.
const RETRY_LONGEST: Duration = Duration::from_secs(32);

#[derive(Clone, Debug)]
pub(super) struct Registration {
    /// The member's id in the cluster of this token.
    pub(super) id: MemberId,
    /// `NAME=URL` for each peer URL.
    pub(super) value: String,
    /// Whether an earlier process of this member has created the registration.
    pub(super) exists: bool,
}

/// A service with which the members of a new cluster register.
pub(super) trait Registry {
    /// Reads the cluster size and all registrations.
    async fn read(&mut self) -> Result<RegistryState, Failure>;
    /// Registers a member. If its id is registered, replaces the registration or fails with [`DiscoverError::Duplicate`].
    async fn register(&mut self, own: &Registration) -> Result<(), Failure>;
    /// Waits until the registrations may have changed since `since`. Completes after a bounded time even if they have not
    /// changed.
    async fn wait(&mut self, since: &RegistryState) -> Result<(), Failure>;
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RegistryState {
    /// Number of members of the new cluster, at least 1.
    pub(super) size: u64,
    pub(super) entries: Vec<Entry>,
    /// The registry's index or revision at the time of the read.
    pub(super) index: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The member's id in hexadecimal.
    pub(super) id: String,
    /// `NAME=URL` for each peer URL.
    pub(super) value: String,
    /// Index or revision at which the registration was created; determines the order of registrations.
    pub(super) created: u64,
}

#[derive(Debug)]
pub(super) enum Failure {
    /// The registry did not answer or failed temporarily.
    Retry(String),
    Final(DiscoverError),
}

impl From<DiscoverError> for Failure {
    fn from(error: DiscoverError) -> Self {
        Self::Final(error)
    }
}

/// Registers a member and waits, without a limit, until the cluster is complete. Returns the values of the initial members in
/// order of registration. Fails if the cluster is full without this member, or after a final failure of the registry.
pub(super) async fn join(
    registry: &mut impl Registry,
    own: &Registration,
) -> Result<Vec<String>, DiscoverError> {
    let mut pause = RETRY_FIRST;
    let (mut is_registered, mut seen) = (false, None);
    loop {
        let state = match registry.read().await {
            Ok(state) => state,
            Err(failure) => {
                wait_after(failure, &mut pause).await?;
                continue;
            }
        };
        pause = RETRY_FIRST;
        let (members, size) = (first_members(&state, own)?, state.size);
        if !is_registered {
            register(registry, own).await?;
            is_registered = true;
            continue;
        }
        let registered = members.len();
        if registered as u64 == size {
            let values = members.into_iter().map(|entry| entry.value.clone());
            return Ok(values.collect());
        }
        if seen.replace(registered) != Some(registered) {
            tracing::info!(
                registered,
                size,
                "waiting for the other members to register"
            );
        }
        if let Err(failure) = registry.wait(&state).await {
            wait_after(failure, &mut pause).await?;
        }
    }
}

/// Registers this member and retries after temporary failures. Treats `Duplicate` as success if an earlier attempt or process
/// may have registered the member.
async fn register(registry: &mut impl Registry, own: &Registration) -> Result<(), DiscoverError> {
    let (mut pause, mut tried) = (RETRY_FIRST, own.exists);
    loop {
        match registry.register(own).await {
            Ok(()) => break,
            Err(Failure::Final(DiscoverError::Duplicate(_))) if tried => break,
            Err(failure) => {
                wait_after(failure, &mut pause).await?;
                tried = true;
            }
        }
    }
    let id = own.id.to_string();
    tracing::info!(id, value = own.value, "registered this member");
    Ok(())
}

/// Returns the first registrations in creation order, at most as many as the size of the cluster. Fails if the cluster is full
/// without this member.
fn first_members<'a>(
    state: &'a RegistryState,
    own: &Registration,
) -> Result<Vec<&'a Entry>, DiscoverError> {
    let mut entries: Vec<&Entry> = state.entries.iter().collect();
    entries.sort_by_key(|entry| entry.created);
    let size = usize::try_from(state.size).unwrap_or(usize::MAX);
    entries.truncate(size);
    let own = own.id.to_string();
    if entries.len() == size && entries.iter().all(|entry| entry.id != own) {
        return Err(DiscoverError::Full { size: state.size });
    }
    Ok(entries)
}

/// After a temporary failure, sleeps for `pause` and doubles it, up to [`RETRY_LONGEST`]. Returns a final failure as an error.
async fn wait_after(failure: Failure, pause: &mut Duration) -> Result<(), DiscoverError> {
    match failure {
        Failure::Final(error) => return Err(error),
        Failure::Retry(reason) => {
            let seconds = pause.as_secs();
            tracing::warn!(
                reason,
                seconds,
                "discovery is unavailable; retrying after a pause"
            );
        }
    }
    tokio::time::sleep(*pause).await;
    *pause = (*pause * 2).min(RETRY_LONGEST);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: u64, created: u64) -> Entry {
        Entry {
            id: format!("{id:x}"),
            value: format!("m{id}=http://h{id}:1"),
            created,
        }
    }

    fn own(id: u64) -> Registration {
        Registration { id: MemberId(id), value: entry(id, 0).value, exists: false }
    }

    /// A registry that returns scripted responses.
    #[derive(Default)]
    struct Script {
        state: RegistryState,
        /// Registrations that successive waits add.
        others: Vec<Entry>,
        /// Results of the attempts to register, last attempt first.
        tries: Vec<Failure>,
        /// Whether a failed attempt still registers the member.
        arrives: bool,
        /// Number of initial calls to `read` that fail.
        silent: usize,
    }

    impl Registry for Script {
        async fn read(&mut self) -> Result<RegistryState, Failure> {
            if self.silent > 0 {
                self.silent -= 1;
                return Err(Failure::Retry("no endpoint answers".to_owned()));
            }
            Ok(self.state.clone())
        }

        /// Returns the next scripted result. Registers the member after success, or once after a failure if `arrives` is set.
        async fn register(&mut self, own: &Registration) -> Result<(), Failure> {
            let failure = self.tries.pop();
            if failure.is_none() || self.arrives {
                let created = self.state.entries.len() as u64 + 1;
                self.arrives = false;
                self.state.entries.push(entry(own.id.0, created));
            }
            failure.map_or(Ok(()), Err)
        }

        async fn wait(&mut self, _: &RegistryState) -> Result<(), Failure> {
            self.state.entries.push(self.others.remove(0));
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_members_that_registered_first_form_the_cluster() {
        let mut script = Script {
            state: RegistryState { size: 3, ..RegistryState::default() },
            others: vec![entry(7, 9), entry(5, 8)],
            silent: 9,
            ..Script::default()
        };
        let found = join(&mut script, &own(1)).await.unwrap();
        assert_eq!(
            found,
            ["m1=http://h1:1", "m5=http://h5:1", "m7=http://h7:1"]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_member_does_not_register() {
        let mut script = Script {
            state: RegistryState { size: 2, entries: vec![entry(8, 1), entry(9, 2)], index: 2 },
            ..Script::default()
        };
        let refusal = join(&mut script, &own(1)).await.unwrap_err();
        assert!(
            matches!(refusal, DiscoverError::Full { size: 2 }),
            "{refusal}"
        );
        assert_eq!(script.state.entries.len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_registration_whose_response_was_lost_is_not_a_duplicate() {
        let duplicate = || Failure::Final(DiscoverError::Duplicate(MemberId(1)));
        let lost = || Failure::Retry("the connection ended".to_owned());
        let mut script = Script {
            state: RegistryState { size: 1, ..RegistryState::default() },
            tries: vec![duplicate(), lost()],
            arrives: true,
            ..Script::default()
        };
        assert_eq!(join(&mut script, &own(1)).await.unwrap().len(), 1);
        let mut script = Script {
            state: RegistryState { size: 1, ..RegistryState::default() },
            tries: vec![duplicate()],
            arrives: true,
            ..Script::default()
        };
        let killed = Registration { exists: true, ..own(1) };
        assert_eq!(join(&mut script, &killed).await.unwrap().len(), 1);
        let mut script = Script {
            state: RegistryState { size: 2, ..RegistryState::default() },
            tries: vec![duplicate()],
            ..Script::default()
        };
        let refusal = join(&mut script, &own(1)).await.unwrap_err();
        assert!(
            matches!(refusal, DiscoverError::Duplicate(MemberId(1))),
            "{refusal}"
        );
    }
}

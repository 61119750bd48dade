//! Implements `Members` with etcd's gRPC services Cluster, Maintenance, Auth and KV, over one connection per member.

/// Calls a gRPC method through [`GrpcMembers::call`]. The timeout defaults to [`CHANGE_TIMEOUT`].
macro_rules! call {
    ($members:ident, $of:ident, $name:literal: $client:ident.$method:ident($body:ident)) => {
        call!($members, $of, $name: $client.$method($body), CHANGE_TIMEOUT)
    };
    ($members:ident, $of:ident, $name:literal: $client:ident.$method:ident($body:ident), $timeout:ident) => {{
        let call = Call { name: $name, timeout: $timeout };
        let send = |channel, request| async move { $client::new(channel).$method(request).await };
        $members.call($of, call, $body, send).await
    }};
}

mod kv;

use std::{
    collections::HashMap,
    future::Future,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use futures_util::future::{join_all, join3};
use tonic::{
    Request, Status,
    metadata::AsciiMetadataValue,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};
use witan_api::{
    backup::KeysHash,
    v3::etcdserverpb::{
        self as pb, alarm_request::AlarmAction, auth_client::AuthClient,
        cluster_client::ClusterClient, maintenance_client::MaintenanceClient,
    },
};

use super::{
    Address, Answer, CallError, Change, Login, Members, ROOT, Report, running,
    session::{LoggedIn, log_in, request, within},
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Timeout of a call that reads, or that disarms an alarm. A member without a quorum blocks linearizable reads for seconds.
const CALL_TIMEOUT: Duration = Duration::from_secs(3);
/// Timeout of a call that changes the membership, the leader or authentication.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(10);
const HASH_TIMEOUT: Duration = Duration::from_secs(60);
/// Maximum number of members and of alarms in a response; a member with a longer list is considered silent.
const LISTED_MAX: usize = 1_000;
/// Time for which an idle connection is kept. A replacement pod has a new address, so unused connections would accumulate.
const IDLE_CONNECTION: Duration = Duration::from_secs(120);

/// Connections to members, which later calls reuse.
#[derive(Debug, Default)]
pub struct GrpcMembers {
    connections: Mutex<HashMap<String, Connection>>,
}

/// The connection to one member and its authentication state.
#[derive(Debug, Clone)]
struct Connection {
    channel: Channel,
    address: Address,
    token: Option<AsciiMetadataValue>,
    /// Whether the member has authentication enabled; `None` if unknown.
    users: Option<bool>,
    /// Whether the member refused the password. If so, only the certificate identifies the operator.
    refused: bool,
    used: std::time::Instant,
}

impl GrpcMembers {
    fn lock_connections(&self) -> MutexGuard<'_, HashMap<String, Connection>> {
        let connections = self.connections.lock();
        connections.expect("no code panics while it holds this lock")
    }

    /// Returns the cached connection to an address, or a new one, which connects on its first call. Drops connections that were
    /// unused for [`IDLE_CONNECTION`]. Fails if the URL or the operator's certificates are invalid.
    fn connection(&self, to: &Address) -> Result<Connection, CallError> {
        let now = std::time::Instant::now();
        let mut connections = self.lock_connections();
        connections.retain(|_, connection| now.duration_since(connection.used) < IDLE_CONNECTION);
        if let Some(known) = connections.get_mut(&to.authority)
            && known.address == *to
        {
            known.used = now;
            return Ok(known.clone());
        }
        let channel = connect(to)
            .map_err(|source| CallError::Connection { member: to.member.clone(), source })?;
        let made = Connection {
            channel,
            address: to.clone(),
            token: None,
            users: None,
            refused: false,
            used: now,
        };
        connections.insert(to.authority.clone(), made.clone());
        Ok(made)
    }

    /// Caches the authentication state of a connection for later calls, unless the member's address has changed since.
    fn save_authentication(&self, connection: &Connection) {
        let mut connections = self.lock_connections();
        if let Some(known) = connections.get_mut(&connection.address.authority)
            && known.address == connection.address
        {
            known.clone_from(connection);
        }
    }

    /// Calls a member. Logs in first if no token is cached, and again, with one retry, if the member rejects a cached token.
    async fn call<A, R, F>(
        &self,
        to: &Address,
        call: Call,
        body: A,
        send: impl Fn(Channel, Request<A>) -> F,
    ) -> Result<R, CallError>
    where
        A: Clone,
        F: Future<Output = Result<tonic::Response<R>, Status>>,
    {
        let mut connection = self.connection(to)?;
        let had_token = connection.token.is_some();
        self.authenticate(&mut connection, call).await?;
        let first = request(body.clone(), connection.token.clone());
        let mut answer = within(call.timeout, send(connection.channel.clone(), first)).await;
        let expired = |status: &Status| had_token && status.code() == tonic::Code::Unauthenticated;
        if answer.as_ref().is_err_and(expired) {
            connection.token = None;
            self.authenticate(&mut connection, call).await?;
            let again = request(body, connection.token.clone());
            answer = within(call.timeout, send(connection.channel.clone(), again)).await;
        }
        let answer = answer.map_err(|status| refused(to, call.name, status))?;
        Ok(answer.into_inner())
    }

    /// Logs in if the address has a login and the connection has no token. Also succeeds if authentication is disabled, or if
    /// the member refuses the password of a client with a certificate.
    async fn authenticate(&self, connection: &mut Connection, call: Call) -> Result<(), CallError> {
        if connection.token.is_some() || connection.refused {
            return Ok(());
        }
        let address = &connection.address;
        let Some(login) = address.login.clone() else {
            return Ok(());
        };
        let has_certificate = address.tls.is_some();
        let session = log_in(&connection.channel, login, has_certificate, call.timeout).await;
        match session.map_err(|status| refused(address, "Authenticate", status))? {
            LoggedIn::User(token) => {
                connection.token = token;
                connection.users = Some(true);
            }
            LoggedIn::Nobody => connection.users = Some(false),
            LoggedIn::Certificate(refusal) => {
                tracing::warn!(
                    member = address.member,
                    error = refusal.message(),
                    "failed to authenticate with the password; continuing with only the client certificate"
                );
                connection.users = Some(true);
                connection.refused = true;
            }
        }
        self.save_authentication(connection);
        Ok(())
    }

    /// Reads a member's status, release and member list. If no quorum confirms the list, reads the member's own copy. Reads the
    /// alarms only if the status lists errors, which include alarms. If the alarms cannot be read, reports none.
    async fn report(&self, of: &Address) -> Result<Report, CallError> {
        let body = pb::StatusRequest {};
        let status =
            async { call!(self, of, "Status": MaintenanceClient.status(body), CALL_TIMEOUT) };
        let confirmed = self.members(of, true);
        let running = running::read(of, CALL_TIMEOUT);
        let (status, confirmed, running) = join3(status, confirmed, running).await;
        let status = status?;
        let (linearizable, members) = match confirmed {
            Ok(members) => (true, members),
            Err(_) => (false, self.members(of, false).await?),
        };
        let alarms = if status.errors.is_empty() {
            Vec::new()
        } else {
            let list = self.alarm(of, AlarmAction::Get, 0, pb::AlarmType::None);
            let alarms = list.await.map_or_else(|_| Vec::new(), |list| list.alarms);
            bounded(of, "Alarm", alarms)?
        };
        let header = status.header.unwrap_or_default();
        Ok(Report {
            cluster_id: header.cluster_id,
            member_id: header.member_id,
            leader_id: status.leader,
            version: status.version,
            running,
            db_size: u64::try_from(status.db_size).unwrap_or(0),
            quota: u64::try_from(status.db_size_quota)
                .ok()
                .filter(|quota| *quota > 0),
            revision: header.revision,
            raft_index: status.raft_index,
            raft_applied_index: status.raft_applied_index,
            linearizable,
            members,
            alarms,
            users: self.connection(of)?.users,
        })
    }

    /// Reads the member list. Fails if it is too long, or with `linearizable` unless a quorum confirms it.
    async fn members(
        &self,
        of: &Address,
        linearizable: bool,
    ) -> Result<Vec<pb::Member>, CallError> {
        let body = pb::MemberListRequest { linearizable };
        let list = call!(self, of, "MemberList": ClusterClient.member_list(body), CALL_TIMEOUT);
        bounded(of, "MemberList", list?.members)
    }

    /// Gets or deactivates alarms. For `Get`, member id 0 and alarm `None` match every alarm.
    async fn alarm(
        &self,
        of: &Address,
        action: AlarmAction,
        member_id: u64,
        alarm: pb::AlarmType,
    ) -> Result<pb::AlarmResponse, CallError> {
        let (action, alarm) = (action.into(), alarm.into());
        let body = pb::AlarmRequest { action, member_id, alarm };
        call!(self, of, "Alarm": MaintenanceClient.alarm(body), CALL_TIMEOUT)
    }

    /// Sends a change through one member. Succeeds if a learner is already promoted or a member is already removed. After
    /// disabling authentication, drops all connections.
    async fn send_change(&self, of: &Address, change: &Change) -> Result<(), CallError> {
        match change {
            Change::AddLearner(peer_urls) => {
                let body = pb::MemberAddRequest { peer_urls: peer_urls.clone(), is_learner: true };
                call!(self, of, "MemberAdd": ClusterClient.member_add(body)).map(drop)
            }
            Change::Promote(id) => {
                let body = pb::MemberPromoteRequest { id: *id };
                let promoted = call!(self, of, "MemberPromote": ClusterClient.member_promote(body));
                succeed_if_already(promoted, "can only promote a learner")
            }
            Change::Remove(id) => {
                let body = pb::MemberRemoveRequest { id: *id };
                let removed = call!(self, of, "MemberRemove": ClusterClient.member_remove(body));
                succeed_if_already(removed, "member not found")
            }
            Change::PeerUrls(id, peer_urls) => {
                let body = pb::MemberUpdateRequest { id: *id, peer_urls: peer_urls.clone() };
                call!(self, of, "MemberUpdate": ClusterClient.member_update(body)).map(drop)
            }
            Change::MoveLeader(to) => {
                let body = pb::MoveLeaderRequest { target_id: *to };
                call!(self, of, "MoveLeader": MaintenanceClient.move_leader(body)).map(drop)
            }
            Change::DisarmCorrupt(id) => self.disarm(of, *id, pb::AlarmType::Corrupt).await,
            Change::Compact(revision) => self.compact(of, *revision).await,
            Change::DisarmNoSpace(id) => self.disarm(of, *id, pb::AlarmType::Nospace).await,
            Change::EnableAuth(root) => self.enable_auth(of, root).await,
            Change::DisableAuth => {
                let body = pb::AuthDisableRequest {};
                call!(self, of, "AuthDisable": AuthClient.auth_disable(body))?;
                // Members without authentication accept any token, so only a new connection notices the change.
                self.lock_connections().clear();
                Ok(())
            }
        }
    }

    /// Disarms the alarm of the member `id` through the member `of`. Succeeds if the alarm is not raised.
    async fn disarm(&self, of: &Address, id: u64, alarm: pb::AlarmType) -> Result<(), CallError> {
        let lowered = self.alarm(of, AlarmAction::Deactivate, id, alarm);
        lowered.await.map(drop)
    }

    /// Adds the user and the role root, grants the role to the user and enables authentication. Keeps an existing user or role.
    async fn enable_auth(&self, on: &Address, root: &Login) -> Result<(), CallError> {
        let user = pb::AuthUserAddRequest {
            name: root.user.clone(),
            password: root.entered().to_owned(),
            ..Default::default()
        };
        let added = call!(self, on, "UserAdd": AuthClient.user_add(user));
        succeed_if_already(added, "user name already exists")?;
        let role = pb::AuthRoleAddRequest { name: ROOT.to_owned() };
        let added = call!(self, on, "RoleAdd": AuthClient.role_add(role));
        succeed_if_already(added, "role name already exists")?;
        let grant = pb::AuthUserGrantRoleRequest { user: root.user.clone(), role: ROOT.to_owned() };
        call!(self, on, "UserGrantRole": AuthClient.user_grant_role(grant))?;
        let body = pb::AuthEnableRequest {};
        call!(self, on, "AuthEnable": AuthClient.auth_enable(body)).map(drop)
    }
}

impl Members for GrpcMembers {
    async fn survey(&self, of: &[Address]) -> Vec<Answer> {
        join_all(of.iter().map(async |address| Answer {
            member: address.member.clone(),
            report: self.report(address).await,
        }))
        .await
    }

    /// Tries the members in order until one makes or refuses the change, and otherwise returns the last error. If a response is
    /// lost, the change can be made twice.
    async fn change(&self, through: &[Address], change: &Change) -> Result<(), CallError> {
        let mut last = CallError::NoMember;
        for member in through {
            match self.send_change(member, change).await {
                Ok(()) => return Ok(()),
                Err(error) if error.is_refusal() => return Err(error),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn keys_hash(&self, of: &Address, revision: i64) -> Result<KeysHash, CallError> {
        let body = pb::HashKvRequest { revision };
        let answer = call!(self, of, "HashKV": MaintenanceClient.hash_kv(body), HASH_TIMEOUT)?;
        Ok(KeysHash { hash: answer.hash, compact_revision: answer.compact_revision })
    }
}

fn refused(by: &Address, call: &'static str, status: Status) -> CallError {
    let (member, status) = (by.member.clone(), Box::new(status));
    CallError::Refused { member, call, status }
}

/// Returns the list in a response. Fails if it is longer than [`LISTED_MAX`]. The work of a pass grows with the square of the
/// length, and a pass that computes cannot be aborted.
fn bounded<T>(by: &Address, call: &'static str, list: Vec<T>) -> Result<Vec<T>, CallError> {
    if list.len() <= LISTED_MAX {
        return Ok(list);
    }
    let text = format!("the response lists more than {LISTED_MAX} entries");
    Err(refused(by, call, Status::out_of_range(text)))
}

/// Converts an error whose message contains `already` to success.
fn succeed_if_already<T>(done: Result<T, CallError>, already: &str) -> Result<(), CallError> {
    match done {
        Err(error) if !error.says(already) => Err(error),
        _ => Ok(()),
    }
}

/// The name of a call, for error messages, and its timeout.
#[derive(Debug, Clone, Copy)]
struct Call {
    name: &'static str,
    timeout: Duration,
}

/// Returns a channel that connects on its first call and reconnects after a failure.
fn connect(to: &Address) -> Result<Channel, tonic::transport::Error> {
    let mut endpoint = Endpoint::from_shared(to.url(""))?.connect_timeout(CONNECT_TIMEOUT);
    if let Some(tls) = &to.tls {
        let config = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&tls.authorities))
            .identity(Identity::from_pem(&tls.certificate, &tls.key))
            .domain_name(&to.server_name);
        endpoint = endpoint.tls_config(config)?;
    }
    Ok(endpoint.connect_lazy())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::tests::address;

    /// A user of a namespace can run members that return such a list, and the operator also serves other clusters.
    #[test]
    fn a_response_with_a_long_list_is_refused() {
        let of = address(([127, 0, 0, 1], 2379).into(), None, None);
        let refused = |length| bounded(&of, "MemberList", vec![0; length]).is_err();
        assert!(!refused(LISTED_MAX) && refused(LISTED_MAX + 1));
    }
}

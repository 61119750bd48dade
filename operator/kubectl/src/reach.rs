//! Connects to the members of a cluster, through the API server or at addresses from flags. Credentials come from the flags or,
//! if the user may read them, from the operator's Secrets.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::{ResourceExt, api::ListParams};
use witan_crd::{CLUSTER, CertificateRole, EtcdCluster, pod_phase, secret_file, speaks_tls};
use witan_members::{Address, Answer, CallError, ClientTls, GrpcMembers, Login, Members as _};

use super::{command::MemberFlags, error::PluginError, forward::Forward, target::Target};

/// The members of a cluster, at addresses that this machine can reach.
pub(super) struct Reach {
    pub(super) members: GrpcMembers,
    pub(super) addresses: Vec<Address>,
    forwards: BTreeMap<String, Forward>,
}

impl Reach {
    /// Uses the endpoints in the flags, or else each member with a running pod. Fails if there are neither endpoints nor
    /// running pods, or if the credentials cannot be read. Always lists the pods, which show whether members use TLS. Connects
    /// at the first call.
    pub(super) async fn open(
        target: &Target,
        cluster: &EtcdCluster,
        flags: &MemberFlags,
    ) -> Result<Self, PluginError> {
        let name = cluster.name_any();
        let own = ListParams::default().labels(&format!("{CLUSTER}={name}"));
        let pods: Vec<Pod> = target.list(&own, "pods").await?;
        let secure = pods.iter().any(speaks_tls) || cluster.spec.client_tls().is_some();
        let tls = if secure {
            Some(Arc::new(certificate(target, cluster, flags).await?))
        } else {
            None
        };
        let login = login(target, cluster, flags).await?;
        let address = |endpoint: &String| {
            let (member, server_name) = member_names(cluster, &pods, endpoint);
            let (authority, tls, login) = (authority(endpoint), tls.clone(), login.clone());
            Address { member, authority, server_name, tls, login }
        };
        let mut reach = Self {
            members: GrpcMembers::default(),
            addresses: flags.endpoints.iter().map(address).collect(),
            forwards: BTreeMap::new(),
        };
        if flags.endpoints.is_empty() {
            reach.forward(target, cluster, &pods, (tls, login)).await?;
        }
        if reach.addresses.is_empty() {
            return Err(words!("EtcdCluster {name} has no running pod"));
        }
        Ok(reach)
    }

    /// Forwards a local port to each running pod and adds its address.
    async fn forward(
        &mut self,
        target: &Target,
        cluster: &EtcdCluster,
        pods: &[Pod],
        (tls, login): (Option<Arc<ClientTls>>, Option<Login>),
    ) -> Result<(), PluginError> {
        for pod in pods.iter().filter(|pod| runs(pod)) {
            let member = pod.name_any();
            let Some(ordinal) = cluster.ordinal(&member) else {
                continue;
            };
            let forward = Forward::open(target.api(), member.clone()).await;
            let forward = forward.map_err(|error| words!("cannot open a local port: {error}"))?;
            self.addresses.push(Address {
                member: member.clone(),
                authority: forward.address.to_string(),
                server_name: cluster.host(ordinal),
                tls: tls.clone().filter(|_| speaks_tls(pod)),
                login: login.clone(),
            });
            self.forwards.insert(member, forward);
        }
        Ok(())
    }

    /// Queries the status of all members. Returns one answer for each member, even if its calls failed.
    pub(super) async fn survey(&self) -> Vec<Answer> {
        self.members.survey(&self.addresses).await
    }

    /// Returns why a member did not answer: the error of its forwarded port if there is one, otherwise `error`.
    pub(super) fn why(&self, member: &str, error: &CallError) -> String {
        self.forward_failure(member)
            .unwrap_or_else(|| error.to_string())
    }

    /// Returns why the port forward to a member failed last; `None` if it did not fail or `member` is reached without one.
    pub(super) fn forward_failure(&self, member: &str) -> Option<String> {
        self.forwards.get(member).and_then(Forward::failure)
    }

    /// Returns the address of a member that answers: preferably a member whose response a quorum confirmed, and among such
    /// members a follower. Fails if no member answers.
    pub(super) fn answering_member(&self, answers: &[Answer]) -> Result<Address, PluginError> {
        let answering = answers.iter().filter_map(|answer| {
            let report = answer.report.as_ref().ok()?;
            let leads = report.leader_id == report.member_id;
            let mut addresses = self.addresses.iter();
            let address = addresses.find(|address| address.member == answer.member)?;
            Some((!report.linearizable, leads, address))
        });
        let best = answering.min_by_key(|(alone, leads, _)| (*alone, *leads));
        let best = best.map(|(_, _, address)| address.clone());
        best.ok_or_else(|| {
            let said = answers.iter().filter_map(|answer| {
                let error = answer.report.as_ref().err()?;
                Some(format!("\n  {}", self.why(&answer.member, error)))
            });
            words!("no member answers{}", said.collect::<String>())
        })
    }
}

/// Returns whether a pod runs and is not being deleted.
fn runs(pod: &Pod) -> bool {
    pod_phase(pod) == Some("Running") && pod.metadata.deletion_timestamp.is_none()
}

/// Returns the host and port of an endpoint, which may be a URL. Removes only the scheme and final slashes, and checks nothing.
fn authority(endpoint: &str) -> String {
    let rest = endpoint
        .split_once("://")
        .map_or(endpoint, |(_, rest)| rest);
    rest.trim_end_matches('/').to_owned()
}

/// Returns the host of an authority without its port and without the brackets of an IPv6 address.
fn host(authority: &str) -> &str {
    let bracketed = authority.strip_prefix('[');
    if let Some((host, _)) = bracketed.and_then(|rest| rest.split_once(']')) {
        return host;
    }
    authority
        .rsplit_once(':')
        .map_or(authority, |(host, _)| host)
}

/// Returns the name of the member at an endpoint and the host name in its certificate. Both come from the pod with that
/// address. Without such a pod, returns the endpoint and its host.
fn member_names(cluster: &EtcdCluster, pods: &[Pod], endpoint: &str) -> (String, String) {
    let authority = authority(endpoint);
    let host = host(&authority).to_owned();
    let has = |pod: &&Pod| {
        pod.status
            .as_ref()
            .and_then(|status| status.pod_ip.as_deref())
            == Some(host.as_str())
    };
    let pod = pods.iter().find(has).map(ResourceExt::name_any);
    let known = pod.and_then(|pod| Some((cluster.ordinal(&pod)?, pod)));
    match known {
        Some((ordinal, pod)) => (pod, cluster.host(ordinal)),
        None => (authority.clone(), host),
    }
}

/// Returns the client certificate from the flags, or else the operator's certificate from its Secret.
async fn certificate(
    target: &Target,
    cluster: &EtcdCluster,
    flags: &MemberFlags,
) -> Result<ClientTls, PluginError> {
    if let (Some(authorities), Some(certificate), Some(key)) =
        (&flags.cacert, &flags.cert, &flags.key)
    {
        return Ok(ClientTls {
            authorities: file(authorities)?,
            certificate: file(certificate)?,
            key: file(key)?,
        });
    }
    let name = cluster.secret_of(CertificateRole::Operator);
    let secret = target.get::<Secret>(&name).await;
    let secret =
        secret.map_err(|error| words!("{error}; use --cacert, --cert and --key instead"))?;
    let found = ClientTls::read(|name| secret_file(&secret, name));
    found.ok_or_else(|| words!("Secret {name} does not contain ca.crt, tls.crt and tls.key"))
}

/// Returns the user from the flags, or else root with the password from its Secret. Returns `None` if the spec names no such
/// Secret, or if the Secret has no usable password. Fails if the Secret cannot be read.
async fn login(
    target: &Target,
    cluster: &EtcdCluster,
    flags: &MemberFlags,
) -> Result<Option<Login>, PluginError> {
    if let (Some(user), Some(password)) = (&flags.user, &flags.password_file) {
        let password = String::from_utf8_lossy(&file(password)?).into_owned();
        return Ok(Some(Login { user: user.clone(), password }));
    }
    let Some(secret) = cluster.spec.root_secret() else {
        return Ok(None);
    };
    let secret = target.get::<Secret>(&secret.name).await;
    let secret =
        secret.map_err(|error| words!("{error}; use --user and --password-file instead"))?;
    Ok(secret_file(&secret, "password").and_then(Login::root))
}

fn file(path: &std::path::Path) -> Result<Vec<u8>, PluginError> {
    std::fs::read(path).map_err(|error| words!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_has_a_host() {
        for (endpoint, expected) in [
            ("http://db-0.example:2379/", "db-0.example"),
            ("[::1]:2379", "::1"),
            ("https://[::1]", "::1"),
        ] {
            assert_eq!(host(&authority(endpoint)), expected);
        }
    }
}

//! The reasons why discovery fails.

use witan_client::ClientTlsError;
use witan_config::MembersError;
use witan_machine::member::MemberId;

use super::dns::DnsError;

/// The reason why the initial members were not found. The messages begin like etcd's messages.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the Display texts describe the variants")]
pub enum DiscoverError {
    #[error(
        "discovery: size key not found: {0} does not exist. The token was mistyped, has expired or was never \
         created; create one for this cluster"
    )]
    SizeNotFound(String),
    #[error("discovery: size key is bad: {0:?} is not the number of members of a cluster")]
    BadSize(String),
    #[error(
        "discovery: cluster is full: {size} members have registered before this one. Create a token for a \
         larger cluster, or add this member to the running cluster and start it with \
         --initial-cluster-state=existing"
    )]
    Full { size: u64 },
    #[error(
        "discovery: found duplicate id: {:016x} is already registered. A restarted member needs its \
         data directory; otherwise delete this registration, or use a new token", .0.0
    )]
    Duplicate(MemberId),
    #[error("discovery: bad discovery endpoint: {0}")]
    Endpoint(String),
    #[error("discovery: the registration {registered:?} does not name a member: {source}")]
    Registrations {
        registered: String,
        source: MembersError,
    },
    #[error(
        "discovery cluster {0} has duplicate names or URLs: each member needs its own --name and \
         --initial-advertise-peer-urls"
    )]
    NotDistinct(String),
    #[error("discovery: {0}")]
    Tls(#[from] ClientTlsError),
    #[error("discovery: {0}")]
    Dns(#[from] DnsError),
    #[error(
        "cannot find local etcd member {name:?} in SRV records: none of {found} is an address of {own}"
    )]
    NotInRecords {
        name: String,
        found: String,
        own: String,
    },
}

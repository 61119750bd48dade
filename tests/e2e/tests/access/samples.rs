//! A sample request of each method, so that only the caller decides whether the call is admitted. A method that needs no fields
//! has an empty message.

use prost::Message;
use serde::Serialize;
use witan_api::v3::{
    etcdserverpb::{
        AlarmRequest, AuthRoleAddRequest, AuthRoleGetRequest, AuthUserAddRequest,
        AuthUserChangePasswordRequest, AuthUserDeleteRequest, AuthUserGetRequest,
        AuthenticateRequest, CompactionRequest, LeaseGrantRequest, LeaseKeepAliveRequest,
        LeaseRevokeRequest, LeaseTimeToLiveRequest, MemberAddRequest, RangeRequest,
        WatchCreateRequest, WatchRequest, alarm_request::AlarmAction, request_op::Request,
        watch_request::RequestUnion,
    },
    v3electionpb::{CampaignRequest, LeaderKey, LeaderRequest, ProclaimRequest, ResignRequest},
    v3lockpb::{LockRequest, UnlockRequest},
};
use witan_e2e::requests;

use crate::stage::{ELECTION, KEY, LEASE, OTHER_KEY, ROOT, ROOT_PASSWORD};

#[derive(Clone, Debug, Default)]
pub(crate) struct Sample {
    pub(crate) bytes: Vec<u8>,
    pub(crate) json: String,
}

fn of(message: impl Message + Serialize) -> Sample {
    Sample {
        bytes: message.encode_to_vec(),
        json: serde_json::to_string(&message).unwrap(),
    }
}

/// Returns a request that disarms an alarm, which requires more permissions than listing alarms.
pub(crate) fn lower_alarm() -> Sample {
    of(AlarmRequest {
        action: AlarmAction::Deactivate as i32,
        ..AlarmRequest::default()
    })
}

/// Returns a valid request for a method: an empty request if the method needs no fields.
pub(crate) fn sample(method: &str) -> Sample {
    let (_, method) = method.rsplit_once('/').unwrap();
    keys(method)
        .or_else(|| leases(method))
        .or_else(|| users(method))
        .or_else(|| queues(method))
        .unwrap_or_default()
}

fn range() -> RangeRequest {
    requests::range(KEY, "")
}

fn keys(method: &str) -> Option<Sample> {
    Some(match method {
        "Range" | "RangeStream" => of(range()),
        "Put" => of(requests::put(KEY, "")),
        "DeleteRange" => of(requests::delete(OTHER_KEY, "")),
        "Txn" => of(requests::txn([Request::RequestRange(range())])),
        "Compact" => of(CompactionRequest { revision: 1, ..CompactionRequest::default() }),
        "Watch" => of(WatchRequest {
            request_union: Some(RequestUnion::CreateRequest(WatchCreateRequest {
                key: KEY.into(),
                ..WatchCreateRequest::default()
            })),
        }),
        "MemberAdd" => of(MemberAddRequest {
            peer_urls: vec!["http://127.0.0.1:1".into()],
            // A voter that does not run would cost the only member its quorum.
            is_learner: true,
        }),
        _ => return None,
    })
}

fn leases(method: &str) -> Option<Sample> {
    let id = LEASE;
    Some(match method {
        "LeaseGrant" => of(LeaseGrantRequest { ttl: 60, id: 0 }),
        "LeaseRevoke" => of(LeaseRevokeRequest { id }),
        "LeaseKeepAlive" => of(LeaseKeepAliveRequest { id }),
        "LeaseTimeToLive" => of(LeaseTimeToLiveRequest { id, keys: true }),
        _ => return None,
    })
}

fn users(method: &str) -> Option<Sample> {
    let (name, password) = ("somebody".to_owned(), "p".to_owned());
    Some(match method {
        "Authenticate" => {
            of(AuthenticateRequest { name: ROOT.into(), password: ROOT_PASSWORD.into() })
        }
        "UserAdd" => of(AuthUserAddRequest { name, password, ..AuthUserAddRequest::default() }),
        "UserGet" => of(AuthUserGetRequest { name: ROOT.into() }),
        "UserDelete" => of(AuthUserDeleteRequest { name }),
        "UserChangePassword" => of(AuthUserChangePasswordRequest {
            name,
            password,
            ..AuthUserChangePasswordRequest::default()
        }),
        "RoleAdd" => of(AuthRoleAddRequest { name }),
        "RoleGet" => of(AuthRoleGetRequest { role: ROOT.into() }),
        _ => return None,
    })
}

fn queues(method: &str) -> Option<Sample> {
    let leader = Some(LeaderKey {
        name: ELECTION.into(),
        key: OTHER_KEY.into(),
        rev: 1,
        lease: LEASE,
    });
    let (name, lease) = (KEY.into(), LEASE);
    Some(match method {
        "Lock" => of(LockRequest { name, lease }),
        "Unlock" => of(UnlockRequest { key: OTHER_KEY.into() }),
        "Campaign" => of(CampaignRequest { name, lease, ..CampaignRequest::default() }),
        "Proclaim" => of(ProclaimRequest { leader, ..ProclaimRequest::default() }),
        "Leader" | "Observe" => of(LeaderRequest { name: ELECTION.into() }),
        "Resign" => of(ResignRequest { leader }),
        _ => return None,
    })
}

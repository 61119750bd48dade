//! The gRPC services that are served: each method hands its message to a verb.

use std::{net::SocketAddr, pin::Pin};

use bytes::Bytes;
use futures_util::Stream;
use tonic::{Request, Response, Status, transport::server::TcpConnectInfo};
use witan_api::v3::{
    error::Error,
    etcdserverpb::{
        self as pb, auth_server::Auth, cluster_server::Cluster, kv_server::Kv,
        maintenance_server::Maintenance,
    },
};

use super::{
    Answer, auth, backup, cluster, kv, maintenance, permit, range_stream, snapshot, unary,
};
use crate::{
    api::Context,
    auth::Credentials,
    budget::SMALL_BYTES,
    client_network::ClientNetwork,
    transport::{Head, Outgoing, PeerCertificate},
};

/// With this metadata a client asks to be refused while no leader is known.
const REQUIRE_LEADER: &str = "hasleader";

/// Path of the service of the key space.
pub(super) const KV: &str = "/etcdserverpb.KV/";

/// Implements every service of the dialect.
#[derive(Clone, Debug)]
pub(super) struct Service {
    ctx: Context,
}

/// The answers of a method that has many.
pub(super) type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Service {
    pub(super) fn new(ctx: Context) -> Self {
        Self { ctx }
    }

    /// The context and the message of a call.
    pub(super) fn enter<T>(&self, request: Request<T>) -> Answer<(Context, T)> {
        let certificate = request.extensions().get();
        let ends = (certificate, request.remote_addr());
        let ctx = self.ctx_of(request.metadata().as_ref(), ends);
        Ok((ctx, self.admit(request)?))
    }

    /// The context of a call with these headers, from this address.
    fn ctx_of(
        &self,
        headers: &http::HeaderMap,
        (shown, address): (Option<&PeerCertificate>, Option<SocketAddr>),
    ) -> Context {
        let client = ClientNetwork::of_peer(address);
        if self.ctx.node.any_auth_enabled() {
            let certificate = shown.filter(|_| self.ctx.settings.client_cert_auth);
            let name = certificate.map(|shown| shown.common_name().to_owned());
            self.ctx.of(Credentials::of_call(headers, name), client)
        } else {
            self.ctx.of_client(client)
        }
    }

    /// Whether a call may begin, by its head alone.
    pub(super) async fn may_begin(&self, head: &Head) -> Answer<()> {
        if !self.ctx.node.any_auth_enabled() {
            return Ok(());
        }
        let ctx = self.ctx_of(head.headers(), (head.parts().extensions.get(), None));
        permit::enter(&ctx, head.path()).await
    }

    pub(super) fn admit<T>(&self, request: Request<T>) -> Answer<T> {
        self.check_leader(request.metadata().as_ref())?;
        Ok(request.into_inner())
    }

    /// Whether a call is to be refused while no leader is known.
    pub(super) fn wants_leader(headers: &http::HeaderMap) -> bool {
        headers
            .get(REQUIRE_LEADER)
            .is_some_and(|value| value == "true")
    }

    /// A call of a verb that carries the load, without tonic's layers.
    pub(super) async fn hot<Q, A>(
        &self,
        head: &Head,
        message: Bytes,
        verb: impl AsyncFnOnce(&Context, Q) -> Answer<A>,
    ) -> Outgoing
    where
        Q: prost::Message + Default + 'static,
        A: unary::Reply,
    {
        match self.check_leader(head.headers()) {
            Ok(()) if self.ctx.node.auth_enabled() || message.len() > SMALL_BYTES => {
                let extensions = &head.parts().extensions;
                let tcp = extensions.get::<TcpConnectInfo>();
                let address = tcp.and_then(TcpConnectInfo::remote_addr);
                let ctx = self.ctx_of(head.headers(), (extensions.get(), address));
                if let Err(refusal) = permit::anybody(&ctx) {
                    return Outgoing::Response(Status::from(refusal).into_http());
                }
                // a future of its own: the one below stays as small as it is
                let answer = unary::answer(&ctx.aside, message, async |message| {
                    verb(&ctx, message).await
                });
                Box::pin(answer).await
            }
            Ok(()) => {
                let verb = async |message| verb(&self.ctx, message).await;
                unary::answer(&self.ctx.aside, message, verb).await
            }
            Err(refusal) => Outgoing::Response(Status::from(refusal).into_http()),
        }
    }

    fn check_leader(&self, headers: &http::HeaderMap) -> Answer<()> {
        if Self::wants_leader(headers) && self.ctx.node.status().leader == 0 {
            Err(Error::NoLeader)
        } else {
            Ok(())
        }
    }
}

/// Where a call comes from.
pub(super) fn client_of(head: &Head) -> ClientNetwork {
    let ends = head.parts().extensions.get::<TcpConnectInfo>();
    let address = ends.and_then(TcpConnectInfo::remote_addr);
    ClientNetwork::of(address.map(|address| address.ip()))
}

/// Methods of one service, each of which hands its message to a verb.
macro_rules! serve {
    (
        $trait:ident
        served { $($method:ident($request:ident) -> $response:ident = $verb:path;)* }
        $(streamed {
            $($served:ident($sv_request:ident) -> $sv_item:ident as $sv_type:ident = $sv_verb:path;)*
        })?
    ) => {
        #[tonic::async_trait]
        impl $trait for Service {
            $($(
            type $sv_type = Streamed<pb::$sv_item>;
            async fn $served(
                &self,
                request: Request<pb::$sv_request>,
            ) -> Result<Response<Self::$sv_type>, Status> {
                let (ctx, request) = self.enter(request)?;
                Ok(Response::new(Box::pin($sv_verb(&ctx, request).await?)))
            })*)?
            $(async fn $method(
                &self,
                request: Request<pb::$request>,
            ) -> Result<Response<pb::$response>, Status> {
                let (ctx, request) = self.enter(request)?;
                Ok(Response::new($verb(&ctx, request).await?))
            })*
        }
    };
}

serve! {
    Kv
    served {
        range(RangeRequest) -> RangeResponse = kv::range;
        put(PutRequest) -> PutResponse = kv::put;
        delete_range(DeleteRangeRequest) -> DeleteRangeResponse = kv::delete_range;
        txn(TxnRequest) -> TxnResponse = kv::txn;
        compact(CompactionRequest) -> CompactionResponse = kv::compact;
    }
    streamed {
        range_stream(RangeRequest) -> RangeStreamResponse as RangeStreamStream = range_stream::range;
    }
}

serve! {
    Cluster
    served {
        member_add(MemberAddRequest) -> MemberAddResponse = cluster::add;
        member_remove(MemberRemoveRequest) -> MemberRemoveResponse = cluster::remove;
        member_update(MemberUpdateRequest) -> MemberUpdateResponse = cluster::update;
        member_list(MemberListRequest) -> MemberListResponse = cluster::list;
        member_promote(MemberPromoteRequest) -> MemberPromoteResponse = cluster::promote;
    }
}

serve! {
    Maintenance
    served {
        status(StatusRequest) -> StatusResponse = maintenance::status;
        alarm(AlarmRequest) -> AlarmResponse = maintenance::alarm;
        defragment(DefragmentRequest) -> DefragmentResponse = backup::defragment;
        hash(HashRequest) -> HashResponse = backup::hash;
        hash_kv(HashKvRequest) -> HashKvResponse = backup::hash_kv;
        move_leader(MoveLeaderRequest) -> MoveLeaderResponse = maintenance::move_leader;
        downgrade(DowngradeRequest) -> DowngradeResponse = maintenance::downgrade;
    }
    streamed {
        snapshot(SnapshotRequest) -> SnapshotResponse as SnapshotStream = snapshot::snapshot;
    }
}

serve! {
    Auth
    served {
        auth_enable(AuthEnableRequest) -> AuthEnableResponse = auth::enable;
        auth_disable(AuthDisableRequest) -> AuthDisableResponse = auth::disable;
        auth_status(AuthStatusRequest) -> AuthStatusResponse = auth::status;
        authenticate(AuthenticateRequest) -> AuthenticateResponse = auth::authenticate;
        user_add(AuthUserAddRequest) -> AuthUserAddResponse = auth::user_add;
        user_get(AuthUserGetRequest) -> AuthUserGetResponse = auth::user_get;
        user_list(AuthUserListRequest) -> AuthUserListResponse = auth::user_list;
        user_delete(AuthUserDeleteRequest) -> AuthUserDeleteResponse = auth::user_delete;
        user_change_password(AuthUserChangePasswordRequest) -> AuthUserChangePasswordResponse = auth::user_password;
        user_grant_role(AuthUserGrantRoleRequest) -> AuthUserGrantRoleResponse = auth::user_grant;
        user_revoke_role(AuthUserRevokeRoleRequest) -> AuthUserRevokeRoleResponse = auth::user_revoke;
        role_add(AuthRoleAddRequest) -> AuthRoleAddResponse = auth::role_add;
        role_get(AuthRoleGetRequest) -> AuthRoleGetResponse = auth::role_get;
        role_list(AuthRoleListRequest) -> AuthRoleListResponse = auth::role_list;
        role_delete(AuthRoleDeleteRequest) -> AuthRoleDeleteResponse = auth::role_delete;
        role_grant_permission(AuthRoleGrantPermissionRequest) -> AuthRoleGrantPermissionResponse = auth::role_grant;
        role_revoke_permission(AuthRoleRevokePermissionRequest) -> AuthRoleRevokePermissionResponse = auth::role_revoke;
    }
}

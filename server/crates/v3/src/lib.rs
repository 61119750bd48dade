//! The v3 dialect: the gRPC services and their JSON gateway.
//!
//! Each call is one function, `async fn(ctx, request) -> RpcResult<response>`, which gRPC and the gateway share. Both first
//! check the access that the method requires (`authorize`).
//!
//! Reading order: this file (the services, headers of responses, reflection) → `error` (codes and messages) → `kv` (one file
//! per call; `--max-request-bytes`) → `authorize` → `range_stream`, `lease`, `cluster`, `maintenance`, `snapshot` (`Snapshot`
//! and its digest), `auth` → `error_map` → `services` (gRPC) → `messages`, `list_elements` (decoding), `long_range` (encoding)
//! → `watch` (streams), `stream_end` → `concurrency` (locks, elections) → `health` → `gateway`.

mod auth;
mod authorize;
mod cluster;
mod concurrency;
mod error;
mod error_map;
#[cfg(feature = "fuzz")]
pub mod fuzz;
pub mod gateway;
mod health;
mod kv;
mod lease;
mod list_elements;
mod long_range;
mod maintenance;
mod messages;
#[cfg(test)]
mod on_disk_tests;
mod range_stream;
mod services;
mod snapshot;
mod stream_end;
#[cfg(test)]
mod test_context;
mod watch;

use std::sync::Arc;

use tonic::service::Routes;
use witan_api::v3::DESCRIPTORS;
use witan_base::account::Account;
use witan_dialect::Context;
use witan_transport::{CallHandler, Incoming, Outgoing};

use crate::{error::RpcError, services::RpcService};

pub(crate) type RpcResult<T> = Result<T, RpcError>;

/// Converts requests to operations without validating or authorizing them, for `adopt`, which replays etcd's log.
pub mod operation {
    pub use crate::{
        auth::permission,
        kv::{
            delete_range::operation as delete_range, put::operation as put, txn::operation as txn,
        },
    };
}

/// Builds response headers.
mod header {
    use witan_api::v3::etcdserverpb::ResponseHeader;
    use witan_machine::revision::Revision;
    use witan_node::Node;

    /// Builds a header with this revision, the cluster ID, the member ID and this member's current Raft term. Never returns
    /// `None`.
    #[expect(
        clippy::unnecessary_wraps,
        reason = "the field of a response is optional"
    )]
    pub(super) fn at(node: &Node, revision: Revision) -> Option<ResponseHeader> {
        let identity = node.identity();
        Some(ResponseHeader {
            cluster_id: identity.cluster_id,
            member_id: identity.member_id.0,
            revision: revision.0,
            raft_term: node.status().term,
        })
    }

    /// Builds a header with revision 0, for membership calls. Never returns `None`.
    pub(super) fn bare(node: &Node) -> Option<ResponseHeader> {
        at(node, Revision::NONE)
    }
}

/// The gRPC services of the v3 dialect.
#[derive(Clone, Debug)]
pub struct Services(Arc<RpcService>);

impl Services {
    /// Creates the services of a running member.
    pub fn new(ctx: Context) -> Self {
        Self(Arc::new(RpcService { routes: routes(ctx.clone()), ctx }))
    }
}

impl CallHandler for Services {
    /// Clones the services for a worker. Each call changes reference counts, so workers with a shared copy would contend.
    fn clone_for_worker(&self) -> Self {
        Self(Arc::new(RpcService::clone(&self.0)))
    }

    fn of_connection(&self, account: &Account) -> Self {
        let (ctx, routes) = (self.0.ctx.of_connection(account), self.0.routes.clone());
        Self(Arc::new(RpcService { ctx, routes }))
    }

    /// Answers a call in the table of calls. Checks any other call and passes it to the services that libraries implement.
    async fn call(self, request: Incoming) -> Outgoing {
        let service = &self.0;
        let request = match service.call(request).await {
            Ok(answer) => return answer,
            Err(request) => request,
        };
        match service.admit(&request.head).await {
            Ok(_) => CallHandler::call(service.routes.clone(), request).await,
            Err(refusal) => services::refused(refusal),
        }
    }
}

/// Builds the routes of the health and reflection services, which tonic serves.
fn routes(ctx: Context) -> Routes {
    let health = health::server(ctx.node);
    let mut routes = Routes::builder();
    routes.add_service(health);
    add_reflection(&mut routes);
    routes.routes().prepare()
}

/// Adds the reflection services `v1` and `v1alpha`, which describe the v3 services and the health service.
fn add_reflection(routes: &mut tonic::service::RoutesBuilder) {
    let builder = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    const WHOLE: &str = "a test decodes the committed descriptors";
    routes.add_service(builder().build_v1().expect(WHOLE));
    routes.add_service(builder().build_v1alpha().expect(WHOLE));
}

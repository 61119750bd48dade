//! The v3 dialect: gRPC services, and the same verbs as JSON (`gateway`).
//!
//! A verb is written once, as `async fn(ctx, request) -> Answer<response>`, and both forms call it.
//! What does *not* live here: connections, deadlines, message limits and the answer to unknown
//! methods (`transport`), texts of errors and the JSON mapping (`witan_api::v3`).
//!
//! Reading order: `kv` (verbs) → `check`, `overlap` (validation) → `permit` (who may) →
//! `convert` (to the core's types and back) →
//! `range_stream`, `quota`, `lease`, `cluster`, `maintenance`, `places`, `backup`, `snapshot`, `auth` → `header`, `fault` →
//! `services` (gRPC) → `unary` (the same, faster) → `watch` (streams), `ending` → `concurrency` (locks,
//! elections) → `health` → `gateway`.

mod auth;
mod backup;
pub(super) mod check;
mod cluster;
mod concurrency;
pub(super) mod convert;
mod ending;
mod fault;
pub(crate) mod gateway;
mod header;
mod health;
mod kv;
mod lease;
mod maintenance;
mod overlap;
mod permit;
mod places;
mod quota;
mod range_stream;
mod services;
mod snapshot;
mod unary;
mod watch;

pub use backup::Jobs;

use std::sync::Arc;

use tonic::{Status, service::Routes};
use witan_api::v3::{
    DESCRIPTORS,
    error::Error,
    etcdserverpb::{
        auth_server::AuthServer, cluster_server::ClusterServer, kv_server::KvServer,
        lease_server::LeaseServer, maintenance_server::MaintenanceServer,
        watch_server::WatchServer,
    },
    v3electionpb::election_server::ElectionServer,
    v3lockpb::lock_server::LockServer,
};

use super::Context;
use crate::transport::{Calls, Incoming, Outgoing, RequestBody};

/// What a verb answers.
pub(crate) type Answer<T> = Result<T, Error>;

/// All gRPC services. The transport enforces the limit on message size and names unknown methods.
#[derive(Clone, Debug)]
pub struct Services(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    service: services::Service,
    routes: Routes,
}

impl Services {
    /// Services of the running member.
    pub fn new(ctx: Context) -> Self {
        let service = services::Service::new(ctx.clone());
        Self(Arc::new(Shared {
            routes: routes(ctx, &service),
            service,
        }))
    }
}

impl Calls for Services {
    /// Each call counts references; workers that did so in one place would wait for each other.
    fn own(&self) -> Self {
        Self(Arc::new(Shared {
            service: self.0.service.clone(),
            routes: self.0.routes.clone(),
        }))
    }

    /// The verbs that carry the load.
    fn whole(&self, path: &str) -> bool {
        let verb = path.strip_prefix(services::KV);
        matches!(verb, Some("Put" | "Range" | "Txn"))
    }

    async fn call(self, request: Incoming) -> Outgoing {
        let service = &self.0.service;
        if let RequestBody::Whole(message) = &request.body {
            let (head, message) = (&request.head, message.clone());
            let client = services::client_of(head);
            match head.path().strip_prefix(services::KV) {
                Some("Put") => return service.hot(head, message, kv::put).await,
                Some("Range") => {
                    let verb = async |ctx: &Context, asked| kv::range_for(ctx, client, asked).await;
                    return service.hot(head, message, verb).await;
                }
                Some("Txn") => {
                    let verb = async |ctx: &Context, asked| kv::txn_for(ctx, client, asked).await;
                    return service.hot(head, message, verb).await;
                }
                _ => {}
            }
        }
        if let Err(refusal) = service.may_begin(&request.head).await {
            return Outgoing::Response(Status::from(refusal).into_http());
        }
        Calls::call(self.0.routes.clone(), request).await
    }
}

fn routes(ctx: Context, service: &services::Service) -> Routes {
    let health = health::server(ctx.node);
    let mut routes = Routes::builder();
    macro_rules! add {
        ($($server:ident),*) => {$(
            routes.add_service($server::new(service.clone()).max_decoding_message_size(usize::MAX));
        )*};
    }
    add!(
        KvServer,
        WatchServer,
        LeaseServer,
        ClusterServer,
        MaintenanceServer,
        AuthServer
    );
    add!(LockServer, ElectionServer);
    routes.add_service(health);
    add_reflection(&mut routes);
    routes.routes().prepare()
}

fn add_reflection(routes: &mut tonic::service::RoutesBuilder) {
    let builder = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    const WHOLE: &str = "the descriptors are committed and tested to be whole";
    routes.add_service(builder().build_v1().expect(WHOLE));
    routes.add_service(builder().build_v1alpha().expect(WHOLE));
}

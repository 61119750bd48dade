//! The service `grpc.health.v1`. As in etcd, only the empty service name is known. Its status is `SERVING` until the process
//! stops.

use std::pin::Pin;

use futures_util::{Stream, StreamExt as _, stream};
use tonic::{Request, Response, Status};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_check_response::ServingStatus,
    health_server::{Health, HealthServer},
};
use witan_node::Node;

pub(super) fn server(node: Node) -> HealthServer<HealthService> {
    HealthServer::new(HealthService { node })
}

pub(super) struct HealthService {
    node: Node,
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

#[tonic::async_trait]
impl Health for HealthService {
    /// Returns `SERVING`, or fails with `NotFound` for any service name other than the empty one.
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        if request.get_ref().service.is_empty() {
            Ok(Response::new(response(ServingStatus::Serving)))
        } else {
            Err(Status::not_found("unknown service"))
        }
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    /// Sends the current status immediately, which is `SERVICE_UNKNOWN` for an unknown service. When the process stops, sends
    /// the final status and ends the stream.
    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let known = request.get_ref().service.is_empty();
        let (now, last) = if known {
            (ServingStatus::Serving, ServingStatus::NotServing)
        } else {
            (ServingStatus::ServiceUnknown, ServingStatus::ServiceUnknown)
        };
        let node = self.node.clone();
        let at_stop = stream::once(async move {
            node.stopping().await;
            Ok(response(last))
        });
        let statuses = stream::iter([Ok(response(now))]).chain(at_stop);
        Ok(Response::new(Box::pin(statuses)))
    }
}

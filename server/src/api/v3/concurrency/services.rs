//! The two services as gRPC: each method hands its message to a verb.

use std::pin::Pin;

use futures_util::Stream;
use tonic::{Request, Response, Status};
use witan_api::v3::{
    v3electionpb::{
        CampaignRequest, CampaignResponse, LeaderRequest, LeaderResponse, ProclaimRequest,
        ProclaimResponse, ResignRequest, ResignResponse, election_server::Election,
    },
    v3lockpb::{LockRequest, LockResponse, UnlockRequest, UnlockResponse, lock_server::Lock},
};

use super::{election, lock};
use crate::api::v3::services::Service;

#[tonic::async_trait]
impl Lock for Service {
    async fn lock(&self, request: Request<LockRequest>) -> Result<Response<LockResponse>, Status> {
        let (ctx, request) = self.enter(request)?;
        Ok(Response::new(lock::lock(&ctx, request).await?))
    }

    async fn unlock(
        &self,
        request: Request<UnlockRequest>,
    ) -> Result<Response<UnlockResponse>, Status> {
        let (ctx, request) = self.enter(request)?;
        Ok(Response::new(lock::unlock(&ctx, request).await?))
    }
}

#[tonic::async_trait]
impl Election for Service {
    type ObserveStream = Pin<Box<dyn Stream<Item = Result<LeaderResponse, Status>> + Send>>;

    async fn campaign(
        &self,
        request: Request<CampaignRequest>,
    ) -> Result<Response<CampaignResponse>, Status> {
        let (ctx, request) = self.enter(request)?;
        Ok(Response::new(election::campaign(&ctx, request).await?))
    }

    async fn proclaim(
        &self,
        request: Request<ProclaimRequest>,
    ) -> Result<Response<ProclaimResponse>, Status> {
        let (ctx, request) = self.enter(request)?;
        Ok(Response::new(election::proclaim(&ctx, request).await?))
    }

    async fn leader(
        &self,
        request: Request<LeaderRequest>,
    ) -> Result<Response<LeaderResponse>, Status> {
        let (ctx, request) = self.enter(request)?;
        Ok(Response::new(election::leader(&ctx, request).await?))
    }

    async fn observe(
        &self,
        request: Request<LeaderRequest>,
    ) -> Result<Response<Self::ObserveStream>, Status> {
        let needs_leader = Self::wants_leader(request.metadata().as_ref());
        let (ctx, request) = self.enter(request)?;
        let responses = election::observe(&ctx, &request, needs_leader);
        Ok(Response::new(Box::pin(responses)))
    }

    async fn resign(
        &self,
        request: Request<ResignRequest>,
    ) -> Result<Response<ResignResponse>, Status> {
        let (ctx, request) = self.enter(request)?;
        Ok(Response::new(election::resign(&ctx, request).await?))
    }
}

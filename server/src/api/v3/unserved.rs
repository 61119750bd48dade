//! The gRPC services of the dialect that are not served yet: each method says so by its name.

use tonic::{Request, Response, Status};
use witan_api::v3::{
    error::Error,
    v3electionpb::{self as election, election_server::Election},
    v3lockpb::{self as lock, lock_server::Lock},
};

use super::services::{Nothing, Service};

macro_rules! unserved {
    (
        $trait:ident of $package:ident as $service:literal
        calls { $($method:ident($request:ident) -> $response:ident = $name:literal;)* }
        streams {
            $($stream:ident($st_request:ty) -> $item:ident as $type:ident = $st_name:literal;)*
        }
    ) => {
        #[tonic::async_trait]
        impl $trait for Service {
            $(async fn $method(
                &self,
                _: Request<$package::$request>,
            ) -> Result<Response<$package::$response>, Status> {
                Err(Error::Unimplemented(concat!($service, "/", $name)).into())
            })*
            $(
            type $type = Nothing<$package::$item>;
            async fn $stream(&self, _: Request<$st_request>) -> Result<Response<Self::$type>, Status> {
                Err(Error::Unimplemented(concat!($service, "/", $st_name)).into())
            })*
        }
    };
}

unserved! {
    Lock of lock as "v3lockpb.Lock"
    calls {
        lock(LockRequest) -> LockResponse = "Lock";
        unlock(UnlockRequest) -> UnlockResponse = "Unlock";
    }
    streams {}
}

unserved! {
    Election of election as "v3electionpb.Election"
    calls {
        campaign(CampaignRequest) -> CampaignResponse = "Campaign";
        proclaim(ProclaimRequest) -> ProclaimResponse = "Proclaim";
        leader(LeaderRequest) -> LeaderResponse = "Leader";
        resign(ResignRequest) -> ResignResponse = "Resign";
    }
    streams {
        observe(election::LeaderRequest) -> LeaderResponse as ObserveStream = "Observe";
    }
}

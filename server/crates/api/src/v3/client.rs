//! Clients of the gRPC services, generated from the table of calls, over any HTTP/2 transport that tonic supports.

use tonic::{
    IntoRequest, IntoStreamingRequest, Response, Status, Streaming,
    body::Body,
    client::{Grpc, GrpcService},
    codegen::{
        Body as HttpBody, Bytes, StdError,
        http::{Uri, uri::PathAndQuery},
    },
};
use tonic_prost::ProstCodec;

use super::generated::{etcdserverpb, v3electionpb, v3lockpb};

/// Waits until the connection is ready for a call. Fails with `Unknown` if the connection is not available.
async fn ready<T: GrpcService<Body>>(grpc: &mut Grpc<T>) -> Result<(), Status> {
    grpc.ready().await.map_err(|error| {
        let error: StdError = error.into();
        Status::unknown(format!("Service was not ready: {error}"))
    })
}

/// Defines the client method of a table row.
macro_rules! method {
    (bidi_stream $path:literal $verb:ident $request:path, $response:path) => {
        /// Sends a stream of requests and returns a stream of responses.
        pub async fn $verb(
            &mut self,
            requests: impl IntoStreamingRequest<Message = $request>,
        ) -> Result<Response<Streaming<$response>>, Status> {
            ready(&mut self.0).await?;
            let path = PathAndQuery::from_static($path);
            let requests = requests.into_streaming_request();
            self.0
                .streaming(requests, path, ProstCodec::default())
                .await
        }
    };
    (server_stream $path:literal $verb:ident $request:path, $response:path) => {
        /// Sends a request and returns a stream of responses.
        pub async fn $verb(
            &mut self,
            request: impl IntoRequest<$request>,
        ) -> Result<Response<Streaming<$response>>, Status> {
            ready(&mut self.0).await?;
            let (path, request) = (PathAndQuery::from_static($path), request.into_request());
            self.0
                .server_streaming(request, path, ProstCodec::default())
                .await
        }
    };
    ($unary:ident $path:literal $verb:ident $request:path, $response:path) => {
        /// Sends a request and waits for the response.
        pub async fn $verb(
            &mut self,
            request: impl IntoRequest<$request>,
        ) -> Result<Response<$response>, Status> {
            ready(&mut self.0).await?;
            let (path, request) = (PathAndQuery::from_static($path), request.into_request());
            self.0.unary(request, path, ProstCodec::default()).await
        }
    };
}

macro_rules! clients {
    ($($package:ident $clients:ident::$client:ident {$(
        $group:ident {$(
            $method:literal $module:ident::$verb:ident($request:ident) -> $response:ident, $access:ident, $paths:tt;
        )+}
    )+})+) => {$(
        /// The client of a service.
        pub mod $clients {
            use super::*;

            /// The client of a service. Clones share the connection.
            #[derive(Clone, Debug)]
            pub struct $client<T>(Grpc<T>);

            impl<T> $client<T>
            where
                T: GrpcService<Body>,
                T::ResponseBody: HttpBody<Data = Bytes> + Send + 'static,
                <T::ResponseBody as HttpBody>::Error: Into<StdError> + Send,
            {
                /// Creates a client over a connection that knows its server's address.
                pub fn new(connection: T) -> Self {
                    Self(Grpc::new(connection))
                }

                /// Creates a client over a connection to the server with this scheme and authority.
                pub fn with_origin(connection: T, origin: Uri) -> Self {
                    Self(Grpc::with_origin(connection, origin))
                }

                /// Limits the size in bytes of each received message; the default is 4 MiB.
                #[must_use]
                pub fn max_decoding_message_size(self, bytes: usize) -> Self {
                    Self(self.0.max_decoding_message_size(bytes))
                }

                $($(method!($group $method $verb $package::$request, $package::$response);)+)+
            }
        }
    )+};
}

calls!(clients);

//! Sends one message to any gRPC method and returns the first message of its response.

use bytes::Bytes;
use futures_util::stream;
use http::uri::PathAndQuery;
use tonic::{Status, client::Grpc, transport::Channel};
use witan_e2e::{grpc::Whole, requests, wait::PATIENCE};

/// Returns the first message of the response, or an empty message if there is none.
pub(crate) async fn first(
    channel: Channel,
    method: &str,
    message: Vec<u8>,
    token: Option<&str>,
) -> Result<Bytes, Status> {
    let mut client = Grpc::new(channel);
    client.ready().await.unwrap();
    let mut request = requests::with_token(token, stream::iter([Bytes::from(message)]));
    // Limit the wait, because an admitted method may never send a message.
    request.set_timeout(PATIENCE);
    let path: PathAndQuery = method.parse().unwrap();
    let answers = client.streaming(request, path, Whole).await?;
    let mut answers = answers.into_inner();
    Ok(answers.message().await?.unwrap_or_default())
}

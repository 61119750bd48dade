//! Sends one message to any gRPC method and returns the first message of its response.

use bytes_codec::BytesCodec;
use futures_util::stream;
use http::uri::PathAndQuery;
use tonic::{Status, client::Grpc, transport::Channel};
use witan_e2e::{requests, wait::PATIENCE};

/// Returns the first message of the response, or an empty message if there is none.
pub(crate) async fn first(
    channel: Channel,
    method: &str,
    message: Vec<u8>,
    token: Option<&str>,
) -> Result<Vec<u8>, Status> {
    let mut client = Grpc::new(channel);
    client.ready().await.unwrap();
    let mut request = requests::with_token(token, stream::iter([message]));
    // Limit the wait, because an admitted method may never send a message.
    request.set_timeout(PATIENCE);
    let path: PathAndQuery = method.parse().unwrap();
    let answers = client.streaming(request, path, BytesCodec).await?;
    let mut answers = answers.into_inner();
    Ok(answers.message().await?.unwrap_or_default())
}

mod bytes_codec {
    //! A codec that passes encoded messages.

    use prost::bytes::{Buf as _, BufMut as _};
    use tonic::{
        Status,
        codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    };

    #[derive(Default)]
    pub(crate) struct BytesCodec;

    impl Codec for BytesCodec {
        type Encode = Vec<u8>;
        type Decode = Vec<u8>;
        type Encoder = Self;
        type Decoder = Self;

        fn encoder(&mut self) -> Self {
            Self
        }

        fn decoder(&mut self) -> Self {
            Self
        }
    }

    impl Encoder for BytesCodec {
        type Item = Vec<u8>;
        type Error = Status;

        fn encode(&mut self, item: Vec<u8>, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
            out.put_slice(&item);
            Ok(())
        }
    }

    impl Decoder for BytesCodec {
        type Item = Vec<u8>;
        type Error = Status;

        fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
            Ok(Some(from.copy_to_bytes(from.remaining()).to_vec()))
        }
    }
}

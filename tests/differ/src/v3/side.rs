//! One server and its answers as lines. Names replace parts that may differ between clusters (ids, term).

use bytes::Bytes;
use prost::Message;
use serde::Serialize;
use tonic::{Request, Status, client::Grpc, transport::Channel};
use witan_api::v3::{
    etcdserverpb::{
        CompactionRequest, CompactionResponse, DeleteRangeRequest, DeleteRangeResponse, PutRequest,
        PutResponse, RangeRequest, RangeResponse, ResponseHeader, TxnRequest, TxnResponse,
    },
    shape::Shaped,
};
use witan_e2e::{
    Kind, Launch, Server, grpc,
    http::{self, Connection},
};
use witan_v3::gateway::{self, GatewayVersion, JsonFormat, encoding::Encoding};

use super::step::Ask;

/// Maximum size of an answer in bytes. A range may return several of the largest values.
const MESSAGE_BYTES_MAX: usize = 256 << 20;

/// The value of `--max-request-bytes`. A low limit makes requests at the limit fast. A gRPC message may be half a MiB longer.
pub(crate) const REQUEST_BYTES_MAX: usize = 64 << 10;

/// A server's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) line: String,
    /// The revision in the header, if any.
    pub(crate) revision: Option<i64>,
}

impl Answer {
    /// Creates an answer without a header.
    fn headless(line: String) -> Self {
        let revision = None;
        Self { line, revision }
    }
}

/// A running server with connections to it.
pub(crate) struct Side {
    kind: Kind,
    server: Server,
    channel: Channel,
    connection: Option<Connection>,
    header: ResponseHeader,
}

impl Side {
    /// Starts a new single-member cluster.
    pub(crate) async fn start(kind: Kind) -> Self {
        let server = Launch::new(kind)
            .without_fsync()
            .arg(format!("--max-request-bytes={REQUEST_BYTES_MAX}"))
            .start();
        let channel = grpc::connect(&server.address()).await;
        let mut side = Self {
            kind,
            server,
            channel,
            connection: None,
            header: ResponseHeader::default(),
        };
        side.header = side.ask_header().await;
        side
    }

    async fn ask_header(&self) -> ResponseHeader {
        let ask = RangeRequest { key: "a".into(), ..Default::default() };
        let bytes = self.call("range", ask.encode_to_vec().into()).await;
        let bytes = bytes.expect("a server that is ready answers");
        let range = RangeResponse::decode(bytes).expect("a range answers a range");
        range.header.expect("every answer has a header")
    }

    /// Sends a request and returns the answer.
    pub(crate) async fn ask(&mut self, ask: &Ask) -> Answer {
        match ask {
            Ask::Grpc(verb, json) => {
                let message = message(verb, json).expect("only requests are drawn and kept");
                self.grpc(verb, message).await
            }
            Ask::Raw(verb, message) => self.grpc(verb, message.clone().into()).await,
            Ask::Json(prefix, path, body) => self.gateway(prefix, path, body),
        }
    }

    async fn call(&self, verb: &str, message: Bytes) -> Result<Bytes, Status> {
        let mut grpc = Grpc::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
        grpc.ready()
            .await
            .map_err(|error| Status::unknown(error.to_string()))?;
        let path = match verb {
            "range" => "/etcdserverpb.KV/Range",
            "put" => "/etcdserverpb.KV/Put",
            "delete" => "/etcdserverpb.KV/DeleteRange",
            "txn" => "/etcdserverpb.KV/Txn",
            _ => "/etcdserverpb.KV/Compact",
        };
        let path = tonic::codegen::http::uri::PathAndQuery::from_static(path);
        let response = grpc.unary(Request::new(message), path, grpc::Whole).await?;
        Ok(response.into_inner())
    }

    async fn grpc(&self, verb: &str, message: Bytes) -> Answer {
        match self.call(verb, message).await {
            Err(status) => Answer::headless(format!("{:?} {}", status.code(), status.message())),
            Ok(bytes) => match verb {
                "range" => self.decoded::<RangeResponse>(bytes, |m| &mut m.header),
                "put" => self.decoded::<PutResponse>(bytes, |m| &mut m.header),
                "delete" => self.decoded::<DeleteRangeResponse>(bytes, |m| &mut m.header),
                "txn" => self.decoded::<TxnResponse>(bytes, |m| &mut m.header),
                _ => self.decoded::<CompactionResponse>(bytes, |m| &mut m.header),
            },
        }
    }

    /// Converts an answer to JSON. Omits the header's ids and term if they belong to this cluster.
    fn decoded<M: Message + Default + Serialize>(
        &self,
        bytes: Bytes,
        header: impl Fn(&mut M) -> &mut Option<ResponseHeader>,
    ) -> Answer {
        let length = bytes.len();
        let mut message = match M::decode(bytes) {
            Ok(message) => message,
            Err(error) => return Answer::headless(format!("undecodable {error}")),
        };
        let unread = length - message.encoded_len();
        let mut revision = None;
        if let Some(header) = header(&mut message) {
            revision = Some(header.revision);
            for (field, known) in [
                (&mut header.cluster_id, self.header.cluster_id),
                (&mut header.member_id, self.header.member_id),
                (&mut header.raft_term, self.header.raft_term),
            ] {
                if *field == known {
                    *field = 0;
                }
            }
        }
        let json = serde_json::to_string(&message).expect("messages are always JSON");
        let unread = if unread == 0 {
            String::new()
        } else {
            format!(" and {unread} bytes more")
        };
        Answer { line: format!("ok {json}{unread}"), revision }
    }

    /// Sends a body with the prefix that this server supports: etcd 3.6 and later have only `v3`, and 3.4 has no `v3alpha`. A
    /// failed connection produces an answer that begins with `closed`.
    fn gateway(&mut self, prefix: &str, path: &str, body: &[u8]) -> Answer {
        let prefix = match self.kind {
            Kind::Witan => prefix,
            Kind::Etcd34 if prefix == "v3alpha" => "v3beta",
            Kind::Etcd34 => prefix,
            Kind::Etcd36 | Kind::Etcd37 => "v3",
        };
        let target = format!("/{prefix}/{path}");
        let first = self.connection.is_none();
        let mut answer = self.exchange(&target, body);
        if answer.is_err() && !first {
            // Retry, because the server may have closed the kept connection. A real fault occurs again.
            answer = self.exchange(&target, body);
        }
        match answer {
            Ok(answer) => answer,
            Err(error) => Answer::headless(format!("closed {:?}", error.kind())),
        }
    }

    /// Sends a POST and reads the answer. Keeps the connection only if the server does.
    fn exchange(&mut self, target: &str, body: &[u8]) -> std::io::Result<Answer> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(&self.server.address())?,
        };
        connection.send("POST", target, &[], body)?;
        let response = connection.response("POST")?;
        let framing = match response.header("content-length") {
            Some(_) => "",
            None => " chunked",
        };
        let mut line = format!("{}{framing}", response.status);
        for name in ["content-type", "grpc-metadata-content-type"] {
            line.push(' ');
            line.push_str(response.header(name).unwrap_or("-"));
        }
        line.push(' ');
        if response.header("connection") != Some("close") {
            self.connection = Some(connection);
        }
        let text = http::without_error(&response.text());
        let revision = text
            .split_once("\"revision\":\"")
            .and_then(|(_, rest)| rest.split_once('"')?.0.parse().ok());
        line.push_str(&super::step::escape(self.nameless(text).as_bytes()));
        Ok(Answer { line, revision })
    }

    /// Replaces the ids and the term of this cluster's header with names. Returns any other text unchanged.
    fn nameless(&self, text: String) -> String {
        let named = format!(
            r#"{{"header":{{"cluster_id":"{}","member_id":"{}","#,
            self.header.cluster_id, self.header.member_id
        );
        let term = format!(r#""raft_term":"{}"}}"#, self.header.raft_term);
        match text.strip_prefix(&named) {
            Some(rest) => {
                let rest = rest.replacen(&term, r#""raft_term":T}"#, 1);
                format!(r#"{{"header":{{C,M,{rest}"#)
            }
            None => text,
        }
    }
}

/// Converts a request of the kind `verb` from JSON to protobuf.
pub(crate) fn message(verb: &str, json: &str) -> Result<Bytes, String> {
    match verb {
        "range" => encoded::<RangeRequest>(json),
        "put" => encoded::<PutRequest>(json),
        "delete" => encoded::<DeleteRangeRequest>(json),
        "txn" => encoded::<TxnRequest>(json),
        "compact" => encoded::<CompactionRequest>(json),
        _ => Err(format!("{verb} is no verb")),
    }
}

fn encoded<M: Shaped + Default + Message>(json: &str) -> Result<Bytes, String> {
    let message: M = read(json.as_bytes()).ok_or_else(|| format!("no message: {json}"))?;
    Ok(message.encode_to_vec().into())
}

/// Parses a message as etcd 3.7 does.
pub(crate) fn read<M: Shaped + Default + Message>(json: &[u8]) -> Option<M> {
    let format = JsonFormat {
        gateway_version: GatewayVersion::V3_6,
        encoding: Encoding::Base64,
    };
    gateway::decode(json, format).ok()
}

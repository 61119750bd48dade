//! A minimal S3 server for tests of uploads. It can refuse one request.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::{command::S3Flags, s3, store::Store};

#[derive(Debug, Clone, Copy)]
pub(crate) struct Refusal {
    /// The method and a part of the URL, such as "PUT" and "partNumber=2".
    pub(crate) request: (&'static str, &'static str),
    pub(crate) status: u16,
    pub(crate) code: &'static str,
}

/// The requests that a store received, such as "PUT /bucket/of/test/a.json if-none-match".
pub(crate) type Requests = Arc<Mutex<Vec<String>>>;

/// Starts a store that ends with the test. Returns its client and the requests that it receives.
pub(crate) async fn start(refusal: Option<Refusal>) -> (Store, Requests) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let requests = Requests::default();
    let seen = requests.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let seen = seen.clone();
            tokio::spawn(async move {
                let service = service_fn(|request| answer(request, refusal, &seen));
                // The client closes the connection.
                drop(
                    http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await,
                );
            });
        }
    });
    (Store::of_test(Arc::new(client(&endpoint))), requests)
}

pub(crate) fn client(endpoint: &str) -> object_store::aws::AmazonS3 {
    let flags = S3Flags { s3_endpoint: Some(endpoint.to_owned()), ..S3Flags::default() };
    let keys = |name: &str| name.ends_with("KEY").then(|| "x".to_owned());
    let id = |name: &str| name.ends_with("KEY_ID").then(|| "x".to_owned());
    s3::open_with("bucket", &flags, &|name| keys(name).or_else(|| id(name))).unwrap()
}

/// Adds the request to `seen`. A GET finds nothing, and all other requests succeed, unless `refusal` matches.
async fn answer(
    request: Request<Incoming>,
    refusal: Option<Refusal>,
    seen: &Mutex<Vec<String>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (method, mut url) = (request.method().clone(), request.uri().to_string());
    if request.headers().contains_key("if-none-match") {
        url.push_str(" if-none-match");
    }
    // Like a real store, read the entire request.
    drop(request.into_body().collect().await);
    seen.lock().unwrap().push(format!("{method} {url}"));
    let xml = |status: u16, body: String| {
        let answer = Response::builder().status(status).header("etag", "\"e\"");
        Ok(answer.body(Full::from(body)).unwrap())
    };
    let error = |status: u16, code: &str| {
        xml(
            status,
            format!("<Error><Code>{code}</Code><Message>In words.</Message></Error>"),
        )
    };
    if let Some(Refusal { request: (verb, part), status, code }) = refusal
        && method.as_str() == verb
        && url.contains(part)
    {
        return error(status, code);
    }
    match method {
        Method::GET => error(404, "NoSuchKey"),
        Method::POST if url.ends_with("?uploads=") => {
            let upload = "<InitiateMultipartUploadResult><UploadId>7</UploadId></InitiateMultipartUploadResult>";
            xml(200, upload.to_owned())
        }
        Method::POST => {
            let done =
                "<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>";
            xml(200, done.to_owned())
        }
        Method::HEAD => {
            let head = Response::builder().header("etag", "\"e\"");
            let head = head.header("content-length", "0");
            Ok(head.body(Full::default()).unwrap())
        }
        Method::DELETE => xml(StatusCode::NO_CONTENT.as_u16(), String::new()),
        _ => xml(200, String::new()),
    }
}

//! Tests of the charges for a session's memory.

use actix_web::{body::BodyStream, test::TestRequest};
use futures_util::FutureExt as _;
use witan_base::{account::Totals, metrics::Register};
use witan_dialect::reply::ResponseRefused;

use super::*;

const LARGE_BYTES: usize = 2 * SMALL_BYTES;

/// A session, the sender of its client's bytes, and the receiver of its call's requests.
struct Opened {
    session: WebSocketSession,
    client: mpsc::Sender<Bytes>,
    requests: mpsc::Receiver<Bytes>,
}

/// Opens a session whose memory is charged to `account`.
async fn open(account: &Account, streams: bool, call: CallState) -> Opened {
    let (client, received) = mpsc::channel::<Bytes>(1);
    let parts = stream::unfold(received, |mut received| async move {
        let part = received.recv().await?;
        Some((Ok(part), received))
    });
    let (request, payload) = (TestRequest::default().to_http_request(), Box::pin(parts));
    let payload = web::Payload::from_request(&request, &mut dev::Payload::Stream { payload });
    let (sender, requests) = mpsc::channel(1);
    let session = WebSocketSession {
        payload: payload.await.expect("taking a payload cannot fail"),
        received: BytesMut::new(),
        partial_message: BytesMut::new(),
        bytes_max: 1 << 20,
        account: Some(account.clone()),
        charge: None,
        requests: Some(sender),
        unsent_request: BytesMut::new(),
        streams,
        call,
        line: BytesMut::new(),
        ready: VecDeque::new(),
        ping: interval_at(Instant::now() + PING_EVERY, PING_EVERY),
        missed_pings: 0,
        ended: false,
    };
    Opened { session, client, requests }
}

/// Returns a client's frame.
fn frame(code: OpCode, data: &[u8]) -> Bytes {
    let mut frame = BytesMut::new();
    Parser::write_message(&mut frame, data, code, true, true);
    frame.freeze()
}

#[actix_web::test]
async fn a_large_message_is_charged_until_a_stream_takes_it_or_a_unary_call_ends() {
    for streams in [true, false] {
        let totals = Totals::register(&Register::default(), u64::MAX);
        let [account, other] = [(); 2].map(|()| totals.open());
        let all = || other.hold(Resource::Requests, Resource::Requests.limit());
        let call = CallState::Begun(Box::pin(std::future::pending()));
        let mut opened = open(&account, streams, call).await;
        let message = frame(OpCode::Text, &[b'a'; LARGE_BYTES]);
        opened.client.try_send(message).expect("a free slot");
        assert!(opened.session.next().now_or_never().is_none());
        assert!(all().is_none(), "the call has not taken the message");
        let received = &mut opened.session.received;
        assert!(!received.try_reclaim(LARGE_BYTES), "the frame is freed");
        assert!(opened.requests.recv().await.is_some());
        assert!(opened.session.next().now_or_never().is_none());
        assert_eq!(all().is_some(), streams);
        drop(opened);
        assert!(all().is_some(), "the session has ended");
    }
}

#[actix_web::test]
async fn a_response_is_charged_until_the_session_has_ended() {
    let totals = Totals::register(&Register::default(), u64::MAX);
    let [account, other] = [(); 2].map(|()| totals.open());
    let all = || other.hold(Resource::Answers, Resource::Answers.limit());
    let charge = account
        .hold(Resource::Answers, LARGE_BYTES)
        .expect("free memory");
    let parts = stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"{}"))]);
    // The charge is held until the body is dropped.
    let body = BodyStream::new(parts.inspect(move |_| {
        let _ = &charge;
    }));
    let call = CallState::Answers(body.boxed());
    let Opened { mut session, client, .. } = open(&account, false, call).await;
    for _ in ["the response", "the end"] {
        assert!(session.next().await.is_some());
        assert!(all().is_none(), "the connection sends the frame");
    }
    assert!(session.next().await.is_none());
    drop(session);
    assert!(all().is_some());
    drop(client);
}

#[actix_web::test]
async fn a_session_does_not_end_normally_if_its_response_is_incomplete() {
    let account = Totals::register(&Register::default(), u64::MAX).open();
    let lines = [Ok(Bytes::from_static(b"{}\n")), Err(ResponseRefused)];
    let body = BodyStream::new(stream::iter(lines));
    let call = CallState::Answers(body.boxed());
    let Opened { mut session, client, .. } = open(&account, true, call).await;
    let mut sent = BytesMut::new();
    while let Some(frame) = session.next().await {
        sent.extend_from_slice(&frame);
    }
    let mut expect = BytesMut::new();
    Parser::write_message(&mut expect, "{}", OpCode::Text, true, false);
    Parser::write_close(
        &mut expect,
        Some(CloseReason::from(CloseCode::Again)),
        false,
    );
    assert_eq!(sent, expect);
    drop(client);
}

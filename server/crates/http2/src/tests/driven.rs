//! Tests of the driver on an in-memory pipe.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::oneshot,
};

use super::*;
use crate::driver::serve;

/// Serves one end of a pipe. Returns the other end, the server's task, and the stop signal.
fn served(
    pipe_bytes: usize,
) -> (
    tokio::io::DuplexStream,
    tokio::task::JoinHandle<()>,
    oneshot::Sender<()>,
) {
    let (near, far) = tokio::io::duplex(pipe_bytes);
    let (stop, stopped) = oneshot::channel();
    let server = tokio::task::spawn_local(async move {
        let stopped = async {
            let _ = stopped.await;
        };
        serve(far, Stub::default(), Config::default(), stopped)
            .await
            .unwrap();
    });
    (near, server, stop)
}

fn run_local(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test);
}

/// Returns the connection preface of a client: the magic bytes and an empty SETTINGS frame.
fn client_preface() -> Vec<u8> {
    let mut preface = PREFACE.to_vec();
    frame::settings(&mut preface, &[]);
    preface
}

/// Reads until a frame of this type and stream arrives and returns its payload.
async fn until(io: &mut tokio::io::DuplexStream, kind: u8, stream: u32) -> Vec<u8> {
    loop {
        let mut head = [0; HEAD_BYTES];
        io.read_exact(&mut head).await.expect("a frame");
        let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
        io.read_exact(&mut payload).await.expect("a payload");
        if head[3] == kind && u32::from(head[8]) == stream {
            return payload;
        }
    }
}

#[test]
fn a_call_is_answered_and_a_stop_ends_the_connection() {
    run_local(async {
        let (mut io, server, stop) = served(1 << 16);
        io.write_all(&client_preface()).await.unwrap();
        io.write_all(&request(1, "/echo", b"hello")).await.unwrap();
        assert_eq!(until(&mut io, frame::DATA, 1).await, message(b"hello"));
        stop.send(()).unwrap();
        until(&mut io, frame::GOAWAY, 0).await;
        let ack = frame(frame::PING, ACK, 0, &SHUTTING_DOWN);
        io.write_all(&ack).await.unwrap();
        until(&mut io, frame::GOAWAY, 0).await;
        assert_eq!(io.read(&mut [0]).await.unwrap(), 0);
        drop(io);
        server.await.unwrap();
    });
}

#[test]
fn the_last_frames_arrive_despite_unread_input() {
    run_local(async {
        // The pipe is so small that the client's writes wait until the server reads.
        let (io, server, _stop) = served(1 << 12);
        let (mut reader, mut writer) = tokio::io::split(io);
        let breach = frame(frame::DATA, 0, 0, b"");
        let flood = frame(frame::PING, 0, 0, b"12345678").repeat(10_000);
        let writing = tokio::task::spawn_local(async move {
            writer
                .write_all(&[client_preface(), breach, flood].concat())
                .await
                .expect("the server reads all bytes");
            writer
        });
        let mut input = Vec::new();
        while reader.read_buf(&mut input).await.unwrap() > 0 {}
        let kinds: Vec<u8> = {
            let (mut kinds, mut at) = (Vec::new(), 0);
            while let Some((frame, length)) = Frame::first(&input[at..]).unwrap() {
                kinds.push(frame.kind);
                at += length;
            }
            kinds
        };
        assert_eq!(kinds.last(), Some(&frame::GOAWAY));
        drop(writing.await.unwrap());
        drop(reader);
        server.await.unwrap();
    });
}

#[test]
fn a_busy_connection_lets_others_run() {
    run_local(async {
        let (mut io, _server, _stop) = served(1 << 20);
        io.write_all(&client_preface()).await.unwrap();
        let junk = frame(0x42, 0, 0, b"").repeat(1000);
        let (mut polite, _other, _stop2) = served(1 << 16);
        polite.write_all(&client_preface()).await.unwrap();
        until(&mut polite, frame::SETTINGS, 0).await;
        // The busy connection has more input whenever the polite client is served.
        for n in 0..20 {
            io.write_all(&junk).await.unwrap();
            let stream = 2 * n + 1;
            polite
                .write_all(&request(stream, "/echo", b"me"))
                .await
                .unwrap();
            until(&mut polite, frame::DATA, stream).await;
        }
    });
}

//! Forwards local ports to members through the API server, like `kubectl port-forward`.

use std::net::{Ipv4Addr, SocketAddr};

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};
use witan_crd::ports;

use super::error::of_kube;

/// A local port that forwards to a pod until the value is dropped.
#[derive(Debug)]
pub(super) struct Forward {
    pub(super) address: SocketAddr,
    /// The error of the last closed connection; `None` if that connection succeeded or no connection has been closed.
    failure: watch::Receiver<Option<String>>,
    task: JoinHandle<()>,
}

impl Forward {
    /// Listens on a local port. The API server is contacted only once a client connects to this port.
    pub(super) async fn open(pods: Api<Pod>, pod: String) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (failures, failure) = watch::channel(None);
        let task = tokio::spawn(accept(listener, pods, pod, failures));
        Ok(Self { address, failure, task })
    }

    /// Returns the error of the last closed connection; `None` if that connection succeeded or no connection has been closed.
    pub(super) fn failure(&self) -> Option<String> {
        self.failure.borrow().clone()
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Forwards each connection that the listener accepts. When a connection ends, sends its error, or `None`, to `failures`.
/// Returns if accepting fails.
async fn accept(
    listener: TcpListener,
    pods: Api<Pod>,
    pod: String,
    failures: watch::Sender<Option<String>>,
) {
    loop {
        let socket = match listener.accept().await {
            Ok((socket, _)) => socket,
            Err(error) => {
                let text = format!("cannot accept a connection to {pod}: {error}");
                failures.send_replace(Some(text));
                return;
            }
        };
        let (pods, pod, failures) = (pods.clone(), pod.clone(), failures.clone());
        tokio::spawn(async move {
            let done = carry(socket, &pods, &pod).await;
            failures.send_replace(done.err());
        });
    }
}

/// Forwards a connection to the client port of a pod until one side closes. Fails if the API server reports an error.
async fn carry(mut socket: TcpStream, pods: &Api<Pod>, pod: &str) -> Result<(), String> {
    let port = u16::try_from(ports::CLIENT).map_err(|error| error.to_string())?;
    let opened = pods.portforward(pod, &[port]).await;
    let mut forwarder =
        opened.map_err(|error| format!("port-forward to {pod}: {}", of_kube(&error)))?;
    let said = forwarder.take_error(port);
    let Some(mut stream) = forwarder.take_stream(port) else {
        return Err(format!("port-forward to {pod}: no stream"));
    };
    // An error of the copy only means that one side closed.
    drop(copy_bidirectional(&mut socket, &mut stream).await);
    drop(stream);
    forwarder.abort();
    match said {
        Some(said) => said.await.map_or(Ok(()), Err),
        None => Ok(()),
    }
}

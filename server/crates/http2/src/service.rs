//! The interface to the server: calls, budgets, error texts, counting.

use std::{fmt, rc::Rc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Response, request};

use crate::{Body, Code, Head, Refusal, RequestMode, Resource, Status};

/// A request.
#[derive(Debug)]
pub struct CallRequest<M> {
    /// Head of the request.
    pub head: Rc<Head<M>>,
    /// Body of the request.
    pub body: Body,
}

/// An answer to a call.
#[derive(Debug)]
pub enum CallResponse<B> {
    /// The message of a successful unary response, with its prefix of five bytes.
    Message(Vec<u8>),
    /// Any other response.
    Response(Response<B>),
}

/// The server of a connection: it runs the calls, grants memory and chooses error texts.
pub trait Service {
    /// Result of [`Service::method`] for the head of a request, computed once per distinct head.
    type Method: fmt::Debug;
    /// Data of one call in progress. It is dropped without [`Service::ended`] if the client cancels
    /// the call.
    type Call;
    /// A running call.
    type Future: Future<Output = CallResponse<Self::Body>> + Unpin;
    /// The body of a response. Its error is the status with which the call ends.
    type Body: http_body::Body<Data = Bytes, Error = Status> + Unpin;

    /// Examines a head that is not in the cache, and may change it: returns data about the method,
    /// and how the call takes its request.
    fn method(&self, head: &mut request::Parts) -> (Self::Method, RequestMode);

    /// Called when a call begins, before its request is complete.
    fn begin(&self, head: &Rc<Head<Self::Method>>) -> Self::Call;

    /// Runs a call.
    fn call(&self, request: CallRequest<Self::Method>) -> Self::Future;

    /// Called for each request message with its bytes.
    fn received(&self, call: &mut Self::Call, bytes: usize);

    /// Called for each response message with its bytes.
    fn sent(&self, call: &mut Self::Call, bytes: usize);

    /// Called before the headers of a response are sent; may change them.
    fn answered(&self, call: &mut Self::Call, headers: &mut HeaderMap);

    /// Called when a call has ended, with its code and duration.
    fn ended(&self, call: Self::Call, code: Code, took: Duration);

    /// Whether a call of this method may never end; a shutdown ends such calls.
    fn may_run_forever(&self, method: &Self::Method) -> bool;

    /// Reserves an amount of a resource; `false` refuses it. The connection releases what was
    /// granted with [`Service::release`].
    fn reserve(&self, what: Resource, amount: usize) -> bool;

    /// Releases an amount that [`Service::reserve`] has granted.
    fn release(&self, what: Resource, amount: usize);

    /// The status of a call that the connection refuses.
    fn refuse(&self, head: &Head<Self::Method>, refusal: Refusal) -> Status;
}

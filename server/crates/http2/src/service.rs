//! The interface to the server: calls, budgets, error texts, counting.

use std::{fmt, rc::Rc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Response, request};

use crate::{Body, Code, Head, Refusal, RequestMode, Resource, Status};

/// A request.
#[derive(Debug)]
pub struct CallRequest<M> {
    /// Its head.
    pub head: Rc<Head<M>>,
    /// Its body.
    pub body: Body,
}

/// An answer to a call.
#[derive(Debug)]
pub enum CallResponse<B> {
    /// The one message of an answer that went well, with its prefix of five bytes.
    Message(Vec<u8>),
    /// Any other answer.
    Response(Response<B>),
}

/// A server, as one connection sees it.
pub trait Service {
    /// What the server finds out about a method, once per distinct head of a request.
    type Method: fmt::Debug;
    /// Follows one call; dropped before [`Service::ended`] when the client has canceled it.
    type Call;
    /// A call that runs.
    type Future: Future<Output = CallResponse<Self::Body>> + Unpin;
    /// The body of an answer. An error of it is the call's status.
    type Body: http_body::Body<Data = Bytes, Error = Status> + Unpin;

    /// Looks at a head that was not seen before.
    fn method(&self, head: &mut request::Parts) -> (Self::Method, RequestMode);

    /// A call begins, before its request is whole.
    fn begin(&self, head: &Rc<Head<Self::Method>>) -> Self::Call;

    /// Answers a call.
    fn call(&self, request: CallRequest<Self::Method>) -> Self::Future;

    /// A message of so many bytes came in.
    fn received(&self, call: &mut Self::Call, bytes: usize);

    /// A message of so many bytes goes out.
    fn sent(&self, call: &mut Self::Call, bytes: usize);

    /// The headers of an answer are about to go out.
    fn answered(&self, call: &mut Self::Call, headers: &mut HeaderMap);

    /// The call has ended with this code.
    fn ended(&self, call: Self::Call, code: Code, took: Duration);

    /// Whether an answer of this method may have no end of its own.
    fn may_run_forever(&self, method: &Self::Method) -> bool;

    /// Reserves room. Whatever it grants comes back by [`Service::release`].
    fn reserve(&self, what: Resource, amount: usize) -> bool;

    /// Gives back what [`Service::reserve`] has granted.
    fn release(&self, what: Resource, amount: usize);

    /// The status of a call that the connection answers itself.
    fn refuse(&self, head: &Head<Self::Method>, refusal: Refusal) -> Status;
}

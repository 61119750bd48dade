//! Renders the responses of v1 and v2, which can be six times as long as the paths and values in them. If the paths and values
//! exceed [`INLINE_BYTES`], rendering runs on another thread, after the response's entire length is charged.

use actix_web::HttpRequest;
use bytes::Bytes;
use futures_util::future::{Either, ready};
use witan_base::account::{Account, Charge, Resource};
use witan_gocompat::{
    json,
    text::{self, Length, Sink},
};
use witan_machine::view::View;
use witan_node::{CurrentView, NodeError};
use witan_tree::{Event, Node, Tree, TreeError};

use super::{
    Context,
    basic_auth::KeyAccess,
    blocking::{self, INLINE_BYTES, INLINE_ITEMS},
    client_connection::Disconnect,
    reply::{self, ChargedText, FramedBody, ResponseRefused},
};

/// Number of bytes that a small response needs in addition to its paths and values.
const FRAME_BYTES: usize = 256;

/// Renders the output of `write` and charges it to a connection's account. The output must be the same on each call and contain
/// at least `least_bytes` bytes. Measures and charges a `large` response before rendering it, and charges a small response
/// after rendering it.
pub fn render_here(
    account: &Account,
    large: bool,
    least_bytes: usize,
    write: impl Fn(&mut dyn Sink),
) -> Result<ChargedText, ResponseRefused> {
    let charge = |bytes: usize| reply::charge(Some(account), bytes);
    if !large {
        let mut bytes = Vec::with_capacity(least_bytes + FRAME_BYTES);
        write(&mut bytes);
        let charge = charge(bytes.len())?;
        return Ok(ChargedText { bytes, charge });
    }
    // Fail early if the charge for `least_bytes` is refused, because measuring takes nearly as long as rendering.
    drop(charge(least_bytes)?);
    let mut length = Length::default();
    write(&mut length);
    let charge = charge(length.0)?;
    let mut bytes = Vec::with_capacity(length.0);
    write(&mut bytes);
    Ok(ChargedText { bytes, charge })
}

/// Renders a response of at least `least_bytes` bytes, on another thread if it is large. Fails if its charge is refused or the
/// runtime ends.
pub async fn render(
    account: &Account,
    least_bytes: usize,
    write: impl Fn(&mut dyn Sink) + Send + 'static,
) -> Result<ChargedText, ResponseRefused> {
    let (own, large) = (account.clone(), least_bytes > INLINE_BYTES);
    let work = move || render_here(&own, large, least_bytes, write);
    let done = blocking::run_if(account, large, work).await;
    done.unwrap_or(Err(ResponseRefused))
}

/// Renders the body of a response with [`render`]. If the charge is refused, the body fails.
pub async fn body(
    ctx: &Context,
    request: &HttpRequest,
    least_bytes: usize,
    write: impl Fn(&mut dyn Sink) + Send + 'static,
) -> FramedBody {
    let text = render(ctx.account(), least_bytes, write).await;
    reply::framed_text(request, text)
}

/// The reason why a node cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadRefused {
    /// No state is available, the state pinned too much memory, a password could not be checked, or the client disconnected
    /// while its request waited.
    Fault(NodeError),
    /// The caller no longer has access to the node.
    Unauthorized,
    /// The node does not exist.
    Tree(TreeError),
}

impl From<NodeError> for ReadRefused {
    fn from(fault: NodeError) -> Self {
        Self::Fault(fault)
    }
}

impl From<TreeError> for ReadRefused {
    fn from(error: TreeError) -> Self {
        Self::Tree(error)
    }
}

/// Reads a node, with its subtree if `recursive`. Returns the rendered body and the tree's index. A small result is read from
/// `view`. For a large result, waits for a permit, checks `access` again, and charges and reads the result from this member's
/// latest state on another thread. If the charge is refused, the body fails.
pub fn read<'a>(
    ctx: &'a Context,
    request: &'a HttpRequest,
    view: CurrentView,
    (key, recursive): (Bytes, bool),
    access: &'a mut KeyAccess,
    write: impl Fn(&mut dyn Sink, &Event) + Send + 'static,
) -> impl Future<Output = Result<(FramedBody, u64), ReadRefused>> + 'a {
    let now_ns = witan_node::now_ns();
    let tree = &view.machine.tree;
    let large = tree.shows_more_than(&key, recursive, INLINE_ITEMS, INLINE_BYTES);
    let account = ctx.account().clone();
    let look = move |view: &View| {
        let tree = &view.machine.tree;
        let reserved = large.then(|| reserve(&account, tree, &key, recursive));
        let _reserved = match reserved.transpose() {
            Ok(reserved) => reserved,
            Err(refused) => return Ok((Err(refused), tree.index())),
        };
        let event = tree.get(&key, recursive, now_ns)?;
        let write = |out: &mut dyn Sink| write(out, &event);
        let text = render_here(&account, large, least_bytes(&event), write);
        Ok::<_, TreeError>((text, tree.index()))
    };
    let framed = |(text, index)| (reply::framed_text(request, text), index);
    // Read outside the future, so that the future does not hold the view.
    if !large {
        let found = look(&view).map(framed).map_err(ReadRefused::Tree);
        return Either::Left(ready(found));
    }
    drop(view);
    let read = async move {
        let found = read_large(ctx, request, access, look).await?;
        Ok(framed(found?))
    };
    // Box this future, so that the future of a small read stays small.
    Either::Right(Box::pin(read))
}

/// Charges the memory of a node and its children, or of its subtree if `recursive`, before they are read. Each node of the
/// result contains its entire path, so the result can be much larger than the tree. Measures with growing limits, because the
/// measurement stops at its limit. The charge is at least `INLINE_BYTES` and can exceed the size by half. Fails if the charge
/// is refused.
fn reserve(
    account: &Account,
    tree: &Tree,
    key: &[u8],
    recursive: bool,
) -> Result<Charge, ResponseRefused> {
    let mut reserved = account.hold_later(Resource::Answers);
    let (mut bytes, mut more) = (0, INLINE_BYTES);
    while reserved.grow(more) {
        bytes += more;
        if !tree.shows_more_than(key, recursive, bytes / size_of::<Node>(), bytes) {
            return Ok(reserved);
        }
        more = bytes / 2;
    }
    Err(ResponseRefused)
}

/// Waits for a permit, checks the caller's access again, and runs `look` on another thread. Fails with `Unauthorized` if the
/// caller has lost access, and with `TooMany` if the client disconnects or the state pins too much memory.
async fn read_large<T: Send + 'static>(
    ctx: &Context,
    request: &HttpRequest,
    access: &mut KeyAccess,
    look: impl FnOnce(&View) -> T + Send + 'static,
) -> Result<T, ReadRefused> {
    let client = Disconnect::of(request);
    let job = tokio::select! {
        job = ctx.large_read() => job?,
        () = client.disconnected() => return Err(NodeError::TooMany.into()),
    };
    if !access.is_granted_in(ctx, &job.machine.auth).await? {
        return Err(ReadRefused::Unauthorized);
    }
    Ok(job.run(look).await?.0)
}

/// Returns a lower bound for the size of a rendered event in bytes: the total length of its paths and values.
pub fn least_bytes(event: &Event) -> usize {
    of_node(&event.node) + event.prev.as_ref().map_or(0, of_node)
}

/// Returns the total length of the paths and values of a node and its listed descendants.
fn of_node(node: &Node) -> usize {
    let below: usize = node.nodes.iter().flatten().map(of_node).sum();
    node.path.len() + node.value.as_ref().map_or(0, Bytes::len) + below
}

/// Appends the first fields of a v1 or v2 error body and leaves the JSON object open. The pieces of `cause` are joined. An
/// empty cause is omitted.
pub fn push_error_head(out: &mut dyn Sink, code: u16, message: &str, cause: &[Bytes]) {
    out.extend_from_slice(b"{\"errorCode\":");
    text::push_number(out, code);
    out.extend_from_slice(b",\"message\":");
    json::push_string(out, message.as_bytes());
    if cause.iter().any(|piece| !piece.is_empty()) {
        out.extend_from_slice(b",\"cause\":");
        json::push_string_of(out, cause.iter().map(Bytes::as_ref));
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use witan_base::{account::Totals, metrics::Register};
    use witan_tree::{Set, TreeCommand, TreeOperation};

    #[test]
    fn a_large_text_is_charged_before_it_is_rendered() {
        let totals = Totals::register(&Register::default(), u64::MAX);
        let [other, account] = [(); 2].map(|()| totals.open());
        let (value, times) = (vec![b'<'; 1 << 20], Cell::new(0));
        let write = |out: &mut dyn Sink| {
            times.set(times.get() + 1);
            json::push_string(out, &value);
        };
        let left = |bytes: usize| {
            let what = Resource::Answers;
            other.hold(what, what.limit() - bytes)
        };

        let large = || render_here(&account, true, value.len(), write);
        let taken = left(value.len() / 2);
        assert!(large().is_err());
        assert_eq!(times.take(), 0, "the value alone does not fit");
        drop(taken);

        let taken = left(value.len() * 3);
        assert!(large().is_err());
        assert_eq!(times.take(), 1, "the text is only measured");
        drop(taken);

        let text = large().unwrap();
        assert!(text.charge.is_some());
        assert_eq!(text.bytes.capacity(), 2 + value.len() * 6);
        let small = render_here(&other, false, value.len(), write).unwrap();
        assert_eq!((small.bytes == text.bytes, times.take()), (true, 3));
    }

    /// The tree contains the long path once, but the result contains it for each file.
    #[test]
    fn long_paths_are_charged_before_a_directory_is_read() {
        let account = Totals::register(&Register::default(), 0).open();
        let directory = format!("/{}", "d".repeat(32 << 10));
        let mut tree = Tree::default();
        for at in 0..2000 {
            let path = format!("{directory}/{at}").into();
            let set = TreeOperation::Set(Set { path, ..Set::default() });
            let command = TreeCommand { operation: Some(set) };
            tree.apply(&command, 0).expect("a new file");
        }
        let charged = || account.charged(Resource::Answers);
        let reserve = |key: &str, recursive| reserve(&account, &tree, key.as_bytes(), recursive);
        assert!(reserve("/", true).is_err());
        assert_eq!(charged(), 0);
        let reserved = reserve("/", false).expect("one long path fits");
        assert_eq!(charged(), INLINE_BYTES);
        drop(reserved);
        assert_eq!(charged(), 0);
    }
}

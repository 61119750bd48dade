//! etcd 3.7's RangeStream: returns a range at one revision in several messages, because the range can be too large for one
//! message. Each part is read from the latest state once the client has taken the previous part. Keeping one state would pin
//! all data that is replaced later. As in etcd, compacting the revision ends the stream.

use futures_util::{Stream, stream};
use tonic::Status;
use witan_api::v3::etcdserverpb::{
    RangeRequest, RangeResponse, RangeStreamResponse, ResponseHeader,
    range_request::{SortOrder, SortTarget},
};
use witan_dialect::{Context, sampling::KeyOperation};
use witan_machine::{
    StateMachine,
    auth::{AuthError, Caller},
    kv::{self, Kv, KvError, NextPart, RangePart, RangePartBounds, ValueSource},
    view::View,
};

use super::{
    RpcResult, authorize, header,
    kv::{ReadSize, needs_disk, pairs_bytes, range, run_large},
};
use crate::error::RpcError;

/// Size in bytes of the pairs in one message; a single pair can exceed it.
const PART_BYTES: usize = 1 << 20;

/// Number of keys to read before the task yields.
const PART_KEYS: usize = 4096;

/// Streams a range at one revision, in parts of about `PART_BYTES`. Fails before streaming if the request is invalid, the
/// caller lacks permission, or the revision is compacted or in the future. Ignores `_needs_leader`, because a required leader
/// is checked only when the call starts.
pub(super) async fn range_stream(
    ctx: &Context,
    request: RangeRequest,
    _needs_leader: bool,
) -> Result<impl Stream<Item = Result<RangeStreamResponse, Status>> + Send + use<>, Status> {
    range::check(&request)?;
    check(&request)?;
    ctx.count_key(KeyOperation::Read, &request.key);
    let view = range::view_for(ctx, &request).await?;
    // Authentication can be enabled before the stream ends.
    let caller = authorize::authenticated_caller(ctx);
    let kv = &view.machine.kv;
    let header = header::at(&ctx.node, kv.revision());
    let parts = RangeReader::new(kv, range::operation(request), caller, header);
    parts.check_readable(kv)?;
    ctx.node.ranges_served(1);
    let state = Some((parts, ctx.clone()));
    Ok(stream::try_unfold(state, |unfinished| async move {
        let Some((mut parts, ctx)) = unfinished else {
            return Ok(None);
        };
        let response = parts.next(&ctx).await;
        let response = response.map_err(|error| match parts.caller {
            // The state knows no tokens and reports that there is no user.
            Err(invalid_token) if error == RpcError::UserEmpty => invalid_token,
            Ok(_) | Err(_) => error,
        })?;
        let done = response.header.is_some();
        let message = RangeStreamResponse { range_response: Some(response) };
        Ok(Some((message, (!done).then_some((parts, ctx)))))
    }))
}

/// Fails for revision filters and for orders other than ascending keys, which need the entire range. The error messages match
/// etcd.
fn check(request: &RangeRequest) -> Result<(), Status> {
    let by_key = request.sort_target == SortTarget::Key as i32;
    let order = request.sort_order;
    let is_default =
        order == SortOrder::None as i32 || (by_key && order == SortOrder::Ascend as i32);
    let filters = [
        request.min_mod_revision,
        request.max_mod_revision,
        request.min_create_revision,
        request.max_create_revision,
    ];
    if !is_default {
        Err(Status::unimplemented(
            "RangeStream does not support custom sort orders",
        ))
    } else if filters.iter().any(|filter| *filter != 0) {
        Err(Status::unimplemented(
            "RangeStream does not support revision filters",
        ))
    } else {
        Ok(())
    }
}

/// Reads a range part by part.
#[derive(Clone)]
struct RangeReader {
    /// The unread rest of the range, at a fixed revision.
    range: kv::Range,
    /// The caller; `None` without credentials. The error matters only if authentication is enabled during the stream.
    caller: RpcResult<Option<Caller>>,
    /// Number of pairs left until the limit.
    left: usize,
    /// Number of pairs sent.
    sent: i64,
    header: Option<ResponseHeader>,
}

enum Step {
    Message(RangeResponse),
    /// The step read keys without finding a pair.
    Nothing,
    /// The next message is the last one, and counting the remaining keys is a large read.
    LargeCount(ReadSize),
}

impl RangeReader {
    /// Creates a reader for a range, at the revision of `kv` if the range has none. `header` is for the last part.
    fn new(
        kv: &Kv,
        range: kv::Range,
        caller: RpcResult<Option<Caller>>,
        header: Option<ResponseHeader>,
    ) -> Self {
        let limit = usize::try_from(range.limit).ok().filter(|limit| *limit > 0);
        let revision = if range.revision > 0 {
            range.revision
        } else {
            kv.revision().0
        };
        Self {
            left: limit.unwrap_or(usize::MAX),
            range: kv::Range {
                limit: 0,
                revision,
                sort_target: SortTarget::Key as i32,
                ..range
            },
            caller,
            sent: 0,
            header,
        }
    }

    /// Fails if the revision of the range is compacted or in the future. Does not read keys.
    fn check_readable(&self, kv: &Kv) -> RpcResult<()> {
        let nothing = RangePartBounds { pairs: 0, bytes: 0, keys: 0 };
        kv.range_part(&self.range, &nothing, ValueSource::Memory)?;
        Ok(())
    }

    /// Reads the next part with pairs, or the last part, after which the caller must stop. Only the last part has the header,
    /// `more`, and the count of the entire range. Does not hold a state while a large count waits for its permit.
    async fn next(&mut self, ctx: &Context) -> RpcResult<RangeResponse> {
        loop {
            let step = self.step(&ctx.node.view().await?.machine, ValueSource::Memory);
            let step = match needs_disk(&step) {
                true => self.step_from_disk(ctx).await?,
                false => step,
            };
            match step? {
                Step::Message(message) => return Ok(message),
                Step::Nothing => tokio::task::yield_now().await,
                Step::LargeCount(size) => {
                    let (reader, job) = (self.clone(), ctx.large_read().await?);
                    let finish = move |view: &View, source| reader.finish(&view.machine, source);
                    return run_large(job, size, finish).await?.0;
                }
            }
        }
    }

    /// Runs [`Self::step`] on another thread, with values from disk.
    async fn step_from_disk(&mut self, ctx: &Context) -> RpcResult<Result<Step, KvError>> {
        let mut reader = self.clone();
        let step = move |view: &View| {
            let step = reader.step(&view.machine, ValueSource::Disk);
            (step, reader)
        };
        let bytes = |(step, _): &(Result<Step, KvError>, Self)| match step {
            Ok(Step::Message(message)) => pairs_bytes(&message.kvs),
            Ok(Step::Nothing | Step::LargeCount(_)) | Err(_) => 0,
        };
        let (step, advanced) = ctx.disk_read(step, bytes).await?;
        *self = advanced;
        Ok(step)
    }

    /// Reads up to `PART_KEYS` keys. Advances past them unless the step fails or returns the last part. Fails if the caller has
    /// lost permission.
    fn step(&mut self, machine: &StateMachine, source: ValueSource) -> Result<Step, KvError> {
        self.check_access(machine)?;
        if self.range.count_only {
            return self.last(machine, source);
        }
        let part = self.part(&machine.kv, source)?;
        let pairs = part.kvs.len();
        match part.next {
            NextPart::End => {
                let count = self.sent + pairs as i64;
                let reply = kv::RangeReply { kvs: part.kvs, more: false, count };
                return Ok(Step::Message(range::response(self.header, reply)));
            }
            NextPart::Pair(_) if pairs == self.left => return self.last(machine, source),
            NextPart::Pair(key) | NextPart::Unread(key) => self.range.key = key,
        }
        self.left -= pairs;
        self.sent += pairs as i64;
        if pairs == 0 {
            return Ok(Step::Nothing);
        }
        let reply = kv::RangeReply { kvs: part.kvs, ..kv::RangeReply::default() };
        Ok(Step::Message(range::response(None, reply)))
    }

    /// Returns the last part, or `LargeCount` if counting the remaining keys is a large read.
    fn last(&self, machine: &StateMachine, source: ValueSource) -> Result<Step, KvError> {
        match range::size(&machine.kv, &self.rest()) {
            ReadSize::Small => Ok(Step::Message(self.finish(machine, source)?)),
            size @ (ReadSize::Large | ReadSize::Long) => Ok(Step::LargeCount(size)),
        }
    }

    /// Reads the last part, with the count of the entire range. The part of a count-only range has no pairs. Any other part
    /// has the pairs up to the limit and sets `more`, because the range has a pair after the limit.
    fn finish(
        &self,
        machine: &StateMachine,
        source: ValueSource,
    ) -> Result<RangeResponse, KvError> {
        self.check_access(machine)?;
        let kv = &machine.kv;
        let (kvs, more) = match self.range.count_only {
            true => (Vec::new(), false),
            false => (self.part(kv, source)?.kvs, true),
        };
        let count = self.sent + kv.range(&self.rest(), source)?.count;
        let reply = kv::RangeReply { kvs, more, count };
        Ok(range::response(self.header, reply))
    }

    /// Reads the next pairs of the range, within the limits of a part and of a step.
    fn part(&self, kv: &Kv, source: ValueSource) -> Result<RangePart, KvError> {
        let bounds = RangePartBounds { pairs: self.left, bytes: PART_BYTES, keys: PART_KEYS };
        kv.range_part(&self.range, &bounds, source)
    }

    /// Returns the unread rest of the range as a count-only range.
    fn rest(&self) -> kv::Range {
        kv::Range { count_only: true, ..self.range.clone() }
    }

    /// Fails unless the caller may read the range in this state. Permissions can have changed since the call started. A change
    /// of the auth revision alone is not a failure.
    fn check_access(&self, machine: &StateMachine) -> Result<(), AuthError> {
        let revision = machine.auth.revision();
        let caller = self.caller.as_ref().ok().and_then(Option::as_ref);
        let caller = caller.map(|caller| Caller { user: caller.user.clone(), revision });
        let check = machine.check(caller.as_ref());
        check.read(&self.range.key, &self.range.range_end)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt as _, StreamExt as _};
    use http::HeaderMap;
    use witan_auth::Credentials;
    use witan_machine::{
        auth::{AuthOperation, Enable, UserAdd, UserGrant},
        command::Entry,
        kv::KvOperation,
    };
    use witan_node::testing::NodeOfStates;

    use super::*;
    use crate::test_context::{all_keys, apply, context, put};

    fn reader(kv: &Kv, range: &kv::Range) -> RangeReader {
        let header = Some(ResponseHeader::default());
        RangeReader::new(kv, range.clone(), Ok(None), header)
    }

    fn filled(keys: usize, value_bytes: usize) -> Kv {
        let mut kv = Kv::default();
        for at in 0..keys {
            put(&mut kv, format!("k{at:05}"), vec![b'v'; value_bytes]);
        }
        kv
    }

    /// Reads the next part from this state.
    fn next(reader: &mut RangeReader, kv: &Kv) -> RpcResult<RangeResponse> {
        let machine = StateMachine { kv: kv.clone(), ..StateMachine::default() };
        loop {
            match reader.step(&machine, ValueSource::Memory)? {
                Step::Message(message) => return Ok(message),
                Step::Nothing => {}
                Step::LargeCount(_) => {
                    return Ok(reader.finish(&machine, ValueSource::Memory)?);
                }
            }
        }
    }

    /// Reads all parts of a range. Returns the sizes of their pairs in bytes, and a response with all pairs.
    fn all(kv: &Kv, range: &kv::Range) -> (Vec<usize>, RangeResponse) {
        let mut parts = reader(kv, range);
        let (mut sizes, mut whole) = (Vec::new(), RangeResponse::default());
        loop {
            let part = next(&mut parts, kv).unwrap();
            sizes.push(
                part.kvs
                    .iter()
                    .map(|kv| kv.key.len() + kv.value.len())
                    .sum(),
            );
            whole.kvs.extend(part.kvs);
            if part.header.is_some() {
                (whole.more, whole.count) = (part.more, part.count);
                return (sizes, whole);
            }
            assert!(!part.more && part.count == 0, "only the last part has both");
        }
    }

    #[test]
    fn all_parts_together_equal_the_range() {
        // More keys than one step reads and more bytes than one part contains.
        let kv = filled(PART_KEYS * 2 + 10, 300);
        for (limit, count_only, keys_only) in [
            (0, false, false),
            (0, false, true),
            (0, true, false),
            (1, false, false),
            (PART_KEYS as i64, false, true),
            (PART_KEYS as i64 * 2 + 10, false, false),
        ] {
            let request = RangeRequest { limit, count_only, keys_only, ..all_keys() };
            let range = range::operation(request);
            let (sizes, parts) = all(&kv, &range);
            let whole = range::response(None, kv.range(&range, ValueSource::Memory).unwrap());
            assert_eq!(parts, whole, "{limit} {count_only} {keys_only}");
            assert!(sizes.iter().all(|size| *size < PART_BYTES + 306));
        }
    }

    #[test]
    fn many_keys_of_an_older_revision_are_a_long_read() {
        let kv = filled(1100, 1);
        let machine = StateMachine { kv: kv.clone(), ..StateMachine::default() };
        for (revision, range_end, long) in [
            (0, "l", false),
            (kv.revision().0 - 1, "k00900", false),
            (kv.revision().0 - 1, "l", true),
        ] {
            let range = range::operation(RangeRequest {
                range_end: range_end.into(),
                count_only: true,
                revision,
                ..all_keys()
            });
            let step = reader(&kv, &range).step(&machine, ValueSource::Memory);
            let step = step.unwrap();
            let waits = matches!(step, Step::LargeCount(ReadSize::Long));
            assert_eq!(waits, long, "{revision} {range_end}");
            let count = kv.range(&range, ValueSource::Memory).unwrap().count;
            assert_eq!(all(&kv, &range).1.count, count);
        }
    }

    #[test]
    fn all_parts_have_the_revision_of_the_first_part() {
        let mut kv = filled(PART_KEYS * 3, 300);
        let range = range::operation(all_keys());
        let whole = kv.range(&range, ValueSource::Memory).unwrap();
        let whole = range::response(None, whole).kvs;
        let mut parts = reader(&kv, &range);
        let mut read = next(&mut parts, &kv).unwrap().kvs;
        let delete = kv::DeleteRange {
            key: "k".into(),
            range_end: "l".into(),
            ..kv::DeleteRange::default()
        };
        apply(&mut kv, KvOperation::Delete(delete));
        read.extend(next(&mut parts, &kv).unwrap().kvs);
        assert!(read.len() > PART_KEYS && read[..] == whole[..read.len()]);
        let revision = kv.revision().0;
        apply(&mut kv, KvOperation::Compact(kv::Compact { revision }));
        assert_eq!(next(&mut parts, &kv), Err(RpcError::Compacted));
    }

    #[test]
    fn deleted_keys_do_not_end_a_part_early() {
        let mut kv = filled(PART_KEYS * 2, 1);
        let before = kv.revision().0;
        let delete = kv::DeleteRange {
            key: "k".into(),
            range_end: "k08000".into(),
            ..kv::DeleteRange::default()
        };
        apply(&mut kv, KvOperation::Delete(delete));
        let mut range = range::operation(all_keys());
        let (sizes, now) = all(&kv, &range);
        assert_eq!((sizes.len(), now.count), (1, 192));
        range.revision = before;
        assert_eq!(all(&kv, &range).1.count, 8192);
    }

    /// Starts a stream with these credentials and reads its first part. Returns the part that follows after authentication is
    /// enabled.
    async fn part_after_auth_enable(
        credentials: Credentials,
    ) -> Result<RangeStreamResponse, Status> {
        let kv = filled(PART_KEYS + 1, 1);
        let mut states = NodeOfStates::begin(&kv);
        let ctx = context(states.node.clone()).of(credentials);
        let request = RangeRequest { serializable: true, ..all_keys() };
        let mut parts = Box::pin(range_stream(&ctx, request, false).await.unwrap());
        assert!(parts.next().await.unwrap().is_ok());
        states.withdraw();
        assert!(parts.next().now_or_never().is_none());
        let mut machine = StateMachine { kv, ..StateMachine::default() };
        let name = || "root".to_owned();
        for operation in [
            AuthOperation::UserAdd(UserAdd {
                name: name(),
                no_password: true,
                ..UserAdd::default()
            }),
            AuthOperation::UserGrant(UserGrant { user: name(), role: name() }),
            AuthOperation::Enable(Enable {}),
        ] {
            machine.apply(&Entry::unstamped(operation.into(), None));
        }
        assert!(machine.auth.enabled());
        states.answer_reads(machine);
        parts.next().await.unwrap()
    }

    #[test]
    fn a_stream_from_before_auth_keeps_the_user_of_its_certificate() {
        actix_rt::System::new().block_on(async {
            let root = Credentials::of_call(&HeaderMap::new(), Some("root".to_owned()));
            let last = part_after_auth_enable(root).await.unwrap();
            assert_eq!(last.range_response.unwrap().kvs.len(), 1);
        });
    }

    #[test]
    fn enabling_auth_ends_a_stream_with_the_error_of_its_credentials() {
        actix_rt::System::new().block_on(async {
            for (credentials, expected) in [
                (
                    Credentials::of_token(Some("unknown.1")),
                    RpcError::InvalidAuthToken,
                ),
                (Credentials::default(), RpcError::UserEmpty),
            ] {
                let refused = part_after_auth_enable(credentials).await.unwrap_err();
                assert_eq!(refused.message(), expected.to_string());
            }
        });
    }
}

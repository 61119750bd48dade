"""Every call of an etcd client through grpcio: cases.py ADDRESS [CA FILE] prints one line per case.

Needs tests/tools and the modules that grpc_tools generates from the protos on the module path. The tests with etcd's own client
check the calls in detail.
"""
import itertools
import sys
import threading

import grpc
from google.protobuf.message_factory import GetMessageClass
from etcdserverpb import (auth_pb2, cluster_pb2, kv_pb2, lease_pb2, maintenance_pb2,  # noqa: F401
                          watch_pb2)
import v3electionpb_pb2
import v3lockpb_pb2

from report import Report

MODULES = [kv_pb2, watch_pb2, lease_pb2, cluster_pb2, maintenance_pb2, auth_pb2, v3lockpb_pb2,
           v3electionpb_pb2]
SERVICES = {name: service for module in MODULES
            for name, service in module.DESCRIPTOR.services_by_name.items()}
METHODS = {f"{name}/{method.name}": method for name, service in SERVICES.items()
           for method in service.methods}
# calls that would end or change the member; etcd's own cases test them
LEFT_OUT = {"Cluster/MemberAdd", "Cluster/MemberRemove", "Cluster/MemberUpdate", "Cluster/MemberPromote",
            "Maintenance/MoveLeader", "Maintenance/Downgrade"}
SOON_S = 20

address, *authority = sys.argv[1:]
prefix = ("tls/" if authority else "clear/").encode()
called = set()


def channel(**options):
    given = [(f"grpc.{name}", value) for name, value in options.items()]
    given.append(("grpc.use_local_subchannel_pool", 1))
    if not authority:
        return grpc.insecure_channel(address, options=given)
    with open(authority[0], "rb") as file:
        return grpc.secure_channel(address, grpc.ssl_channel_credentials(file.read()), options=given)


shared = channel(max_receive_message_length=64 << 20)


def message(name, fields):
    """Returns the request of a method."""
    return GetMessageClass(METHODS[name].input_type)(**fields)


def call(name, /, requests=None, through=None, how=None, **fields):
    """Starts a call and returns the answer, or the stream of answers. `requests` are the requests of a client stream."""
    called.add(name)
    method = METHODS[name]
    kind = (method.client_streaming, method.server_streaming)
    make = {(False, False): "unary_unary", (False, True): "unary_stream",
            (True, True): "stream_stream"}[kind]
    begin = getattr(through or shared, make)(
        f"/{method.containing_service.full_name}/{method.name}",
        request_serializer=lambda request: request.SerializeToString(),
        response_deserializer=GetMessageClass(method.output_type).FromString)
    how = {"timeout": SOON_S} | (how or {})
    return begin(message(name, fields) if requests is None else requests, **how)


def refused(code, text, act):
    """Checks that `act` fails with this code and a message that contains this text."""
    try:
        act()
    except grpc.RpcError as error:
        assert error.code() == code and text in error.details(), (error.code(), error.details())
    else:
        raise AssertionError(f"no {code}")


def lasting(first):
    """Returns the requests of a stream that stays open, a function that adds a request, and one that ends the stream."""
    more, ready = list(first), threading.Condition()

    def requests():
        for at in itertools.count():
            with ready:
                ready.wait_for(lambda: len(more) > at)
                if more[at] is None:
                    return
            yield more[at]

    def add(request):
        with ready:
            more.append(request)
            ready.notify()

    return requests(), add, lambda: add(None)


def created(key):
    return message("Watch/Watch", {"create_request": {"key": prefix + key}})


def put_and_range():
    for size in (0, 1, 100_000, 1_000_000):
        value = bytes(size)
        call("KV/Put", key=prefix + b"a", value=value)
        assert call("KV/Range", key=prefix + b"a").kvs[0].value == value


def compressed_requests():
    for way in (grpc.Compression.Gzip, grpc.Compression.Deflate):
        put = lambda: call("KV/Put", key=prefix + b"z", value=bytes(50_000), how={"compression": way})
        if way == grpc.Compression.Gzip:
            put()
            assert len(call("KV/Range", key=prefix + b"z").kvs[0].value) == 50_000
        else:
            # as in etcd, whose server supports only gzip
            refused(grpc.StatusCode.UNIMPLEMENTED, "deflate", put)


def many_calls_at_once():
    begin = shared.unary_unary("/etcdserverpb.KV/Put",
                               request_serializer=lambda request: request.SerializeToString(),
                               response_deserializer=kv_pb2.PutResponse.FromString)
    puts = [begin.future(kv_pb2.PutRequest(key=prefix + b"many/%d" % n), timeout=SOON_S)
            for n in range(500)]
    assert all(put.result().header.revision > 0 for put in puts)
    got = call("KV/Range", key=prefix + b"many/", range_end=prefix + b"many0", count_only=True)
    assert got.count == 500


def large_answers_whole_and_in_parts():
    for n in range(6):
        call("KV/Put", key=prefix + b"large/%d" % n, value=bytes(900_000))
    span = {"key": prefix + b"large/", "range_end": prefix + b"large0"}
    whole = call("KV/Range", **span)
    parts = [part.range_response for part in call("KV/RangeStream", **span)]
    assert [pair for part in parts for pair in part.kvs] == list(whole.kvs) and len(parts) > 1
    small = channel(max_receive_message_length=1 << 20)
    refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "larger than max",
            lambda: call("KV/Range", through=small, **span))


def transactions_deletions_and_compactions():
    call("KV/Put", key=prefix + b"t", value=b"1")
    txn = {"compare": [{"result": "EQUAL", "target": "VALUE", "key": prefix + b"t", "value": b"1"}],
           "success": [{"request_put": {"key": prefix + b"t", "value": b"2"}}],
           "failure": [{"request_range": {"key": prefix + b"t"}}]}
    assert call("KV/Txn", **txn).succeeded
    second = call("KV/Txn", **txn)
    assert not second.succeeded and second.responses[0].response_range.kvs[0].value == b"2"
    gone = call("KV/DeleteRange", key=prefix + b"t", prev_kv=True)
    assert gone.deleted == 1 and gone.prev_kvs[0].value == b"2"
    revision = gone.header.revision
    call("KV/Compact", revision=revision, physical=True)
    refused(grpc.StatusCode.OUT_OF_RANGE, "has been compacted",
            lambda: call("KV/Range", key=prefix + b"t", revision=revision - 1))


def a_watch_sees_what_is_put_and_ends():
    requests, add, end = lasting([created(b"w")])
    answers = call("Watch/Watch", requests)
    assert next(answers).created
    for value in (b"1", b"2"):
        call("KV/Put", key=prefix + b"w", value=value)
        assert next(answers).events[0].kv.value == value
    add(message("Watch/Watch", {"progress_request": {}}))
    assert next(answers).watch_id == -1
    add(message("Watch/Watch", {"cancel_request": {"watch_id": 0}}))
    assert next(answers).canceled
    end()
    answers.cancel()


def leases():
    lease = call("Lease/LeaseGrant", TTL=60).ID
    call("KV/Put", key=prefix + b"l", lease=lease)
    requests, add, end = lasting([])
    kept = call("Lease/LeaseKeepAlive", requests)
    for _ in range(3):
        add(message("Lease/LeaseKeepAlive", {"ID": lease}))
        assert next(kept).TTL == 60
    end()
    assert next(kept, None) is None
    assert list(call("Lease/LeaseTimeToLive", ID=lease, keys=True).keys) == [prefix + b"l"]
    assert lease in [held.ID for held in call("Lease/LeaseLeases").leases]
    call("Lease/LeaseRevoke", ID=lease)
    assert call("KV/Range", key=prefix + b"l").count == 0


def locks_and_elections():
    lease = call("Lease/LeaseGrant", TTL=60).ID
    held = call("Lock/Lock", name=prefix + b"lock", lease=lease)
    call("Lock/Unlock", key=held.key)
    leader = call("Election/Campaign", name=prefix + b"vote", lease=lease, value=b"1").leader
    seen = call("Election/Observe", name=prefix + b"vote")
    assert next(seen).kv.value == b"1"
    call("Election/Proclaim", leader=leader, value=b"2")
    assert next(seen).kv.value == b"2"
    seen.cancel()
    assert call("Election/Leader", name=prefix + b"vote").kv.value == b"2"
    call("Election/Resign", leader=leader)
    call("Lease/LeaseRevoke", ID=lease)


def maintenance():
    assert call("Maintenance/Status").leader != 0
    assert len(call("Cluster/MemberList").members) == 1
    call("Maintenance/Alarm", action="GET")
    call("Maintenance/Defragment")
    call("Maintenance/Hash")
    assert call("Maintenance/HashKV").hash != 0
    parts = list(call("Maintenance/Snapshot"))
    assert parts[-1].remaining_bytes == 0 and sum(len(part.blob) for part in parts) > 1 << 20


def users_and_roles():
    user = {"name": "root"}
    call("Auth/UserAdd", **user, password="1")
    call("Auth/UserChangePassword", **user, password="2")
    call("Auth/RoleAdd", name="root")
    call("Auth/RoleAdd", name="r")
    call("Auth/RoleGrantPermission", name="r", perm={"permType": "READ", "key": b"k"})
    assert call("Auth/RoleGet", role="r").perm[0].key == b"k"
    call("Auth/RoleRevokePermission", role="r", key=b"k")
    call("Auth/UserGrantRole", user="root", role="root")
    call("Auth/UserGrantRole", user="root", role="r")
    call("Auth/UserRevokeRole", name="root", role="r")
    assert list(call("Auth/UserGet", **user).roles) == ["root"]
    assert "root" in call("Auth/UserList").users and "r" in call("Auth/RoleList").roles
    call("Auth/AuthEnable")
    try:
        refused(grpc.StatusCode.INVALID_ARGUMENT, "user name is empty",
                lambda: call("KV/Range", key=b"k"))
        refused(grpc.StatusCode.UNAUTHENTICATED, "invalid auth token",
                lambda: call("Auth/UserList", how={"metadata": [("token", "no")]}))
        refused(grpc.StatusCode.INVALID_ARGUMENT, "authentication failed",
                lambda: call("Auth/Authenticate", **user, password="1"))
    finally:
        token = call("Auth/Authenticate", **user, password="2").token
        named = {"metadata": [("token", token)]}
        assert call("Auth/AuthStatus", how=named).enabled
        call("Auth/AuthDisable", how=named)
    call("Auth/RoleDelete", role="r")
    call("Auth/RoleDelete", role="root")
    call("Auth/UserDelete", **user)


def deadlines_and_cancels_end_calls():
    requests, _, end = lasting([created(b"never")])
    answers = call("Watch/Watch", requests, how={"timeout": 0.5})
    assert next(answers).created
    refused(grpc.StatusCode.DEADLINE_EXCEEDED, "", lambda: next(answers))
    end()
    requests, _, end = lasting([created(b"never")])
    answers = call("Watch/Watch", requests)
    assert next(answers).created
    answers.cancel()
    refused(grpc.StatusCode.CANCELLED, "", lambda: next(answers))
    end()
    call("KV/Range", key=prefix + b"a")


def refusals_have_code_and_text():
    refused(grpc.StatusCode.INVALID_ARGUMENT, "etcdserver: key is not provided", lambda: call("KV/Range"))
    refused(grpc.StatusCode.NOT_FOUND, "requested lease not found",
            lambda: call("KV/Put", key=prefix + b"a", lease=7))
    try:
        call("KV/Put", key=prefix + b"big", value=bytes(3 << 20))
    except grpc.RpcError as error:
        assert error.code() in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INVALID_ARGUMENT)
    else:
        raise AssertionError("a put of 3 MiB")
    unknown = shared.unary_unary("/etcdserverpb.KV/Nope")
    refused(grpc.StatusCode.UNIMPLEMENTED, "", lambda: unknown(b"", timeout=SOON_S))
    call("KV/Range", key=prefix + b"a")


def every_method_was_called():
    """Must run last."""
    missing = set(METHODS) - called - LEFT_OUT
    assert not missing and not LEFT_OUT & called, missing


CASES = [put_and_range, compressed_requests, many_calls_at_once, large_answers_whole_and_in_parts,
         transactions_deletions_and_compactions, a_watch_sees_what_is_put_and_ends, leases,
         locks_and_elections, maintenance, users_and_roles, deadlines_and_cancels_end_calls,
         refusals_have_code_and_text, every_method_was_called]
Report().run("grpcio tls" if authority else "grpcio clear", CASES)

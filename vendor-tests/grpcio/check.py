"""grpcio's client against a running node: each call, its errors, health and reflection.

In: the address of a node with no assertions. Out: "N passed, M failed". Never: sleeps.
"""

import sys
import time
import traceback

import grpc
from blake3 import blake3
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

import sync_pb2 as pb
import sync_pb2_grpc

SERVICE = "stemedb.sync.v1.SyncService"
PATIENCE = 60
CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


def gossip_of(data, **changes):
    fields = {
        "assertion_hash": blake3(data).digest(),
        "assertion_data": data,
        "hlc_time": time.time_ns() // 1_000_000,
        "hlc_node_id": b"g" * 16,
    }
    return pb.GossipRequest(**(fields | changes))


def expect_status(code, call, *arguments, **more):
    try:
        call(*arguments, timeout=PATIENCE, **more)
    except grpc.RpcError as refusal:
        assert refusal.code() == code, f"{refusal.code()}: {refusal.details()}"
        assert refusal.details(), "a refusal with no reason"
        return refusal
    raise AssertionError(f"answered, where {code} was due")


@check
def gossip(stub, channel):
    # Whatever the caller's clock says.
    for changes in [{}, {}, {"hlc_time": 2**64 - 1}]:
        answer = stub.Gossip(gossip_of(b"from grpcio", **changes), timeout=PATIENCE)
        assert answer.accepted and not answer.error, answer
    refused = [
        gossip_of(b"x", assertion_hash=b"h" * 31),
        gossip_of(b"x", assertion_hash=b"h" * 32),
        gossip_of(b"x", hlc_node_id=b"n" * 15),
        gossip_of(b"x" * (2**20 + 1)),
    ]
    for request in refused:
        answer = stub.Gossip(request, timeout=PATIENCE)
        assert not answer.accepted and answer.error, answer
    assert stub.Ping(pb.PingRequest(), timeout=PATIENCE).assertion_count == 1


@check
def many_gossips_at_once(stub, channel):
    calls = [stub.Gossip.future(gossip_of(b"number %d" % n), timeout=PATIENCE) for n in range(400)]
    assert all(call.result().accepted for call in calls)
    assert stub.Ping(pb.PingRequest(), timeout=PATIENCE).assertion_count == 401


@check
def an_oversized_message(stub, channel):
    # Where the server stops a body half way, grpcio may see the reset before the status.
    request = gossip_of(b"x" * (5 << 20))
    expect_status(grpc.StatusCode.RESOURCE_EXHAUSTED, stub.Gossip, request)
    stub.Ping(pb.PingRequest(), timeout=PATIENCE)


@check
def roots(stub, channel):
    ours = stub.ExchangeRoots(pb.RootExchangeRequest(merkle_root=bytes(32)), timeout=PATIENCE)
    assert len(ours.merkle_root) == 32 and not ours.roots_match
    same = pb.RootExchangeRequest(
        merkle_root=ours.merkle_root, assertion_count=ours.assertion_count
    )
    assert stub.ExchangeRoots(same, timeout=PATIENCE).roots_match
    short = pb.RootExchangeRequest(merkle_root=b"short")
    expect_status(grpc.StatusCode.INVALID_ARGUMENT, stub.ExchangeRoots, short)


@check
def leaves_and_bodies(stub, channel):
    page = stub.GetLeaves(pb.GetLeavesRequest(), timeout=PATIENCE)
    assert len(page.leaves) == 401 and not page.truncated
    assert stub.GetLeaves(pb.GetLeavesRequest(max_leaves=10_001), timeout=PATIENCE).leaves
    seen = set()
    for _ in range(6):
        part = stub.GetLeaves(pb.GetLeavesRequest(max_leaves=100), timeout=PATIENCE)
        assert part.truncated and len(part.leaves) <= 100
        seen.update(part.leaves)
    assert seen == set(page.leaves), f"{len(seen)} seen"
    bodies = stub.FetchAssertions(pb.FetchRequest(hashes=page.leaves), timeout=PATIENCE).assertions
    assert len(bodies) == 401
    assert all(blake3(body.data).digest() == body.hash for body in bodies)


@check
def too_many_and_malformed_hashes(stub, channel):
    unknown = pb.FetchRequest(hashes=[bytes(31) + bytes([n % 256]) for n in range(1000)])
    assert not stub.FetchAssertions(unknown, timeout=PATIENCE).assertions
    unknown.hashes.append(bytes(32))
    expect_status(grpc.StatusCode.INVALID_ARGUMENT, stub.FetchAssertions, unknown)
    short = pb.FetchRequest(hashes=[b"short"])
    expect_status(grpc.StatusCode.INVALID_ARGUMENT, stub.FetchAssertions, short)


@check
def ping(stub, channel):
    update = pb.MembershipUpdate(node_id=b"u" * 16, rpc_addr="10.0.0.1:18182", state=7)
    request = pb.PingRequest(node_id=b"p" * 16, updates=[update])
    answer = stub.Ping(request, timeout=PATIENCE)
    assert answer.node_id == bytes(range(16)), answer
    assert answer.rpc_addr == sys.argv[1] and answer.api_addr


@check
def compression_is_refused(stub, channel):
    # Long enough that grpcio does compress it.
    request = gossip_of(b"z" * 10_000)
    expect_status(
        grpc.StatusCode.UNIMPLEMENTED, stub.Gossip, request, compression=grpc.Compression.Gzip
    )


@check
def unknown_method(stub, channel):
    call = channel.unary_unary(f"/{SERVICE}/Flood", request_serializer=bytes)
    expect_status(grpc.StatusCode.UNIMPLEMENTED, call, b"")


@check
def not_protobuf(stub, channel):
    call = channel.unary_unary(f"/{SERVICE}/Ping", request_serializer=bytes)
    try:
        call(b"\xff\xff\xff", timeout=PATIENCE)
    except grpc.RpcError as refusal:
        allowed = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.INTERNAL)
        assert refusal.code() in allowed, refusal
    else:
        raise AssertionError("answered")


@check
def health(stub, channel):
    client = health_pb2_grpc.HealthStub(channel)
    for service in ("", SERVICE):
        answer = client.Check(health_pb2.HealthCheckRequest(service=service), timeout=PATIENCE)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    nothing = health_pb2.HealthCheckRequest(service="no.such.Service")
    expect_status(grpc.StatusCode.NOT_FOUND, client.Check, nothing)
    watch = client.Watch(health_pb2.HealthCheckRequest(), timeout=PATIENCE)
    assert next(iter(watch)).status == health_pb2.HealthCheckResponse.SERVING
    watch.cancel()


@check
def reflection(stub, channel):
    pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
    service = pool.FindServiceByName(SERVICE)
    mine = pb.DESCRIPTOR.services_by_name["SyncService"]
    assert [m.name for m in service.methods] == [m.name for m in mine.methods]
    request = GetMessageClass(pool.FindMessageTypeByName("stemedb.sync.v1.PingRequest"))
    answer = GetMessageClass(pool.FindMessageTypeByName("stemedb.sync.v1.PingResponse"))
    call = channel.unary_unary(
        f"/{SERVICE}/Ping",
        request_serializer=request.SerializeToString,
        response_deserializer=answer.FromString,
    )
    assert call(request(node_id=b"r" * 16), timeout=PATIENCE).assertion_count == 401


def main():
    failed = 0
    with grpc.insecure_channel(sys.argv[1]) as channel:
        stub = sync_pb2_grpc.SyncServiceStub(channel)
        for function in CHECKS:
            try:
                function(stub, channel)
            except Exception:
                failed += 1
                print(f"FAILED {function.__name__}")
                traceback.print_exc()
    print(f"{len(CHECKS) - failed} passed, {failed} failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())

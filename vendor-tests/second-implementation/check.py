"""Holds this implementation against tests/golden/vectors.json: docs/wire.md, section 11."""

import json
import struct
import sys

import ed25519
from assertion import NotAnAssertion, claim_bytes, decode, encode
from blake3 import blake3


def hash_of(data):
    return blake3(data).digest()


def message(claim, agent_id, timestamp):
    hashed = hash_of(claim_bytes(claim))
    return b"stemedb-edge/claim/v1\0" + hashed + agent_id + struct.pack("<Q", timestamp)


def root(ids, depth=0):
    if not ids:
        return bytes(32)
    if len(ids) <= 64:
        return hash_of(b"\0" + struct.pack("<I", len(ids)) + b"".join(sorted(ids)))
    halves = ([], [])
    for one in ids:
        halves[one[depth // 8] >> (7 - depth % 8) & 1].append(one)
    return hash_of(b"\1" + root(halves[0], depth + 1) + root(halves[1], depth + 1))


def check_assertion(case):
    data = bytes.fromhex(case["bytes"])
    yield encode(case["claim"]) == data
    yield decode(data) == case["claim"]
    yield hash_of(data).hex() == case["id"]


def check_opaque(case):
    data = bytes.fromhex(case["bytes"])
    yield hash_of(data).hex() == case["id"]
    try:
        decode(data)
        yield False
    except NotAnAssertion:
        yield True


def check_signed(case):
    claim, seed = case["claim"], bytes.fromhex(case["seed"])
    agent_id = ed25519.public_key(seed)
    signed = message(claim, agent_id, case["timestamp"])
    yield claim_bytes(claim).hex() == case["claim_bytes"]
    yield agent_id.hex() == case["agent_id"]
    yield signed.hex() == case["message"]
    yield ed25519.sign(seed, signed).hex() == case["signature"]


def check_verdict(case):
    claim = case["claim"]

    def is_good(one):
        agent_id = bytes.fromhex(one["agent_id"])
        signed = message(claim, agent_id, one["timestamp"])
        return ed25519.verify(agent_id, signed, bytes.fromhex(one["signature"]))

    yield all([is_good(one) for one in claim["signatures"]]) == case["good"]


def check_root(case):
    prefix = bytes.fromhex(case["prefix"])
    members = [hash_of(struct.pack("<I", i)) for i in range(case["count"])]
    yield root([prefix + one[len(prefix) :] for one in members]).hex() == case["root"]


CHECKS = {
    "assertions": check_assertion,
    "opaque": check_opaque,
    "signed": check_signed,
    "verdicts": check_verdict,
    "roots": check_root,
}


def main(path):
    with open(path, encoding="ascii") as file:
        vectors = json.load(file)
    assert set(vectors) == set(CHECKS), "lists that docs/wire.md names"
    passed = failed = 0
    for kind, cases in vectors.items():
        assert cases, kind
        for place, case in enumerate(cases):
            results = list(CHECKS[kind](case))
            passed += results.count(True)
            failed += results.count(False)
            if not all(results):
                print(f"FAILED: {kind} {place} {case.get('name', '')} {results}")
    print(f"{passed} passed, {failed} failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

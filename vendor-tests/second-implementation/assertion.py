"""Canonical bytes of an assertion: docs/wire.md, sections 1 and 2; claim bytes: section 4."""

import math
import struct

LIFECYCLES = ["Proposed", "UnderReview", "Approved", "Deprecated", "Rejected"]
KINDS = ["Text", "Number", "Boolean", "Reference"]
NAME_MAX, TEXT_MAX, BYTES_MAX = 4096, 524288, 1048576
TIMESTAMP_MAX = 253402300799
ROOT = 195
SIGNATURE = 104


class NotAnAssertion(Exception):
    pass


def need(holds, what):
    if not holds:
        raise NotAnAssertion(what)


# The rules


def check_name(name, most):
    need(1 <= len(name.encode()) <= most, "length of a name")
    need(not any(ord(c) <= 0x1F or 0x7F <= ord(c) <= 0x9F for c in name), "control character")


def check_number(number):
    need(math.isfinite(number), "number not finite")
    need(math.copysign(1, number) > 0 or number != 0, "negative zero")


def check(claim):
    check_name(claim["subject"], NAME_MAX)
    check_name(claim["predicate"], NAME_MAX)
    kind, value = claim["object"]["type"], claim["object"]["value"]
    if kind == "Text":
        need(len(value.encode()) <= TEXT_MAX, "length of a text")
    elif kind == "Reference":
        check_name(value, TEXT_MAX)
    elif kind == "Number":
        check_number(value)
    check_number(claim["confidence"])
    need(0 <= claim["confidence"] <= 1, "confidence")
    stamp = claim["hlc"]
    need(claim["timestamp"] <= TIMESTAMP_MAX, "timestamp")
    need((claim["expires"] or 0) <= TIMESTAMP_MAX, "expires")
    need(claim["timestamp"] == stamp["time"] // 1000, "timestamp is not the hlc's")
    agents = [bytes.fromhex(s["agent_id"]) for s in claim["signatures"]]
    need(len(agents) <= 64, "count of signatures")
    need(all(a < b for a, b in zip(agents, agents[1:])), "order of signatures")
    need(all(s["timestamp"] <= TIMESTAMP_MAX for s in claim["signatures"]), "time of signing")
    if agents:
        own = {"time": claim["timestamp"] * 1000, "counter": 0, "node": "00" * 16}
        need(stamp == own, "stamp of a signed claim")


# Encoding


def option(value, size):
    return b"\0" * (1 + size) if value is None else b"\1" + value


def unhex(text):
    return None if text is None else bytes.fromhex(text)


def encode(claim):
    check(claim)
    body = b""
    outside = {}
    kind, value = claim["object"]["type"], claim["object"]["value"]
    texts = {"subject": claim["subject"], "predicate": claim["predicate"]}
    if kind in ("Text", "Reference"):
        texts["object"] = value
    for name, text in texts.items():
        if len(text.encode()) > 8:
            outside[name] = len(body)
            body += text.encode()
    signatures_at = len(body)
    for s in claim["signatures"]:
        body += bytes.fromhex(s["agent_id"] + s["signature"]) + struct.pack("<Q", s["timestamp"])
    root_at = len(body)

    def cell(name, offset):
        text = texts[name].encode()
        if name not in outside:
            return text.ljust(8, b"\xff")
        n = len(text)
        length = (n & 0x3F) | 0x80 | ((n & ~0x3F) << 2)
        return struct.pack("<Ii", length, outside[name] - (root_at + offset))

    if kind == "Number":
        payload = struct.pack("<d", value)
    elif kind == "Boolean":
        payload = bytes([value]).ljust(8, b"\0")
    else:
        payload = cell("object", 17)
    expires = None if claim["expires"] is None else struct.pack("<Q", claim["expires"])
    root = b"".join(
        [
            cell("subject", 0),
            cell("predicate", 8),
            bytes([KINDS.index(kind)]),
            payload,
            option(unhex(claim["parent_hash"]), 32),
            unhex(claim["source_hash"]),
            option(unhex(claim["visual_hash"]), 8),
            option(unhex(claim["epoch"]), 32),
            option(expires, 8),
            bytes([LIFECYCLES.index(claim["lifecycle"])]),
            struct.pack("<iI", signatures_at - (root_at + 142), len(claim["signatures"])),
            struct.pack("<dQ", claim["confidence"], claim["timestamp"]),
            bytes([claim["source_class"]]),
            struct.pack("<QI", claim["hlc"]["time"], claim["hlc"]["counter"]),
            unhex(claim["hlc"]["node"]),
        ]
    )
    assert len(root) == ROOT
    return body + root


# Decoding


def decode(data):
    """The claim in canonical bytes; NotAnAssertion if they are opaque."""
    need(ROOT <= len(data) <= BYTES_MAX, "size")
    try:
        claim = decode_loosely(data)
    except (IndexError, UnicodeDecodeError, struct.error) as error:
        raise NotAnAssertion(str(error)) from error
    need(encode(claim) == data, "not in canonical form")
    return claim


def part(data, start, size):
    need(0 <= start and start + size <= len(data), "out of bounds")
    return data[start : start + size]


def read_cell(data, at):
    cell = data[at : at + 8]
    if cell[0] & 0xC0 != 0x80:
        return cell.rstrip(b"\xff").decode()
    length, start = struct.unpack("<Ii", cell)
    length = (length & 0x3F) | ((length & ~0xFF) >> 2)
    return part(data, at + start, length).decode()


def read_option(data, at, size):
    return data[at + 1 : at + 1 + size] if data[at] else None


def rehex(value):
    return None if value is None else value.hex()


def decode_loosely(data):
    at = len(data) - ROOT
    kind = KINDS[data[at + 16]]
    if kind == "Number":
        value = struct.unpack_from("<d", data, at + 17)[0]
    elif kind == "Boolean":
        value = bool(data[at + 17])
    else:
        value = read_cell(data, at + 17)
    expires = read_option(data, at + 132, 8)
    first, count = struct.unpack_from("<iI", data, at + 142)
    need(count <= 64, "count of signatures")
    signatures = []
    for i in range(count):
        one = part(data, at + 142 + first + i * SIGNATURE, SIGNATURE)
        when = struct.unpack("<Q", one[96:])[0]
        signatures.append(
            {"agent_id": one[:32].hex(), "signature": one[32:96].hex(), "timestamp": when}
        )
    confidence, timestamp, source_class, time, counter = struct.unpack_from("<dQBQI", data, at + 150)
    need(source_class <= 5, "source class")
    return {
        "subject": read_cell(data, at),
        "predicate": read_cell(data, at + 8),
        "object": {"type": kind, "value": value},
        "parent_hash": rehex(read_option(data, at + 25, 32)),
        "source_hash": data[at + 58 : at + 90].hex(),
        "visual_hash": rehex(read_option(data, at + 90, 8)),
        "epoch": rehex(read_option(data, at + 99, 32)),
        "expires": None if expires is None else struct.unpack("<Q", expires)[0],
        "lifecycle": LIFECYCLES[data[at + 141]],
        "signatures": signatures,
        "confidence": confidence,
        "timestamp": timestamp,
        "source_class": source_class,
        "hlc": {"time": time, "counter": counter, "node": data[at + 179 :].hex()},
    }


# What an agent signs


def put_text(text):
    return struct.pack("<I", len(text.encode())) + text.encode()


def put_option(value):
    return b"\0" if value is None else b"\1" + value


def claim_bytes(claim):
    kind, value = claim["object"]["type"], claim["object"]["value"]
    if kind == "Number":
        payload = struct.pack("<d", value)
    elif kind == "Boolean":
        payload = bytes([value])
    else:
        payload = put_text(value)
    expires = None if claim["expires"] is None else struct.pack("<Q", claim["expires"])
    return b"".join(
        [
            put_text(claim["subject"]),
            put_text(claim["predicate"]),
            bytes([KINDS.index(kind)]),
            payload,
            put_option(unhex(claim["parent_hash"])),
            unhex(claim["source_hash"]),
            put_option(unhex(claim["visual_hash"])),
            put_option(unhex(claim["epoch"])),
            put_option(expires),
            bytes([LIFECYCLES.index(claim["lifecycle"])]),
            struct.pack("<dQ", claim["confidence"], claim["timestamp"]),
            bytes([claim["source_class"]]),
        ]
    )
